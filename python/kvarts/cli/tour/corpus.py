"""The tour's data: every file of the running Python's standard library."""

import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Not of the standard library, or made anew by any Python that runs beside the tour.
LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files under a folder: relative paths in key order, with their sizes."""

    root: Path
    sizes: dict[str, int]

    @property
    def total_bytes(self) -> int:
        """Sum of the sizes."""
        return sum(self.sizes.values())

    def read(self, path: str) -> bytes:
        """Read a file from the disk."""
        return (self.root / path).read_bytes()

    def under(self, prefix: str) -> list[str]:
        """Return the paths that begin with `prefix`, in order."""
        return [path for path in self.sizes if path.startswith(prefix)]

    def busiest_folder(self, files_max: int) -> str:
        """Return the folder, with its slash, that has most files but at most `files_max`."""
        folders = Counter(path.partition("/")[0] + "/" for path in self.sizes if "/" in path)
        fitting = {folder: count for folder, count in folders.items() if count <= files_max}
        return max(fitting or folders, key=lambda folder: (folders[folder], folder))


def standard_library() -> Corpus:
    """Find the files of the running Python's standard library."""
    return find(Path(sysconfig.get_path("stdlib")))


def find(root: Path) -> Corpus:
    """Find all readable files under a folder, those of LEFT_OUT and links aside."""
    sizes = dict(_walk(root))
    # Key order is byte order of UTF-8, which for text is the order of code points: Python's own.
    return Corpus(root, {path: sizes[path] for path in sorted(sizes)})


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file() and os.access(path, os.R_OK):
                yield path.relative_to(root).as_posix(), path.stat().st_size
