"""Tests of kvarts.inspect, against stores that the engine wrote."""
