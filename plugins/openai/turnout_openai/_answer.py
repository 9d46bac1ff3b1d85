"""What a successful answer must look like before it counts as one."""

from typing import Any

import msgspec

_MISSING = msgspec.Raw(b"")


class Head(msgspec.Struct):
    """The members of an answer that tell what it is; their values are skipped, not built, but for an error."""

    error: Any = None
    choices: msgspec.Raw = _MISSING
    data: msgspec.Raw = _MISSING
    output: msgspec.Raw = _MISSING

    def has(self, member: str) -> bool:
        """Whether it has `choices`, `data` or `output`."""
        return getattr(self, member) is not _MISSING


_decode = msgspec.json.Decoder(Head).decode
NOTHING = Head()


def head_of(body: bytes) -> Head:
    """What a body says it is; `NOTHING` for what is not a JSON object."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING
