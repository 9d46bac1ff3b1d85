"""How many connections may be open, in all and per address, and who makes room when all are (section 4, A4)."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar, final

from turnout_http._settings import ClientLimits

_MAPPED = "::ffff:"


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether a client with this address is on our host."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def unmapped(end: Any) -> tuple[str, int]:
    """Address and port of one end of a connection; an IPv4 address as such, which a socket on `[::]` gives in IPv6.

    `end` is what the system says: `("::ffff:192.0.2.1", port, …)` for an IPv4 address there (RFC 4291, 2.5.5.2).
    """
    host = end[0] if end else ""
    known: tuple[str, int] = (host[len(_MAPPED) :], end[1]) if host.startswith(_MAPPED) and "." in host else end[:2]
    return known


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
