"""The one encoding of small values that replicas must agree on byte for byte: JSON in UTF-8 in its canonical form."""

import json


def pack_json(value: object) -> bytes:
    """Return the one encoding of a value: keys sorted, no spaces, no escapes beyond JSON's own. Raises ValueError."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()
