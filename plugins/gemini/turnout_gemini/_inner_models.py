"""Bodies that name the model beside the path: several embeddings, and counts of a whole request.

`ai.google.dev/api/embeddings` and `.../tokens` (read 2026-11-26): both must be the model in the path.
"""

from typing import Any

import msgspec

_EMBED_CONFIG = frozenset({"outputDimensionality", "taskType", "title"})
"""What the Gemini API has beside the content, and Vertex in `embedContentConfig` (as google-genai 3.4 writes both)."""

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
    found = _object_in(body)
    holders = [one for one in _holders(found) if "model" in one]
    for holder in holders:
        holder["model"] = model
    return msgspec.json.encode(found) if holders else body


def unwrapped(body: bytes) -> bytes:
    """The members of a `generateContentRequest` that a body holds, without its model; any other body as it came."""
    inner = _object_in(body).get("generateContentRequest")
    if not isinstance(inner, dict):
        return body
    return msgspec.json.encode({name: value for name, value in inner.items() if name != "model"})


def configured(body: bytes) -> bytes:
    """A request for embeddings as Vertex takes it: the path alone says the model, and the rest is in one object.

    What says nothing of either stays as it came.
    """
    found = _object_in(body)
    holders = [one for one in _holders(found) if _EMBED_CONFIG & one.keys() or "model" in one]
    for holder in holders:
        holder.pop("model", None)
        moved = {name: holder.pop(name) for name in _EMBED_CONFIG & holder.keys()}
        if moved:
            holder["embedContentConfig"] = moved | holder.get("embedContentConfig", {})
    return msgspec.json.encode(found) if holders else body


def _object_in(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is, empty for anything else."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _holders(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object of a body that may name the model."""
    several = found.get("requests")
    listed = [found, found.get("generateContentRequest"), *(several if isinstance(several, list) else [])]
    return [one for one in listed if isinstance(one, dict)]
