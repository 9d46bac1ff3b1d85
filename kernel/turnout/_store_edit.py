"""Changes that commands make to the credentials of a store, beside whoever else uses it: compare and set, no kernel."""

from collections.abc import Callable, Mapping, Sequence

from turnout._aggregate import forgotten
from turnout._records import decode_credential, encode_credential, encode_state
from turnout._unknown_fields import unknown_fields
from turnout._values import Credential, Record
from turnout.abc import Store
from turnout.errors import StoreConflict, StoreError, UnknownCredential

TRIES = 10
"""How often a change is tried while others keep coming between."""


async def stored(store: Store) -> Mapping[str, Credential]:
    """The credentials of a store, by id; damaged ones are left out. Raises StoreError."""
    found = {}
    for record in await store.list():
        if record.kind == "secret":
            try:
                found[record.id] = decode_credential(record.data)
            except ValueError:
                continue
    return found


async def add(store: Store, credentials: Sequence[Credential], *, replace: bool = False) -> None:
    """Keep credentials, in place of those of the same ids when `replace` is set.

    Raises StoreError, also for an id that is taken; those before it are kept then.
    """
    for one in credentials:
        try:
            await store.save("secret", one.id, encode_credential(one), None if replace else 0)
        except StoreConflict:
            raise StoreError(f"there is a credential {one.id!r} already") from None


async def change(store: Store, id: str, edit: Callable[[Credential], Credential]) -> None:
    """Replace a credential by what `edit` makes of it. Raises UnknownCredential, StoreError."""
    for _ in range(TRIES):
        record = await _record(store, id)
        try:
            before = decode_credential(record.data)
        except ValueError as error:
            raise StoreError(f"the record of {id!r} is damaged: {error}") from None
        try:
            after = unknown_fields(record).kept_in(encode_credential(edit(before)))
            await store.save("secret", id, after, record.version)
        except StoreConflict:
            continue
        return
    raise StoreError(f"others keep changing {id!r}: try again")


async def remove(store: Store, id: str) -> None:
    """Remove a credential and its state. Raises UnknownCredential, StoreError."""
    await _record(store, id)
    await store.delete("secret", id)
    await store.delete("state", id)


async def reset(store: Store, id: str, now: float) -> None:
    """Have everybody forget a credential's cooldowns and errors, also what is not saved yet. Raises StoreError.

    It is written down, whether or not there is a record: of one that is only removed nobody knows when that was.
    """
    await store.save("state", id, encode_state(forgotten(now)), None)


async def _record(store: Store, id: str) -> Record:
    for record in await store.list():
        if (record.kind, record.id) == ("secret", id):
            return record
    raise UnknownCredential(f"there is no credential {id!r} in the store", argument="id")
