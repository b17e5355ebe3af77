"""Options are checked in one place, and what is wrong is named."""

from typing import Any

import pytest

from kvarts.base.errors import InvalidArgument, WrongType
from kvarts.base.options import Options, parse_bytes, validate


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (512, 512),
        ("512", 512),
        ("512b", 512),
        ("64MB", 64_000_000),
        ("64MiB", 64 << 20),
        ("64 mib", 64 << 20),
        ("1.5kib", 1536),
        ("2GiB", 2 << 30),
        ("1tb", 10**12),
    ],
)
def test_size(given: Any, expected: int) -> None:
    assert parse_bytes("memory", given) == expected


@pytest.mark.parametrize("given", ["", "MiB", "-1", "1 XiB", "1e3", "64M", 1.5, None, True, b"1"])
def test_what_is_no_size_is_refused_by_name(given: Any) -> None:
    with pytest.raises(InvalidArgument, match="memory="):
        parse_bytes("memory", given)


def test_defaults_are_valid() -> None:
    assert validate({}) == Options()
    assert validate({name: getattr(Options(), name) for name in Options.__dataclass_fields__}) == Options()


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ("lz4", ("lz4",)),
        ("zstd:3", ("zstd",)),
        ("zstd:19", ("zstd:19",)),
        (["none", "lz4", "zstd"], ("none", "lz4", "zstd")),
    ],
)
def test_compression_is_a_name_or_one_for_each_level(given: Any, checked: tuple[str, ...]) -> None:
    assert validate({"compression": given}).compression == checked


def test_sizes_may_be_text() -> None:
    assert validate({"memory": "64MiB", "block_bytes": "4KiB"}) == Options(memory=64 << 20, block_bytes=4096)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"durabilty": "sync"}, "did you mean durability="),
        ({"zzz": 1}, "options are create"),
        ({"durability": "fsync"}, "'sync' | 'batch' | 'none'"),
        ({"compression": None}, '"none", "lz4", "zstd"'),
        ({"compression": "lz5"}, "did you mean 'lz4'?"),
        ({"compression": "ZSTD"}, "did you mean 'zstd'?"),
        ({"compression": "zstd:20"}, "levels 1 to 19"),
        ({"compression": "zstd:"}, "levels 1 to 19"),
        ({"compression": ()}, "1 to 7"),
        ({"compression": ("lz4",) * 8}, "1 to 7"),
        ({"compression": ("lz4", 3)}, "not int"),
        ({"compression": b"lz4"}, "not bytes"),
        ({"memory": "1KiB"}, "1048576"),
        ({"filter_bits": 33}, "0 to 32"),
        ({"level_growth": 1}, "2 to"),
    ],
)
def test_bad_option_is_told_with_what_it_may_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(options)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"create": 1}, {"filter_bits": "10"}, {"sync_interval_ms": 1.5}, {"background": "no"}]
)
def test_option_of_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(WrongType):
        validate(options)
