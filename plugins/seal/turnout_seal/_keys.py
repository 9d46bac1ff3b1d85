"""Master keys: 32 random bytes each, written as base64, and told apart by an id that gives nothing away. Pure."""

import base64
import hashlib
import hmac
import os
import re
from typing import Final, final

import attrs

KEY_BYTES: Final = 32
"""AES-256."""

ID_BYTES: Final = 8


@final
@attrs.frozen
class Key:
    """One master key; its repr shows the id only."""

    raw: bytes = attrs.field(repr=False, validator=attrs.validators.min_len(KEY_BYTES))

    @property
    def id(self) -> str:
        """What tells keys apart, as hexadecimal digits."""
        return self.derived(b"turnout-seal key id")[:ID_BYTES].hex()

    def derived(self, purpose: bytes) -> bytes:
        """A key for something else than sealing."""
        return hmac.digest(self.raw, purpose, hashlib.sha256)


def new_key() -> Key:
    """A key that nobody has."""
    return Key(os.urandom(KEY_BYTES))


@final
class KeyRing:
    """Master keys in use, the current one first; never empty. Old ones stay until nothing is sealed with them."""

    def __init__(self, *keys: Key) -> None:
        if not keys:
            raise ValueError("it holds no key")
        self.keys = keys
        self._by_id = {key.id: key for key in keys}

    @property
    def first(self) -> Key:
        """The key for what is sealed from now on."""
        return self.keys[0]

    def get(self, id: str) -> Key | None:
        """The key of this id, None when it is not here."""
        return self._by_id.get(id)

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Keys in base64, apart by spaces, commas or lines. Raises ValueError that quotes nothing of them."""
        words = re.split(r"[\s,]+", text.strip())
        return cls(*(_parsed(word) for word in words if word))

    def text(self) -> str:
        """The text that `parse` reads."""
        return "".join(base64.b64encode(key.raw).decode() + "\n" for key in self.keys)


def _parsed(word: str) -> Key:
    try:
        raw = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError("a key is 32 random bytes in base64, such as `openssl rand -base64 32` prints")
    return Key(raw)
