"""Checksums, hash, LZ4 and small fields against vectors that docs/formats pins, and against plain slow ways."""

import random

import pytest

from kvarts.base.rapidhash import rapidhash
from kvarts.inspect.format.checksum import crc64, matches, tag
from kvarts.inspect.format.fields import FormatError, Reader, read_varint
from kvarts.inspect.format.lz4 import expand


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"", 0x0338DC4BE2CECDAE),
        (b"a", 0x599F47DF33A2E1EB),
        (b"kvarts", 0x750B891ADC74D3ED),
        (b"user/0000000000000042", 0x19A28C54A3E02A8A),
        (bytes(range(256)), 0xA2F383F4B9260B9D),
    ],
)
def test_key_hash_is_that_of_the_documented_vectors(key: bytes, hashed: int) -> None:
    assert rapidhash(key) == hashed


def test_crc_has_its_check_value_and_the_tag_its_pinned_one() -> None:
    assert crc64(b"123456789") == 0xAE8B14860A799888
    assert tag(7, 4096, b"123456789")[8:] == 0x7A84D333825F4C7B.to_bytes(8, "little")


def test_folded_crc_is_the_crc_bit_by_bit() -> None:
    random_ = random.Random(1)
    for size in (*range(250, 262), 300, 511, 513, 1000, 1032, 1033, 2057, 4104, 4105, 9000):
        data = random_.randbytes(size)
        crc = (1 << 64) - 1
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
        assert crc64(data) == crc ^ (1 << 64) - 1, size


def test_tag_ties_content_to_its_place() -> None:
    sealed = b"content" + tag(3, 128, b"content")
    assert matches(3, 128, sealed)
    assert not matches(4, 128, sealed)
    assert not matches(3, 136, sealed)
    assert not matches(3, 128, sealed[1:])
    assert not matches(0, 0, bytes(16))


@pytest.mark.parametrize(
    ("stored", "raw"),
    [
        (b"\x00", b""),
        (b"\x50hello", b"hello"),
        (b"\x1fa\x01\x00\x05\x00", b"a" * 25),
        (b"\x44abcd\x04\x00\x10!", b"abcdabcdabcd!"),
        (b"\xf0\x01" + bytes(range(16)), bytes(range(16))),
    ],
    ids=["nothing", "literals", "overlapping copy", "copy", "long literals"],
)
def test_lz4_sequences_expand(stored: bytes, raw: bytes) -> None:
    assert expand(stored, len(raw)) == raw
    with pytest.raises(FormatError):
        expand(stored, len(raw) + 1)


@pytest.mark.parametrize(
    "stored",
    [b"", b"\x50hell", b"\x10a\x01", b"\x10a\x00\x00\x00", b"\x10a\x02\x00\x00", b"\xf0", b"\x1fa\x01\x00\xff"],
    ids=["empty", "literals", "offset", "offset 0", "from outside", "length", "endless"],
)
def test_damaged_lz4_is_refused(stored: bytes) -> None:
    with pytest.raises(FormatError):
        expand(stored, 5)


@pytest.mark.parametrize(
    ("data", "value"), [(b"\x00", 0), (b"\x7f", 127), (b"\x80\x01", 128), (b"\xff" * 9 + b"\x01", (1 << 64) - 1)]
)
def test_varint_is_read(data: bytes, value: int) -> None:
    assert read_varint(data, 0, len(data)) == (value, len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01"])
def test_varint_that_is_cut_short_too_long_or_not_the_shortest_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_varint(data, 0, len(data))


def test_reader_promises_no_more_than_there_is() -> None:
    with pytest.raises(FormatError, match="a list of 4294967295 things"):
        Reader(b"\xff\xff\xff\xff").list_(8, Reader.u64)
    with pytest.raises(FormatError, match="not UTF-8"):
        Reader(b"\x01\0\0\0\xff").text()
