"""Carry one vendor's signature through a client of another dialect, and back.

Reasoning that a vendor signed must come back to that vendor as it was, and must not reach another one, which would
refuse it. So a signature in a foreign dialect travels with its origin in front, as base64: the SDK of Google decodes
`thoughtSignature` and encodes it again with the alphabet for URLs; the others take any text.
"""

import base64
import binascii

import msgspec

from turnout_dialects._form import Signature

_MARK = b"turnout1:"
_SEALED = base64.b64encode(_MARK).decode()  # nine bytes are twelve characters, so whatever follows leaves them alone

_read = msgspec.json.Decoder(Signature).decode


def seal(signature: Signature, dialect: str) -> str:
    """The signature as a client of `dialect` keeps it."""
    if signature.origin == dialect and not signature.id and not signature.redacted:
        return signature.value
    return base64.urlsafe_b64encode(_MARK + msgspec.json.encode(signature)).decode()


def unseal(value: str, dialect: str) -> Signature | None:
    """The signature that a client of `dialect` sent back, None when it is damaged.

    What is not sealed is that vendor's own.
    """
    if not value.startswith(_SEALED):
        return Signature(origin=dialect, value=value)
    try:
        found = _read(base64.b64decode(value.replace("-", "+").replace("_", "/"))[len(_MARK) :])
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.origin else None
