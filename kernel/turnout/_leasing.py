"""The right to renew, asked of the store; and a renewed credential, kept under it (acceptance E2, E4, E6, G2 to G4)."""

import enum
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from logging import getLogger

import attrs
import trio

from turnout._custody import Custody, is_kept
from turnout._plugin_calls import offers
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


@attrs.define(eq=False)
class _Leased:
    """A lease in hand.

    Attributes:
        block: the store's, left when the lease is given back.
        lease: None where somebody else has it.
        ends: on Trio's clock, from when on it may be somebody else's.
        owes: what was renewed under it may not be in the store yet.
        waiting: where `settle` waits for that.
    """

    block: AbstractAsyncContextManager[Lease | None]
    lease: Lease | None
    ends: float
    owes: bool = False
    waiting: trio.CancelScope | None = None

    @property
    def over(self) -> float:
        """On Trio's clock, from when on it has ended for sure: the store gave it that much later at the most."""
        return self.ends + STORE_LIMIT


class _Superseded(Exception):
    """Somebody else has replaced the tokens that we set out to replace."""


class Leasing:
    """Leases of one custody's credentials, from the store that `writer` writes to."""

    def __init__(self, custody: Custody, writer: Callable[[], WriteBehind]) -> None:
        self._custody = custody
        self._writer = writer
        self._leased: dict[str, _Leased] = {}
        self._known: dict[str, int] = {}  # fence of the last lease under which all that others had written was known

    @asynccontextmanager
    async def hold(self, credential: Credential) -> AsyncIterator[Held]:
        """Hold the right to renew, if it can be had now; what the store has is then in custody.

        It is held on to after the block while what was renewed in it is not saved: `settle` is to be called then.
        """
        store, id = self._writer().store, credential.id
        if not is_kept(credential, "secret"):
            yield UNSHARED
            return
        if not offers(store, Leaser):
            yield UNSHARED if await self._takes_writes(id) else Held(right=Right.AWAY)
            return
        try:
            leased = self._taken_up(id) or await self._take(store, id)
        except AWAY as error:
            log.warning("there is no lease of %s: %s", id, str(error) or "the store took too long")
            yield Held(right=Right.AWAY)
            return
        try:
            yield await self._held(leased, id)
        finally:
            if not self._still_owes(leased, id):
                await self._give_back(leased, id)

    def _taken_up(self, id: str) -> _Leased | None:
        """The lease that is held on to since an earlier renewal, if there is one; `settle` lets go of it."""
        leased = self._leased.get(id)
        if leased is not None and leased.waiting is not None:
            leased.waiting.cancel()
            leased.waiting = None
        return leased

    async def _take(self, store: Leaser, id: str) -> _Leased:
        asked = trio.current_time()
        with trio.fail_after(STORE_LIMIT), self._writer().border:
            block = store.lease(id, LEASE)
            lease = await block.__aenter__()
        leased = self._leased[id] = _Leased(block=block, lease=lease, ends=asked + LEASE)
        return leased

    async def settle(self, id: str) -> None:
        """Hold on to a lease until what was renewed under it is saved, or it ends; nothing where that is so already.

        Given back before, it would let others renew with the token that this process has spent (E2). A store that does
        not take the save could not prolong the lease either.
        """
        leased = self._leased.get(id)
        if leased is None:
            return
        waiting = leased.waiting = trio.CancelScope(deadline=leased.over)
        try:
            with waiting:
                await self._custody.dirty.wait_saved("secret", id)
        finally:
            if leased.waiting is waiting:  # else another renewal has it now
                await self._give_up(leased, id)

    async def _give_up(self, leased: _Leased, id: str) -> None:
        """Give a lease back; when the kernel closes before the save has landed, that is tried once more.

        In vain, the lease is held until `close`: the kernel's last save may land yet, and before that nobody is to have
        a moment for the old token.
        """
        with trio.CancelScope(shield=True):
            if self._still_owes(leased, id):
                await self.tell(id, "secret")
            if not self._still_owes(leased, id):
                await self._give_back(leased, id)

    def _still_owes(self, leased: _Leased, id: str) -> bool:
        """Whether what was renewed under a lease is not saved, and nobody else can have the lease."""
        return leased.owes and self._custody.dirty.unsaved("secret", id) and trio.current_time() < leased.over

    async def close(self) -> None:
        """Give back what is still held. A store that does not take one back is away, and its leases end by themselves.

        To be called when the kernel closes and has saved what can be saved.
        """
        for id, leased in list(self._leased.items()):
            if not await self._give_back(leased, id):
                break

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

    async def _held(self, leased: _Leased, id: str) -> Held:
        if leased.lease is None:
            return Held(right=Right.TAKEN)
        fence, read = leased.lease.fence, await self.read(id)
        sole = self._known.get(id) in {fence - 1, fence}
        if read or sole:
            self._known[id] = fence
        left = leased.ends - trio.current_time()
        return Held(right=Right.HELD, left=left, ends=leased.ends, read=read, sole=sole)

    async def _give_back(self, leased: _Leased, id: str) -> bool:
        """Leave the store's block whatever ended ours; gives whether it could be. If not, the lease ends by itself."""
        del self._leased[id]
        try:
            with trio.CancelScope(shield=True), trio.fail_after(STORE_LIMIT), self._writer().border:
                await leased.block.__aexit__(None, None, None)
        except AWAY as error:
            log.warning("the lease of %s ends by itself: %s", id, str(error) or "the store took too long")
            return False
        return True

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

    async def tell(self, id: str, kind: str = "state") -> None:
        """Bring what is new of a credential to the store before its lease is given back: nobody is to try the same."""
        try:
            await self._writer().save_one(kind, id)
        except StoreError as error:
            log.warning("%s", error)

    @asynccontextmanager
    async def saved(self, credential: Credential, given: Credential, held: Held) -> AsyncIterator[Kept]:
        """Make a renewed credential durable before the block puts it in force (E4); nobody else writes before its end.

        `given` is the credential that it takes the place of. Where leases say that nobody else may replace that, tokens
        that are found instead are newer ones; where there are none, whoever renewed last has those that work.
        """
        base = self._custody.stored.get(credential.id)  # before our turn: what is heard of by then is not in it
        async with self._writer().turn:
            yield await self._keep(credential, given, base, held) if is_kept(credential, "secret") else Kept.SAVED

    async def _keep(self, credential: Credential, given: Credential, base: Credential | None, held: Held) -> Kept:
        writer, id = self._writer(), credential.id
        replaced = None if held.right is Right.UNSHARED else given
        data = partial(self._data, credential, replaced, base)
        try:
            with trio.fail_after(STORE_LIMIT):
                await writer.write("secret", id, data)
        except _Superseded:
            return Kept.SUPERSEDED
        except AWAY as error:
            conflict = isinstance(error, StoreConflict) and replaced is not None
            if conflict or not self.owe(id, held):
                log.warning("the secret of %s is not saved: %s", id, str(error) or "its lease ended meanwhile")
                return Kept.LOST
            writer.not_saved("secret", id, error)
            return Kept.AWAY
        return Kept.SAVED

    def owe(self, id: str, held: Held) -> bool:
        """What was renewed is used before it is saved: hold on to its lease. False, and nothing, once that is over."""
        if held.over(trio.current_time()):
            return False
        self._custody.dirty.mark("secret", id)
        if id in self._leased:
            self._leased[id].owes = True
        return True

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
