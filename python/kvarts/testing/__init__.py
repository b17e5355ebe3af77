"""Tools for tests of programs that use kvarts, and of kvarts itself. Standard library only; no native module."""
