"""The right to renew, asked of the store; and a renewed credential, kept under it (acceptance E2, E4, E6, G2 to G4)."""

import enum
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from logging import getLogger

import trio

from turnout._custody import Custody, is_kept
from turnout._reconcile import reconciled
from turnout._records import encode_credential
from turnout._renewal import UNSHARED, Held, Right, moved
from turnout._values import Credential
from turnout._write_behind import STORE_LIMIT, WriteBehind
from turnout.abc import Lease, Leaser
from turnout.errors import PluginError, StoreConflict, StoreError

LEASE = 70.0
"""Seconds: longer than a renewal may take, so that nobody else begins one while it is under way."""

AWAY = (StoreError, PluginError, trio.TooSlowError)
"""What a store that is away makes us see."""

log = getLogger("turnout.refresh")


class Kept(enum.Enum):
    """What became of a renewed credential."""

    SAVED = "saved"
    AWAY = "away"
    """The store does not take it for now; it is used all the same, and tried again."""
    SUPERSEDED = "superseded"
    """Somebody else's newer tokens were there, and are in force now."""
    LOST = "lost"
    """The lease is somebody else's now, who has written nothing yet."""


class _Superseded(Exception):
    """Somebody else has replaced the tokens that we set out to replace."""


class Leasing:
    """Leases of one custody's credentials, from the store that `writer` writes to."""

    def __init__(self, custody: Custody, writer: Callable[[], WriteBehind]) -> None:
        self._custody = custody
        self._writer = writer

    @asynccontextmanager
    async def hold(self, credential: Credential) -> AsyncIterator[Held]:
        """Hold the right to renew, if it can be had now; what the store has is then in custody."""
        writer, asked = self._writer(), trio.current_time()
        store = writer.store
        if not is_kept(credential, "secret"):
            yield UNSHARED
            return
        if not isinstance(store, Leaser):
            yield UNSHARED if await self._takes_writes(credential.id) else Held(right=Right.AWAY)
            return
        try:
            with trio.fail_after(STORE_LIMIT), writer.border:
                leasing = store.lease(credential.id, LEASE)
                lease = await leasing.__aenter__()
        except AWAY as error:
            log.warning("there is no lease of %s: %s", credential.id, str(error) or "the store took too long")
            yield Held(right=Right.AWAY)
            return
        try:
            yield await self._held(lease, credential.id, asked)
        finally:
            await self._give_back(leasing, credential.id)

    async def _takes_writes(self, id: str) -> bool:
        """Whether a renewed token would be kept: what it is to replace is written once more (F-5).

        A lease is a write as well, so a store that has those is not asked twice.
        """
        try:
            await self._writer().save_one("secret", id)
        except StoreError as error:
            log.warning("%s is not renewed now: %s", id, error)
            return False
        return True

    async def _held(self, lease: Lease | None, id: str, asked: float) -> Held:
        if lease is None:
            return Held(right=Right.TAKEN)
        read = await self.read(id)
        ends = asked + LEASE
        return Held(right=Right.HELD, left=ends - trio.current_time(), ends=ends, read=read)

    async def _give_back(self, leasing: AbstractAsyncContextManager[Lease | None], id: str) -> None:
        """Leave the store's block whatever ended ours: a lease that cannot be given back ends by itself."""
        try:
            with trio.CancelScope(shield=True), trio.fail_after(STORE_LIMIT), self._writer().border:
                await leasing.__aexit__(None, None, None)
        except AWAY as error:
            log.warning("the lease of %s ends by itself: %s", id, str(error) or "the store took too long")

    async def read(self, id: str) -> bool:
        """Take in what the store has of a credential; gives whether it could be asked."""
        writer = self._writer()
        try:
            with trio.fail_after(STORE_LIMIT):
                await writer.read_one("secret", id)
                await writer.read_one("state", id)
        except AWAY as error:
            log.warning("%s cannot be read again: %s", id, str(error) or "the store took too long")
            return False
        return True

    async def tell(self, id: str) -> None:
        """Bring a credential's state to the store before its lease is given back, so that nobody tries the same."""
        try:
            await self._writer().save_one("state", id)
        except StoreError as error:
            log.warning("%s", error)

    @asynccontextmanager
    async def saved(self, credential: Credential, given: Credential, held: Held) -> AsyncIterator[Kept]:
        """Make a renewed credential durable before the block puts it in force (E4); nobody else writes before its end.

        `given` is the credential that it takes the place of. Where leases say that nobody else may replace that, tokens
        that are found instead are newer ones; where there are none, whoever renewed last has those that work.
        """
        async with self._writer().turn:
            yield await self._keep(credential, given, held) if is_kept(credential, "secret") else Kept.SAVED

    async def _keep(self, credential: Credential, given: Credential, held: Held) -> Kept:
        writer, id = self._writer(), credential.id
        replaced = None if held.right is Right.UNSHARED else given
        data = partial(self._data, credential, replaced, self._custody.stored.get(id))
        try:
            with trio.fail_after(STORE_LIMIT):
                await writer.write("secret", id, data)
        except _Superseded:
            return Kept.SUPERSEDED
        except AWAY as error:
            if held.over(trio.current_time()) or (isinstance(error, StoreConflict) and replaced is not None):
                log.warning("the secret of %s is not saved: %s", id, str(error) or "its lease ended meanwhile")
                return Kept.LOST
            writer.not_saved("secret", id, error)
            self._custody.dirty.mark("secret", id)
            return Kept.AWAY
        return Kept.SAVED

    def _data(self, credential: Credential, given: Credential | None, base: Credential | None) -> bytes | None:
        """A renewed credential, on top of what others wrote since `base` was read; None once it was removed."""
        stored = self._custody.stored.get(credential.id)
        if credential.id not in self._custody.credentials:
            return None
        if stored is None or stored is base:
            return encode_credential(credential)
        if given is not None and moved(given, stored):
            raise _Superseded
        spent = None if given is None else self._custody.spent.get(credential.id, ())
        return encode_credential(reconciled(base, credential, stored, spent=spent))
