"""What a successful answer must look like before it counts as one."""

from typing import Any

import msgspec

_MISSING = msgspec.Raw(b"")


class _Head(msgspec.Struct):
    error: Any = None
    choices: msgspec.Raw = _MISSING
    data: msgspec.Raw = _MISSING


_decode = msgspec.json.Decoder(_Head).decode


def error_of(body: bytes) -> object:
    """The error object that a body holds, None when it holds none or is no JSON object."""
    try:
        return _decode(body).error or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_answer(body: bytes, member: str) -> bool:
    """Whether a body is a JSON object with this member: `choices` or `data`. Its values are skipped, not built."""
    try:
        return bytes(getattr(_decode(body), member)) != b""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
