"""Who reads what clients send: one task for all connections of a server.

A task for each connection that waits until its socket is readable costs a pass of the scheduler and a system call for
every request, and 3 KiB for every open stream. Here an epoll of our own (what `selectors` has on other systems) knows
every socket as long as it is read from; one task waits for it, and hands out what is readable.
"""

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Self, final

import trio

AT_ONCE = 64
"""Sockets that are read before other tasks get their turn; 256 KiB of a body from each take 10 ms."""


@final
class Readers:
    """Sockets that are read from, each with what to do when there is something. A context manager: an epoll is open."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    def add(self, sock: socket.socket, take: Callable[[], None]) -> None:
        """Call `take` whenever this socket is readable, or at its end, until it is removed. It must raise nothing.

        It may be called once more after the removal, when both were found in one look.
        """
        self._selector.register(sock, selectors.EVENT_READ, take)

    def remove(self, sock: socket.socket) -> None:
        """Read no more from this socket, which is still open; may be called twice."""
        with suppress(KeyError):
            self._selector.unregister(sock)

    async def run(self) -> None:
        """Hand out what is readable, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            for number, (key, _) in enumerate(self._selector.select(0), 1):
                if number % AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
                key.data()
