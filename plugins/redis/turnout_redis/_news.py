"""Listens to the channel on which nodes say that they have changed something. What was missed is found by polling."""

from logging import Logger
from typing import Final, final

import trio

from turnout_redis._keys import Keys
from turnout_redis._server import Server, shown

FLOOR: Final = 0.1
CAP: Final = 5.0
"""Seconds until a subscription that ended is made again: doubled each time it fails."""


@final
class News:
    """Wakes those who wait whenever somebody may have changed something."""

    def __init__(self, server: Server, keys: Keys, log: Logger) -> None:
        self._server = server
        self._channel = keys.news
        self._log = log
        self._came = trio.Event()

    async def wait(self) -> None:
        """Wait for the next piece of news."""
        await self._came.wait()

    async def listen(self) -> None:
        """Stay subscribed, until cancelled: a subscription may fail, and after an outage coredis ends it silently."""
        pause = FLOOR
        while True:
            heard = trio.current_time()
            try:
                await self._hear()
                why = "it ended"
            except Exception as error:  # noqa: BLE001 # coredis raises groups of its own nurseries; polling goes on
                why = shown(error)
            self._wake()
            if trio.current_time() - heard > CAP:
                pause = FLOOR
            if pause == FLOOR:
                self._log.warning("the subscription at redis %s is made again: %s", self._server.name, why)
            await trio.sleep(pause)
            pause = min(2 * pause, CAP)

    async def _hear(self) -> None:
        async with self._server.client.pubsub(channels=[self._channel]) as subscription:
            async for _ in subscription:
                self._wake()

    def _wake(self) -> None:
        came, self._came = self._came, trio.Event()
        came.set()
