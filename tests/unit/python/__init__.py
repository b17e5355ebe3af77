"""Tests of one Python room at a time."""
