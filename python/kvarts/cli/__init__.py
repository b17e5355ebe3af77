"""Floor 8: the command `kvarts`. Each subcommand is imported when it is called, so `kvarts --help` is quick."""

from kvarts.cli.app import main

__all__ = ["main"]
