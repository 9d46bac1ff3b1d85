"""The store: records and leases on a server, and a task that listens for news of others."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from logging import Logger
from typing import ClassVar, Final, final

import trio

from turnout import Record
from turnout.abc import Allotment, Change, Claim, Lease, PluginContext
from turnout.errors import StoreError
from turnout_redis._allotments import allot
from turnout_redis._keys import Keys
from turnout_redis._leases import give_back, take
from turnout_redis._news import News
from turnout_redis._records import Records
from turnout_redis._seal import SharedSealing
from turnout_redis._server import Server, open_server, ungrouped
from turnout_redis._settings import RedisSettings
from turnout_redis._soundness import why_late, why_unsound

POLL: Final = 1.0
"""Seconds between two looks at what others have changed, when no news comes."""


@final
class Redis:
    """Keeps records on a server that many nodes share; the README has its laws."""

    api: ClassVar[int] = 1
    Settings = RedisSettings

    def __init__(
        self, *, server: Server, keys: Keys, records: Records, sealing: SharedSealing, news: News, log: Logger
    ) -> None:
        """Made by `open`."""
        self._server = server
        self._keys = keys
        self._records = records
        self._sealing = sealing
        self._news = news
        self._log = log
        self._asks = Counter[str]()
        self._asking = Counter[str]()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: RedisSettings, context: PluginContext) -> AsyncIterator["Redis"]:
        """Connect; raises StoreError when the server or the key cannot be used, saying what to do."""
        keys, log = Keys(settings.prefix), context.log
        with ungrouped():
            async with open_server(settings) as server:
                refused = await _why_refused(server)
                sealing = SharedSealing(server, keys, settings.key_source(settings.beside()))
                records = Records(server, keys, sealing, writer=secrets.token_hex(8), refused=refused, log=log)
                if refused:
                    log.error("redis at %s keeps cooldowns only, and no secrets: %s", server.name, refused)
                    await sealing.follow_existing()
                else:
                    if late := why_late(await _appendfsync(server)):
                        log.warning("redis at %s: %s", server.name, late)
                    await sealing.follow(untouched=not await records.holds_sealed())
                news = News(server, keys, log)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(news.listen, name="news from redis")
                    yield cls(server=server, keys=keys, records=records, sealing=sealing, news=news, log=log)
                    nursery.cancel_scope.cancel()

    async def list(self) -> Iterable[Record]:
        """Every sound record; a damaged one moves to the hash `aside` and is logged. Raises StoreError."""
        return await self._records.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Write a record and give its new version; see `turnout.abc.Store.save`.

        A secret whose lease this node had, and lost, is a StoreConflict whatever its version.
        """
        return await self._records.save(kind, id, data, if_version)

    async def read(self, kind: str, id: str) -> Record | None:
        """One record as it is now, None when there is none; see `turnout.abc.Reader`."""
        return await self._records.read(kind, id)

    async def delete(self, kind: str, id: str) -> None:
        """Remove a record; nothing happens when there is none. Raises StoreError."""
        await self._records.delete(kind, id)

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        """What other nodes have changed since the last `list`; see `turnout.abc.Watcher`."""
        return Watching(self._records, self._news)

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        """The sole right to renew a credential, None while somebody else has it; see `turnout.abc.Leaser`.

        A StoreError where no secret is kept (G7): what would be renewed could not be saved.
        """
        self._records.check_keeps_secrets()
        lease = await self._take(id, seconds)
        if lease is None:
            yield None
            return
        self._records.fences[id] = lease.fence
        try:
            yield lease
        finally:
            del self._records.fences[id]
            with trio.CancelScope(shield=True):
                await self._give_back(lease)

    async def _take(self, id: str, seconds: float) -> Lease | None:
        """Ask for a lease; None while somebody else has it, another task of ours included.

        An ask whose answer gets lost, as when the server hangs, may have got the lease; the next ask takes it back, for
        nothing was done under it. A lease that we know to have, or that another task of ours asks for now, is not lost:
        the number stays meanwhile.
        """
        if id not in self._records.fences and not self._asking[id]:
            self._asks[id] += 1
        self._asking[id] += 1
        try:
            writer, ask = self._records.writer, self._asks[id]
            return await take(self._server, self._keys, id, seconds, writer=writer, ask=ask)
        finally:
            self._asking[id] -= 1

    async def _give_back(self, lease: Lease) -> None:
        try:
            await give_back(self._server, self._keys, lease)
        except StoreError as error:
            self._log.warning("%s; it ends by itself", error)

    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        """Divide limits among the nodes; see `turnout.abc.Allotter`."""
        return await allot(self._server, self._keys, self._records.writer, claims)

    async def rotate_key(self) -> int:
        """Seal with a new key from now on and re-wrap every secret; gives how many. Raises StoreError."""
        await self._sealing.rotate()
        done = await self._records.rewrap()
        await self._sealing.forget_older()
        return done


async def _why_refused(server: Server) -> str:
    info = await server.ask(
        "the store cannot be opened", lambda: server.client.info("persistence", "memory", "replication")
    )
    return why_unsound(info)


async def _appendfsync(server: Server) -> object:
    """When the server syncs its append-only file; None when it does not say."""
    try:
        found = await server.ask("it does not tell its settings", lambda: server.client.config_get(["appendfsync"]))
    except StoreError:
        return None
    return next(iter(found.values()), None)


@final
class Watching:
    """Changes of others, one batch after the other."""

    def __init__(self, records: Records, news: News) -> None:
        """Made by `Redis.watch`."""
        self._records = records
        self._news = news

    def __aiter__(self) -> "Watching":
        return self

    async def __anext__(self) -> Sequence[Change]:
        """Wait for changes and give them. Raises StoreError while the server is away; may be asked again."""
        while True:
            with trio.move_on_after(POLL):
                await self._news.wait()
            if changes := await self._records.changes():
                return changes
