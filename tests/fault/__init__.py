"""Kills, fills, damages, forks: what must not lose data or answer wrongly."""
