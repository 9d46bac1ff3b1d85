"""The sealing of a store that several nodes share: its header lies with the records, its key with each node."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, final

import attrs
import trio

from turnout.errors import StoreError
from turnout_redis._keys import Keys
from turnout_redis._scripts import REPLACE_HEADER
from turnout_redis._server import Server
from turnout_seal import KeySource, Sealing, open_sealing

T = TypeVar("T")


@final
class SharedSealing:
    """Follows the header: another node may have rotated the key.

    Attributes:
        header: as the server had it last, empty when it had none.
    """

    def __init__(self, server: Server, keys: Keys, source: KeySource) -> None:
        self._server = server
        self._keys = keys
        self._source = source
        self._lane = trio.CapacityLimiter(1)
        self._sealing: Sealing | None = None
        self.header = b""

    @property
    def now(self) -> Sealing:
        """The sealing in force. Raises StoreError when there is none: the server may not hold secrets."""
        if self._sealing is None:
            raise StoreError("nothing is sealed here")
        return self._sealing

    async def follow(self, *, untouched: bool = False) -> None:
        """Take the header anew, if it is not the one that we know. A new one is made when there is none.

        `untouched` says that no record of the store is sealed. Raises StoreError, also when a header that was there is
        gone: then the server has lost what it held, or another one has taken its place (G5).
        """
        kept = await self._kept()
        if kept is None and self.header:
            raise StoreError(
                f"redis at {self._server.name} was emptied, or another one is in its place: nothing is saved"
            )
        if kept is not None and kept == self.header:
            return
        opened = await self._in_thread(partial(open_sealing, self._source, kept, untouched=untouched))
        if kept is None:
            await self._replace(b"", attrs.evolve(opened, whole=True))
        else:
            self._sealing, self.header = opened, kept

    async def follow_existing(self) -> None:
        """Like `follow`, and nothing happens where there is no header: none is made."""
        if await self._kept() is not None:
            await self.follow()

    async def rotate(self) -> None:
        """Seal with a new key from now on, on every node: the server refuses what is not under its header."""
        ring = await self._in_thread(partial(self._source.add, self.now.key.id))
        await self._replace(self.header, attrs.evolve(self.now, ring=ring, key=ring.first))

    async def forget_older(self) -> None:
        """Nothing is sealed with an older key any more."""
        await self._in_thread(partial(self._source.keep, self.now.key.id))

    async def _replace(self, old: bytes, sealing: Sealing) -> None:
        new = sealing.header()
        what = "the seal header cannot be written"
        if await self._server.run(what, REPLACE_HEADER, [self._keys.about], old, new):
            self._sealing, self.header = sealing, new
        else:
            await self.follow()  # another node was first

    async def _kept(self) -> bytes | None:
        client, about = self._server.client, self._keys.about
        return await self._server.ask("the seal header cannot be read", lambda: client.hget(about, "seal"))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._lane)
