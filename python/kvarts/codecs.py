"""The codecs, and the types of items that only tuples have: `kvarts.open(path, key=kvarts.codecs.Tuple)`."""

from kvarts.base.codecs import U64, Bytes, Codec, Json, JsonValue, Str, Tuple
from kvarts.base.tuples import SingleFloat, Versionstamp

__all__ = ["U64", "Bytes", "Codec", "Json", "JsonValue", "SingleFloat", "Str", "Tuple", "Versionstamp"]
