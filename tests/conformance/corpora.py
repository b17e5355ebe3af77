"""Where the foreign scripts lie: beside the project's checkout, or where KVARTS_CORPORA points."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("KVARTS_CORPORA") or ROOT.parent / "shared" / "corpora")


def scripts(*under: str) -> list[Path]:
    """Return the text files of a corpus's folder, none if it is absent."""
    return sorted(FOLDER.joinpath(*under).glob("*.txt"))


def absent(*under: str) -> str:
    """Return the words of the skip mark of a test without its corpus."""
    return f"no {'/'.join(under)} in {FOLDER}: set KVARTS_CORPORA to the folder of the corpora"
