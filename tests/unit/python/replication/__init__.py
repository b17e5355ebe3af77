"""Tests of kvarts.replication."""
