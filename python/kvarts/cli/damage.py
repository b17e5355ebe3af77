"""Damaged places as people and programs see them, whoever found them."""

from collections.abc import Iterable
from dataclasses import asdict

import click

from kvarts.base.types import Damage
from kvarts.cli.text import Form, shown


def damage_object(damage: Damage) -> dict[str, object]:
    """Return what --json prints of a damaged place: keys as hexadecimal."""
    return {**asdict(damage), "smallest": damage.smallest.hex(), "largest": damage.largest.hex()}


def print_damage(damage: Iterable[Damage]) -> None:
    """Print damaged places: file, offset, what is wrong, keys concerned."""
    for place in damage:
        click.echo(f"{place.file} at offset {place.offset}: {place.what}")
        if place.smallest or place.largest:
            first, last = (shown(key, Form.TEXT, "bytes", 40) for key in (place.smallest, place.largest))
            click.echo(f"  keys from {first} to {last} are concerned")
