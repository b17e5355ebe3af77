"""Keys and values to bytes and back, with the errors that the embedded store gives."""

from collections.abc import Callable
from typing import Any

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.codecs import Codec
from kvarts.base.errors import CodecError, InvalidArgument, KvartsError, LimitExceeded, not_of_codec

KEY_BYTES_MAX = 64 << 10
VALUE_BYTES_MAX = 8 << 20
"""Of one value, and of all keys and values of one write: what a node takes as one message."""

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


def encoder(codec: Codec[Any]) -> Encode:
    """Return the function that encodes. It raises WrongType, InvalidArgument, CodecError."""
    built_in = _BUILT_IN.get(id(codec))
    if built_in is not None:
        return built_in
    given = codec.encode

    def encode(value: Any) -> bytes:
        try:
            encoded = given(value)
        except KvartsError:
            raise
        except Exception as error:
            raise CodecError(f"could not encode a value of type {type(value).__name__}") from error
        if type(encoded) is not bytes:
            raise CodecError(f"encode() must return bytes, it returned {type(encoded).__name__}")
        return encoded

    return encode


def decoder(codec: Codec[Any]) -> Decode | None:
    """Return the function that decodes, which raises CodecError; None where stored bytes are the value."""
    if codec is codecs.Bytes:
        return None
    if codec is codecs.Tuple:
        return _native.tuple_unpack
    given = codec.decode

    def decode(stored: bytes) -> Any:
        try:
            return given(stored)
        except KvartsError:
            raise
        except Exception as error:
            raise CodecError("could not decode stored bytes") from error

    return decode


def check_key(encoded: bytes) -> bytes:
    """Return an encoded key that may be written. Raises LimitExceeded."""
    if 1 <= len(encoded) <= KEY_BYTES_MAX:
        return encoded
    what = f"a key of {len(encoded)} bytes, which is over 64 KiB" if encoded else "an empty key"
    raise LimitExceeded(what, hint="keys have 1 byte to 64 KiB")


def check_value(encoded: bytes) -> bytes:
    """Return an encoded value that may be written. Raises LimitExceeded."""
    if len(encoded) <= VALUE_BYTES_MAX:
        return encoded
    what = f"a value of {len(encoded)} bytes is over 8 MiB"
    raise LimitExceeded(what, hint="store it in parts under several keys")


def _encode_bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise not_of_codec("bytes", value)


def _encode_str(value: object) -> bytes:
    if not isinstance(value, str):
        raise not_of_codec("str", value)
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise CodecError("the text has no UTF-8 form") from error


def _encode_u64(value: object) -> bytes:
    if not isinstance(value, int):
        raise not_of_codec("int", value)
    try:
        return value.to_bytes(8, "big")
    except OverflowError as error:
        raise InvalidArgument("the number does not fit a U64", hint="0 to 2**64 - 1") from error


_BUILT_IN: dict[int, Encode] = {
    id(codecs.Bytes): _encode_bytes,
    id(codecs.Str): _encode_str,
    id(codecs.U64): _encode_u64,
    id(codecs.Tuple): _native.tuple_pack,
}
