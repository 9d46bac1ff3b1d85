"""What clients' connections leave to everything else that needs a descriptor: upstreams, the store, files (A5).

A new descriptor gets the lowest number that is free (POSIX, File Descriptor Allocation). So once a client's connection
has got one from the middle on, no more are taken until a lower one is free again: the upper half is out of clients'
reach whatever they do, and there is one for an upstream's connection for each of theirs.
"""

import os
import resource
from logging import Logger
from typing import final

import trio

PAUSE = 0.1
"""Seconds between two looks for room; the system's queue holds who comes meanwhile."""

QUIET = 60.0
"""Seconds between two log lines about the same thing, which clients can cause at will (I9)."""


@final
class Descriptors:
    """Whether there is room for another connection of a client.

    Attributes:
        short: there is none.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._next = float("-inf")
        self.short = False

    def took(self, number: int) -> None:
        """A connection of a client has been given this descriptor."""
        if number >= _middle():
            self.short = True
            self._tell()

    async def wait_room(self, listening: int) -> None:
        """Wait until there is room again; `listening` is a descriptor that is open."""
        while self.short:
            await trio.sleep(PAUSE)
            self.short = _lowest_free(listening) >= _middle()

    def _tell(self) -> None:
        now = trio.current_time()
        if now >= self._next:
            self._next = now + QUIET
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            text = "clients' connections have half of the %d descriptors, which are all there may be: others wait"
            self._log.warning(text, limit)


def _middle() -> float:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if limit == resource.RLIM_INFINITY else limit / 2


def _lowest_free(listening: int) -> float:
    try:
        number = os.dup(listening)
    except OSError:
        return float("inf")
    os.close(number)
    return number
