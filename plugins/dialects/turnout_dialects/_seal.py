"""Carry one vendor's signature through a client of another dialect, and back.

Reasoning that a vendor signed must come back to that vendor as it was, and must not reach another one, which would
refuse it. So a signature in a foreign dialect travels with its origin in front, as base64: the SDK of Google decodes
`thoughtSignature` and encodes it again with the alphabet for URLs; the others take any text.

What no vendor signed is sealed as nobody's: a client's next request may go to the vendor whose dialect it speaks, and
must not show it as that vendor's own.
"""

import base64
import binascii

import msgspec

from turnout_dialects._form import Signature

_MARK = b"turnout1:"
_SEALED = base64.b64encode(_MARK).decode()  # nine bytes are twelve characters, so whatever follows leaves them alone

MARK = base64.b64encode(_MARK + b'{"origin"')
"""What the bytes of every seal begin with. Twice as long as need be, for longer bytes are found faster."""

_NOBODY = Signature(origin="", value="")

_read = msgspec.json.Decoder(Signature).decode


def seal(signature: Signature | None, dialect: str) -> str:
    """The signature as a client of `dialect` keeps it; None is what nobody signed."""
    signature = signature or _NOBODY
    if signature.origin == dialect and not signature.id and not signature.redacted:
        return signature.value
    return base64.urlsafe_b64encode(_MARK + msgspec.json.encode(signature)).decode()


def is_sealed(value: object) -> bool:
    """Whether it is what `seal` made, rather than a vendor's own signature."""
    return isinstance(value, str) and value.startswith(_SEALED)


def unseal(value: str, dialect: str) -> Signature | None:
    """The signature that a client of `dialect` sent back, None when it is damaged or nobody's.

    What is not sealed is that vendor's own.
    """
    if not is_sealed(value):
        return Signature(origin=dialect, value=value)
    try:
        found = _read(base64.b64decode(value.replace("-", "+").replace("_", "/"))[len(_MARK) :])
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.origin else None
