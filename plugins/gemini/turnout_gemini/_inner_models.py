"""Bodies that name the model beside the path: several embeddings, and counts of a whole request.

`ai.google.dev/api/embeddings` and `.../tokens` (read 2026-11-26): both must be the model in the path.
"""

from typing import Any

import msgspec

_ABSENT = msgspec.Raw(b"")


class _Several(msgspec.Struct):
    requests: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder().decode
_look = msgspec.json.Decoder(_Several).decode


def has_several(body: bytes) -> bool:
    """Whether a request is for several embeddings."""
    try:
        return _look(body).requests is not _ABSENT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def named(body: bytes, model: str) -> bytes:
    """The body with this model wherever it names one; as it came when it names none, or is no JSON."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    holders = [one for one in _holders(found) if isinstance(one, dict) and "model" in one]
    for holder in holders:
        holder["model"] = model
    return msgspec.json.encode(found) if holders else body


def unwrapped(body: bytes) -> bytes:
    """The members of a `generateContentRequest` that a body holds, without its model; any other body as it came."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    inner = found.get("generateContentRequest") if isinstance(found, dict) else None
    if not isinstance(inner, dict):
        return body
    return msgspec.json.encode({name: value for name, value in inner.items() if name != "model"})


def _holders(found: Any) -> list[Any]:
    if not isinstance(found, dict):
        return []
    several = found.get("requests")
    return [found, found.get("generateContentRequest"), *(several if isinstance(several, list) else [])]
