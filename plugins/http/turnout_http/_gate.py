"""How many connections may be open, in all and per address, and who makes room when all are (section 4, A4)."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Protocol, TypeVar, final

from turnout_http._settings import ClientLimits


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether a client with this address is on our host."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Idles(Protocol):
    """A connection that may be idle.

    Attributes:
        idle: no request of it is being served.
        due: when it ends by itself if it stays so, on Trio's clock.
    """

    @property
    def idle(self) -> bool: ...
    @property
    def due(self) -> float: ...
    def close_if_idle(self) -> None: ...


Open = TypeVar("Open", bound=Idles)


def make_room(connections: set[Open]) -> bool:
    """End the idle connection that is due next, if there is one: who only connects keeps nobody out."""
    idle = [each for each in connections if each.idle]
    if not idle:
        return False
    next_due = min(idle, key=lambda each: each.due)
    connections.discard(next_due)
    next_due.close_if_idle()
    return True


@final
class Gate:
    """Counts open connections. `make_room` is called when all places are taken, and says whether it ends one."""

    def __init__(self, limits: ClientLimits, make_room: Callable[[], bool]) -> None:
        self._limits = limits
        self._make_room = make_room
        self._by_address: Counter[str] = Counter()
        self.open = 0

    @contextmanager
    def hold(self, address: str) -> Iterator[bool]:
        """Whether one more connection of this address may stay; while inside it is counted."""
        counted = "" if is_loopback(address) else address
        if counted and self._by_address[counted] >= self._limits.per_address:
            yield False
            return
        if self.open >= self._limits.connections and not self._make_room():
            yield False
            return
        self.open += 1
        if counted:
            self._by_address[counted] += 1
        try:
            yield True
        finally:
            self.open -= 1
            if counted:
                self._by_address[counted] -= 1
                if not self._by_address[counted]:
                    del self._by_address[counted]
