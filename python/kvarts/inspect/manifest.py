"""The report on a manifest."""

from dataclasses import dataclass

from kvarts.base.types import Damage
from kvarts.inspect.files import Target, damage_of, open_file
from kvarts.inspect.format.fields import FormatError
from kvarts.inspect.format.header import Header, read_header
from kvarts.inspect.format.manifest import Manifest, read_manifest
from kvarts.inspect.format.seal import NO_KEYS, HiddenError, Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReport:
    """What a manifest's file holds. `manifest` is None where it is damaged: its one checksum covers all of it.

    `hidden` names the key without which nothing but the header can be read.
    """

    file: str
    file_bytes: int
    header: Header | None
    manifest: Manifest | None
    damage: tuple[Damage, ...]
    hidden: str | None = None


def inspect_manifest(target: Target, *, keys: Keys = NO_KEYS) -> ManifestReport:
    """Read a manifest. Raises StorageError, InvalidArgument where it is no file."""
    with open_file(target) as file:
        data = file.read(0, file.size)
    header: Header | None = None
    manifest: Manifest | None = None
    found: tuple[Damage, ...] = ()
    hidden: str | None = None
    try:
        header = read_header(data, "manifest")
        header, manifest = read_manifest(data, keys)
    except FormatError as error:
        found = (damage_of(file.path, error),)
    except HiddenError as error:
        hidden = error.needed
    return ManifestReport(
        file=file.path, file_bytes=file.size, header=header, manifest=manifest, damage=found, hidden=hidden
    )
