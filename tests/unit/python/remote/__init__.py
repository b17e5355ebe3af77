"""Tests of kvarts.remote, against a tiny cluster."""
