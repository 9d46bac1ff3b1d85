"""Brings what changed in custody to the store: coalesced, in the background, and once more at the end (O19, O20).

Where others write to the store as well, what they changed comes back the same way: it is watched, and read when a save
finds that somebody came between; then both changes are joined, and none is lost.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from logging import getLogger
from typing import Any

import trio

from turnout._aggregate import clear
from turnout._custody import Custody, is_kept
from turnout._plugin_calls import plugin_code
from turnout._reconcile import reconciled
from turnout._records import decode_credential, encode_credential, encode_state
from turnout._values import Credential, CredentialState, ModelState, Record, Status
from turnout.abc import Change, Store, Watcher
from turnout.errors import PluginError, StoreConflict, StoreError

COALESCE = 0.5
"""Seconds between two rounds: changes that come together are written once."""

RETRY_FLOOR, RETRY_CAP = 1.0, 30.0
"""Seconds until a failed round is tried again: doubled each time."""

TRIES = 5
"""How often a record is written while others keep coming between."""

SAVE_LIMIT = 10.0
"""Seconds that one record may take."""

log = getLogger("turnout.store")


class WriteBehind:
    """Writes dirty records of one custody to one store."""

    def __init__(
        self,
        custody: Custody,
        store: Store,
        name: str,
        *,
        failed: Callable[[str, str, str], Any],
        follow: Callable[[Sequence[Change]], Any],
    ) -> None:
        self._custody = custody
        self._follow = follow
        self._store = store
        self._border = plugin_code("turnout.stores", name)
        self._failed = failed
        self._versions: dict[tuple[str, str], int] = {}
        self._scope = trio.CancelScope()
        self._watch_scope = trio.CancelScope()
        self._turn = trio.Lock()  # an older snapshot must not follow a newer one into the store

    async def load(self) -> Mapping[tuple[str, str], Record]:
        """Every record of the store, by kind and id. Raises StoreError or PluginError."""
        with self._border:
            records = {(record.kind, record.id): record for record in await self._store.list()}
        self._versions = {key: record.version for key, record in records.items()}
        return records

    async def run(self) -> None:
        """Write what gets dirty, until closed."""
        pause = RETRY_FLOOR
        with self._scope:
            while True:
                await self._custody.dirty.wait_marked()
                await trio.sleep(COALESCE)
                if await self.flush():
                    pause = RETRY_FLOOR
                else:
                    await trio.sleep(pause)
                    pause = min(2 * pause, RETRY_CAP)

    def close(self) -> None:
        """End `run` and `watch`; what is dirty stays so."""
        self._scope.cancel()
        self._watch_scope.cancel()

    async def watch(self) -> None:
        """Follow what others write to the store, until closed; ends at once where nobody else can."""
        if not isinstance(self._store, Watcher):
            return
        changes = self._store.watch()
        pause = RETRY_FLOOR
        with self._watch_scope:
            while True:
                try:
                    with self._border:
                        found = await anext(changes)
                except (StoreError, PluginError) as error:
                    log.warning("the store cannot be watched for now: %s", error)
                    await trio.sleep(pause)
                    pause = min(2 * pause, RETRY_CAP)
                else:
                    pause = RETRY_FLOOR
                    self._hear(found)

    def _hear(self, changes: Iterable[Change]) -> None:
        """Take in what others wrote, less what we know already."""
        fresh = []
        for change in changes:
            key = change.kind, change.id
            known = self._versions.get(key, 0)
            if change.record is None and known:
                del self._versions[key]
                fresh.append(change)
            elif change.record is not None and change.record.version > known:
                self._versions[key] = change.record.version
                fresh.append(change)
        self._follow(fresh)

    async def read(self) -> None:
        """Write what is dirty, then take in everything that the store has (C3.4). Raises StoreError or PluginError."""
        await self.flush()
        with self._border:
            await self._read_again()

    async def _read_again(self) -> None:
        """Take in everything that others wrote, since one of them came between."""
        records = {(record.kind, record.id): record for record in await self._store.list()}
        gone = [key for key in self._versions if key not in records]
        self._hear(Change(kind=kind, id=id, record=record) for (kind, id), record in records.items())
        self._hear(Change(kind=kind, id=id, record=None) for kind, id in gone)

    async def flush(self) -> bool:
        """Write everything that is dirty now; gives whether all of it is in the store. What failed stays dirty."""
        taken = self._custody.dirty.take()
        done = 0
        try:
            for kind, id in taken:
                async with self._turn:
                    if not await self._bring(kind, id, partial(self._data, kind, id)):
                        return False
                done += 1
        finally:
            for kind, id in taken[done:]:
                self._custody.dirty.mark(kind, id)
        return True

    async def save_now(self, kind: str, id: str) -> None:
        """Write one dirty record and what else is dirty. Raises StoreError when it is not in the store afterwards."""
        await self.flush()
        if (kind, id) in self._custody.dirty.marks:
            raise StoreError(f"the {kind} of {id} is in force but not saved yet; it is tried again")

    @asynccontextmanager
    async def renewed(self, credential: Credential) -> AsyncIterator[None]:
        """Write a credential that the block then puts in force; nobody else writes before its end.

        One that the store refuses is marked dirty and told.
        """
        async with self._turn:
            data = partial(self._renewed_data, credential, self._custody.stored.get(credential.id))
            if is_kept(credential, "secret") and not await self._bring("secret", credential.id, data):
                self._custody.dirty.mark("secret", credential.id)
            yield

    def _renewed_data(self, credential: Credential, base: Credential | None) -> bytes:
        """A renewed credential, on top of what others wrote since `base` was read."""
        stored = self._custody.stored.get(credential.id)
        if stored is None or stored is base:
            return encode_credential(credential)
        return encode_credential(reconciled(base, credential, stored))

    async def _bring(self, kind: str, id: str, data: Callable[[], bytes | None]) -> bool:
        try:
            with trio.fail_after(SAVE_LIMIT), self._border:
                await self._write(kind, id, data)
        except (StoreError, PluginError, trio.TooSlowError) as error:
            reason = str(error) or "took too long"
            log.warning("the %s of %s is not saved yet: %s", kind, id, reason)
            self._failed(kind, id, reason)
            return False
        return True

    async def _write(self, kind: str, id: str, data: Callable[[], bytes | None]) -> None:
        """Write what `data` gives; when somebody else came between, read, join and write again."""
        key = kind, id
        for left in range(TRIES - 1, -1, -1):
            current = data()
            if current is None:
                if self._versions.pop(key, None) is not None:
                    await self._store.delete(kind, id)
                return
            try:
                version = await self._store.save(kind, id, current, self._versions.get(key, 0))
            except StoreConflict:
                if not left:
                    raise
                log.info("the %s of %s was changed by somebody else; both changes are kept", kind, id)
                self._custody.dirty.mark(kind, id)
                await self._read_again()
                self._custody.dirty.marks.pop(key, None)
            else:
                self._saved(key, version, current)
                return

    def _saved(self, key: tuple[str, str], version: int, data: bytes) -> None:
        """Remember what the store has now, unless somebody else was heard of since."""
        if version <= self._versions.get(key, 0):
            return
        self._versions[key] = version
        kind, id = key
        if kind == "secret" and id in self._custody.credentials:
            self._custody.stored[id] = decode_credential(data)

    def _data(self, kind: str, id: str) -> bytes | None:
        """What the store should hold; None for nothing: it is gone, not kept (C3.7), or as good as new."""
        credential = self._custody.credentials.get(id)
        if credential is None or not is_kept(credential, kind):
            return None
        if kind == "secret":
            return encode_credential(credential)
        state = self._custody.states[id]
        return None if _as_good_as_new(state) else encode_state(state)


def _as_good_as_new(state: CredentialState) -> bool:
    """Whether the state tells nothing that a fresh one would not."""
    every: tuple[CredentialState | ModelState, ...] = (state, *state.models.values())
    return not state.needs_login and all(clear(one) and one.status is Status.ACTIVE for one in every)
