"""The bytes of affinity that a store keeps: one bucket of preferences as JSON. Pure.

Sessions are in it as the digests that the table has, never as their names. Unknown fields are ignored when reading.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from turnout._affinity import Preference

KEY_BYTES: Final = 16

AFFINITY: Final = "affinity"
"""Kind of the records that hold preferences of sessions."""

KEEPERS: Final = "keepers"
"""Kind of the records that say which credential's upstream keeps what, in the same form."""


def encode_preferences(preferences: Iterable[Preference]) -> bytes:
    """A bucket: model, digest in hex, credential, and until when, in POSIX seconds."""
    rows = [[one.base, one.key.hex(), one.credential, round(one.until, 3)] for one in preferences]
    return json.dumps({"preferences": rows}, separators=(",", ":")).encode()


def decode_preferences(data: bytes) -> list[Preference]:
    """What `encode_preferences` wrote. Raises ValueError when it is damaged."""
    try:
        rows = json.loads(data)["preferences"]
        return [_preference(*row) for row in rows]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no list of preferences ({type(error).__name__})") from None


def _preference(base: Any, key: Any, credential: Any, until: Any, *_: Any) -> Preference:
    known = bytes.fromhex(key)
    if len(known) != KEY_BYTES or not isinstance(base, str) or not isinstance(credential, str):
        raise ValueError("a preference is a model, a digest, a credential and a time")
    return Preference(base, known, credential, float(until))
