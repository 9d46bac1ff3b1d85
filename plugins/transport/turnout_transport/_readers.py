"""Who reads what upstreams send: one task for all plain connections of a transport.

A connection that waits by itself until its socket is readable costs a system call, ten calls of Trio's and 3 KiB for
every event of every stream. Here an epoll of our own (what `selectors` has on other systems) knows each socket for as
long as it is open, idle or not; one task waits for it and has whatever is readable taken at once.
"""

import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import trio

AT_ONCE = 64
"""Sockets that are read before other tasks get their turn; 256 KiB of a body from each take 10 ms."""


@final
class Readers:
    """Sockets that are read from, each with what to do when there is something.

    Attributes:
        open: sockets may be added; only inside of `opened`.
    """

    __slots__ = ("_selector", "open")

    def __init__(self) -> None:
        self._selector: selectors.DefaultSelector
        self.open = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """As long as the block runs there is an epoll; `run` belongs into it."""
        with selectors.DefaultSelector() as selector:
            self._selector = selector
            self.open = True
            try:
                yield
            finally:
                self.open = False

    def add(self, fd: int, arrived: Callable[[], None]) -> None:
        """Call `arrived` whenever this socket is readable, or at its end, until it is removed. It must raise nothing.

        It may be called once more after the removal, when both were found in one look.
        """
        self._selector.register(fd, selectors.EVENT_READ, arrived)

    def remove(self, fd: int) -> None:
        """Read no more from this socket, which was added and is still open."""
        if self.open:
            self._selector.unregister(fd)

    async def run(self) -> None:
        """Have taken whatever is readable, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            for number, (key, _) in enumerate(self._selector.select(0), 1):
                if number % AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
                key.data()
