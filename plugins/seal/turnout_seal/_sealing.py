"""The sealing of one store: its id, its current key, and the header in which the store keeps both.

The header is how a wrong or missing key is noticed before anything is read or written: a store that has one was sealed
before, so its key must be there, and the header's own code must fit (S22).
"""

import hashlib
import hmac
import json
import os
from typing import Any, Final, final

import attrs

from turnout.errors import StoreError
from turnout_seal._envelope import Place, is_sealed, key_of, rewrap, seal, unseal
from turnout_seal._keys import Key, KeyRing
from turnout_seal._sources import KeySource

FORMAT: Final = 1


@final
@attrs.frozen(kw_only=True)
class Sealing:
    """Seals and unseals the records of one store.

    Attributes:
        store: id of the store.
        key: the current master key: the one that the header names.
        ring: every key at hand.
        whole: every secret record is sealed, so one that is not was put there by somebody else.
    """

    store: str
    key: Key
    ring: KeyRing = attrs.field(repr=False)
    whole: bool

    def seal(self, kind: str, id: str, version: int, data: bytes) -> bytes:
        """The data, sealed under the current key."""
        return seal(self.key, self._place(kind, id, version), data)

    def unseal(self, kind: str, id: str, version: int, data: bytes) -> bytes:
        """The data of a sealed record, or of one that was kept before sealing began. Raises Unsealable, UnknownKey."""
        if not is_sealed(data) and not self.whole:
            return data
        return unseal(self.ring, self._place(kind, id, version), data)

    def is_current(self, data: bytes) -> bool:
        """Whether a record is sealed under the current key. Raises Unsealable for one of a later layout."""
        return is_sealed(data) and key_of(data) == self.key.id

    def renewed(self, kind: str, id: str, version: int, data: bytes) -> bytes:
        """The same record under the current key; one that was not sealed is. Raises Unsealable, UnknownKey."""
        if is_sealed(data):
            return rewrap(self.ring, self.key, self._place(kind, id, version), data)
        return self.seal(kind, id, version, self.unseal(kind, id, version, data))

    def header(self) -> bytes:
        """What the store keeps of this; no secret."""
        fields = {"format": FORMAT, "store": self.store, "key": self.key.id, "whole": self.whole}
        return json.dumps({**fields, "code": _code(self.key, fields)}).encode() + b"\n"

    def _place(self, kind: str, id: str, version: int) -> Place:
        return Place(store=self.store, id=id, field=kind, version=version)


def open_sealing(source: KeySource, header: bytes | None, *, untouched: bool) -> Sealing:
    """The sealing of a store that keeps this header; a new one when the store has none yet (None).

    `untouched` says that no record of the store is sealed: only then may a header, and a key, be made. What is new has
    `whole` false: the store saves its header, seals what it holds, and then saves it as whole. May block. Raises
    StoreError for a key that is missing, wrong or not private, and for a header that was changed.
    """
    if header is not None:
        return _opened(source, _fields(header))
    if not untouched:
        raise StoreError("its records are sealed, but its seal header is gone: restore it from a backup")
    ring = source.create()
    return Sealing(store=os.urandom(16).hex(), key=ring.first, ring=ring, whole=False)


def _opened(source: KeySource, fields: dict[str, Any]) -> Sealing:
    ring = source.load()
    if ring is None:
        raise StoreError("its records are sealed and the master key is missing: restore the key, nothing is changed")
    key = ring.get(str(fields.get("key")))
    if key is None:
        raise StoreError(f"its records are sealed with the master key {fields.get('key')}, and another one is given")
    code = str(fields.pop("code", ""))
    if not hmac.compare_digest(code.encode(), _code(key, fields).encode()):
        raise StoreError("its seal header was changed: restore it from a backup")
    return Sealing(store=str(fields["store"]), key=key, ring=ring, whole=fields["whole"] is True)


def _fields(header: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(header)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or type(fields.get("format")) is not int:
        raise StoreError("its seal header is damaged: restore it from a backup")
    if fields["format"] > FORMAT:
        raise StoreError(f"its seal header has format {fields['format']}, this version knows {FORMAT}")
    return fields


def _code(key: Key, fields: dict[str, Any]) -> str:
    """Says that whoever wrote the header had the key."""
    text = json.dumps(fields, sort_keys=True).encode()
    return hmac.new(key.derived(b"turnout-seal header"), text, hashlib.sha256).hexdigest()
