"""A sealed record: a data key of its own, wrapped by a master key, and the data under it. Pure: bytes in, bytes out.

    magic (14) · id of the master key (8) · nonce (12) · wrapped data key (48) · nonce (12) · data and tag

Both parts are AES-256-GCM and bound to their place (store, credential, field, version) as associated data, so that a
sealed record is worth nothing anywhere else, and an older one not in the place of a newer one (S20, S21). A new master
key takes the 60 bytes of the wrapping only. Data keys are used once, so their nonces cannot repeat; a master key wraps
with random nonces, which NIST SP 800-38D (8.3) bounds at 2**32 for one key.
"""

import os
from collections.abc import Callable
from typing import Final, final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnout_seal._keys import ID_BYTES, KEY_BYTES, Key, KeyRing

Draw = Callable[[int], bytes]
"""Gives so many random bytes."""

MAGIC: Final = b"\0turnout-seal\x01"
"""No JSON begins so; the last byte is the version of this layout."""

_NONCE, _TAG = 12, 16
_WRAPPED: Final = _NONCE + KEY_BYTES + _TAG
_DATA: Final = len(MAGIC) + ID_BYTES + _WRAPPED


class Unsealable(Exception):
    """The bytes are no record that was sealed for this place; the text says why and quotes nothing."""


class UnknownKey(Unsealable):
    """The master key that it was sealed with is not here: the record may be sound."""


@final
@attrs.frozen(kw_only=True)
class Place:
    """Where a record belongs.

    Attributes:
        store: id of the store, which no other store has.
        id: the credential's.
        field: what of it, such as `secret`.
        version: the record's.
    """

    store: str
    id: str
    field: str
    version: int

    def bound(self, purpose: bytes) -> bytes:
        """The associated data: every part with its length before it, so that no two places give the same."""
        parts = (self.store, self.id, self.field, str(self.version))
        raw = (MAGIC, purpose, *(part.encode("utf-8", "surrogatepass") for part in parts))
        return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


def is_sealed(data: bytes) -> bool:
    """Whether the bytes look like a sealed record of this or a later layout."""
    return data.startswith(MAGIC[:-1])


def key_of(sealed: bytes) -> str:
    """Id of the master key that a record was sealed with. Raises Unsealable."""
    _check(sealed)
    return sealed[len(MAGIC) : len(MAGIC) + ID_BYTES].hex()


def seal(key: Key, place: Place, data: bytes, draw: Draw = os.urandom) -> bytes:
    """The data, sealed for its place under a data key of its own."""
    data_key, nonce = draw(KEY_BYTES), draw(_NONCE)
    return _wrapped(key, place, data_key, draw) + nonce + AESGCM(data_key).encrypt(nonce, data, place.bound(b"data"))


def unseal(ring: KeyRing, place: Place, sealed: bytes) -> bytes:
    """The data of a record that was sealed for this place. Raises Unsealable, UnknownKey."""
    data_key = _unwrapped(ring, place, sealed)
    nonce, data = sealed[_DATA : _DATA + _NONCE], sealed[_DATA + _NONCE :]
    return _decrypted(data_key, nonce, data, place.bound(b"data"))


def rewrap(ring: KeyRing, key: Key, place: Place, sealed: bytes) -> bytes:
    """The same record under another master key: its data is not touched. Raises Unsealable, UnknownKey."""
    return _wrapped(key, place, _unwrapped(ring, place, sealed), os.urandom) + sealed[_DATA:]


def _wrapped(key: Key, place: Place, data_key: bytes, draw: Draw) -> bytes:
    nonce = draw(_NONCE)
    return MAGIC + bytes.fromhex(key.id) + nonce + AESGCM(key.raw).encrypt(nonce, data_key, place.bound(b"key"))


def _unwrapped(ring: KeyRing, place: Place, sealed: bytes) -> bytes:
    id = key_of(sealed)
    key = ring.get(id)
    if key is None:
        raise UnknownKey(f"it was sealed with the master key {id}, which is not here")
    wrapped = sealed[_DATA - _WRAPPED : _DATA]
    return _decrypted(key.raw, wrapped[:_NONCE], wrapped[_NONCE:], place.bound(b"key"))


def _decrypted(key: bytes, nonce: bytes, data: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, data, bound)
    except InvalidTag:
        raise Unsealable("it was changed, or sealed for another place or version") from None


def _check(sealed: bytes) -> None:
    if not is_sealed(sealed):
        raise Unsealable("it is not sealed")
    if not sealed.startswith(MAGIC):
        raise UnknownKey("it was sealed by a later version")
    if len(sealed) < _DATA + _NONCE + _TAG:
        raise Unsealable("it is cut off")
