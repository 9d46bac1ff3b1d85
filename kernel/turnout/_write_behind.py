"""Brings what changed in custody to the store: coalesced, in the background, and once more at the end (O19, O20)."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from logging import getLogger
from typing import Any

import trio

from turnout._aggregate import clear
from turnout._custody import Custody, is_kept
from turnout._plugin_calls import plugin_code
from turnout._records import encode_credential, encode_state
from turnout._values import Credential, CredentialState, ModelState, Record, Status
from turnout.abc import Store
from turnout.errors import PluginError, StoreConflict, StoreError

COALESCE = 0.5
"""Seconds between two rounds: changes that come together are written once."""

RETRY_FLOOR, RETRY_CAP = 1.0, 30.0
"""Seconds until a failed round is tried again: doubled each time."""

SAVE_LIMIT = 10.0
"""Seconds that one record may take."""

log = getLogger("turnout.store")


class WriteBehind:
    """Writes dirty records of one custody to one store."""

    def __init__(self, custody: Custody, store: Store, name: str, failed: Callable[[str, str, str], Any]) -> None:
        self._custody = custody
        self._store = store
        self._border = plugin_code("turnout.stores", name)
        self._failed = failed
        self._versions: dict[tuple[str, str], int] = {}
        self._scope = trio.CancelScope()
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
        """End `run`; what is dirty stays so."""
        self._scope.cancel()

    async def flush(self) -> bool:
        """Write everything that is dirty now; gives whether all of it is in the store. What failed stays dirty."""
        taken = self._custody.dirty.take()
        done = 0
        try:
            for kind, id in taken:
                async with self._turn:
                    if not await self._bring(kind, id, self._data(kind, id)):
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
            kept = is_kept(credential, "secret")
            if kept and not await self._bring("secret", credential.id, encode_credential(credential)):
                self._custody.dirty.mark("secret", credential.id)
            yield

    async def _bring(self, kind: str, id: str, data: bytes | None) -> bool:
        try:
            with trio.fail_after(SAVE_LIMIT), self._border:
                await self._write(kind, id, data)
        except (StoreError, PluginError, trio.TooSlowError) as error:
            reason = str(error) or "took too long"
            log.warning("the %s of %s is not saved yet: %s", kind, id, reason)
            self._failed(kind, id, reason)
            return False
        return True

    async def _write(self, kind: str, id: str, data: bytes | None) -> None:
        key = kind, id
        if data is None:
            if self._versions.pop(key, None) is not None:
                await self._store.delete(kind, id)
            return
        try:
            self._versions[key] = await self._store.save(kind, id, data, self._versions.get(key, 0))
        except StoreConflict as conflict:
            log.warning("the %s of %s was changed by somebody else; ours follows theirs", kind, id)
            self._versions[key] = await self._store.save(kind, id, data, conflict.current)

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
