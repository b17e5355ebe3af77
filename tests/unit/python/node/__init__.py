"""Tests of kvarts.node."""
