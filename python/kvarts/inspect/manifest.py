"""The report on a manifest."""

from dataclasses import dataclass

from kvarts.base.types import Damage
from kvarts.inspect.files import Target, damage_of, open_file
from kvarts.inspect.format.fields import FormatError
from kvarts.inspect.format.header import Header, read_header
from kvarts.inspect.format.manifest import Manifest, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReport:
    """What a manifest's file holds. `manifest` is None where it is damaged: its one checksum covers all of it."""

    file: str
    file_bytes: int
    header: Header | None
    manifest: Manifest | None
    damage: tuple[Damage, ...]


def inspect_manifest(target: Target) -> ManifestReport:
    """Read a manifest. Raises StorageError, InvalidArgument where it is no file."""
    with open_file(target) as file:
        data = file.read(0, file.size)
    header: Header | None = None
    manifest: Manifest | None = None
    found: tuple[Damage, ...] = ()
    try:
        header = read_header(data, "manifest")
        header, manifest = read_manifest(data)
    except FormatError as error:
        found = (damage_of(file.path, error),)
    return ManifestReport(file=file.path, file_bytes=file.size, header=header, manifest=manifest, damage=found)
