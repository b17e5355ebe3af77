"""The cipher of encrypted stores, for readers of files that have nothing else of the engine."""

from kvarts._native import aead_open

__all__ = ["aead_open"]
