"""Simulated worlds for kvarts: judges of its pure rooms. May import every room; no room imports it."""
