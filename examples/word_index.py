"""An index of the words in some files: which files hold a word, and which words begin with some letters.

python examples/word_index.py INDEX FILE...     add files to the index, each all or nothing
python examples/word_index.py INDEX --find tup  list words that begin so, and the files that hold them
"""

import re
import sys
from pathlib import Path

import kvarts


def add(index: kvarts.Store[str, int], path: Path) -> int:
    """Index one file and return how many words it holds. A key is "word/path", so the files of a word lie together."""
    words = re.findall(r"[a-z]{2,}", path.read_text(encoding="utf-8").lower())
    with index.batch() as batch:  # All of a file's words, or none: a killed run leaves no file half indexed.
        for word in set(words):
            batch[f"{word}/{path}"] = words.count(word)
    return len(set(words))


def find(index: kvarts.Store[str, int], letters: str) -> list[tuple[str, str, int]]:
    """Return (word, path, times) of every word that begins with some letters."""
    found = []
    for key, times in index.scan(prefix=letters):
        word, _, path = key.partition("/")
        found.append((word, path, times))
    return found


def main(arguments: list[str]) -> None:
    """Add files, or find words."""
    if len(arguments) < 2 or arguments[1:] == ["--find"]:
        sys.exit(__doc__)
    place, *rest = arguments
    with kvarts.open(place, key=kvarts.Str, value=kvarts.U64) as index:
        if rest[0] == "--find":
            for word, path, times in find(index, rest[1]):
                print(f"{word:<20} {times:>4} × {path}")
            return
        for path in map(Path, rest):
            print(f"{add(index, path):>6} words in {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
