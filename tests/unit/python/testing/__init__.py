"""Tests of `kvarts.testing`."""
