"""Floor 3: readers of what is on disk, written from docs/formats alone: no engine, no native module, nothing written.

`inspect_table`, `inspect_log`, `inspect_manifest` and `inspect_store` return reports; damage is listed in them,
never raised. `format` decodes bytes, `files` reads them, the rest puts reports together.
"""

from kvarts.inspect.format.seal import Keys
from kvarts.inspect.log import LogReport, RecordReport, inspect_log
from kvarts.inspect.manifest import ManifestReport, inspect_manifest
from kvarts.inspect.store import FileReport, StoreReport, inspect_store
from kvarts.inspect.table import BlockReport, PartReport, TableReport, inspect_table

__all__ = [
    "BlockReport",
    "FileReport",
    "Keys",
    "LogReport",
    "ManifestReport",
    "PartReport",
    "RecordReport",
    "StoreReport",
    "TableReport",
    "inspect_log",
    "inspect_manifest",
    "inspect_store",
    "inspect_table",
]
