"""When the next connection may be taken: others that accept from the same socket, and everything else, get a share."""

from typing import Final, final

import trio

from turnout_http._descriptors import Descriptors
from turnout_http._taking import TakenStream

PAUSE: Final = 0.001
"""Seconds: enough for another process that has been woken as well to come to its `accept`."""

AT_ONCE: Final = 2
"""Connections before a pause: so a process can take 2,000 a second, more than it could answer."""


@final
class Sharing:
    """Takes connections in turn with others, where there are others, and while there are descriptors for them.

    All processes are woken by a connection, and the first to run would take a whole burst: of 32 clients that connected
    at once, one of two processes got every one. Who pauses after some leaves the next to whoever is awake. That costs a
    burst a millisecond for every two connections of each process, and a lone connection nothing.
    """

    def __init__(self, descriptors: Descriptors, *, others: bool) -> None:
        self._descriptors = descriptors
        self._others = others
        self._next = 0.0

    def at_once(self, alone: int) -> int:
        """Connections to take in one go; `alone` without others."""
        return AT_ONCE if self._others else alone

    def took(self, number: int) -> bool:
        """A connection with this descriptor has been taken; gives whether the next may be taken at once."""
        if self._others:
            self._next = trio.current_time() + PAUSE
        self._descriptors.took(number)
        return not self._descriptors.short

    async def wait_room(self, listening: int) -> None:
        """Wait until there is room for another one: readiness tells of it, whether somebody comes or not."""
        if self._descriptors.short:
            await self._descriptors.wait_room(listening)

    async def wait_turn(self, listening: int) -> None:
        """Wait until it is fair to take another one from the socket with this descriptor, and there is room for it."""
        await self.wait_room(listening)
        if self._others:
            await trio.sleep_until(self._next)


@final
class TurnsListener(trio.abc.Listener[TakenStream]):
    """A listener that leaves others their share. On its streams a client may take nothing for `write_stall` seconds."""

    def __init__(self, listener: trio.SocketListener, sharing: Sharing, write_stall: float) -> None:
        self._listener = listener
        self._sharing = sharing
        self._write_stall = write_stall

    async def accept(self) -> TakenStream:
        """The next connection. Waits for it, and for our turn."""
        await self._sharing.wait_turn(self._listener.socket.fileno())
        stream = await self._listener.accept()
        self._sharing.took(stream.socket.fileno())
        return TakenStream(stream, self._write_stall)

    async def aclose(self) -> None:
        """Close the socket."""
        await self._listener.aclose()
