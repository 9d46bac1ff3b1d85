"""The connections to one origin: who may have one, which are idle, and what becomes of them afterwards.

Nothing here runs in the background, and only dialling waits: taking, giving back and closing are synchronous, so no
cancellation can come in their middle.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import final

import attrs
import httpx
import trio

from turnout_sockets import Burst, Readers
from turnout_transport._connections import Connection
from turnout_transport._dial import Dialer
from turnout_transport._failures import failure
from turnout_transport._limiters import Places
from turnout_transport._origins import Origin, is_local
from turnout_transport._proxies import Proxy
from turnout_transport._replies import ReplyParser
from turnout_transport._resends import Resends


@final
@attrs.frozen(kw_only=True)
class OriginStatistics:
    """What goes on at one origin, through one proxy.

    Attributes:
        origin: `scheme://host:port`.
        open: connections that exist; `idle` of them wait for a request.
        in_use: places taken, by exchanges that have a connection or are about to get one.
        waiting: requests that wait for a place at this origin.
        connects, reuses, resends: counted since the start.
    """

    origin: str
    open: int
    idle: int
    in_use: int
    waiting: int
    connects: int
    reuses: int
    resends: int


@attrs.frozen(kw_only=True)
class Terms:
    """What every connection of a transport has in common; the settings, as this room needs them.

    Attributes:
        max_wait: seconds to wait for a place.
    """

    burst: Burst
    dialer: Dialer
    places: int
    max_wait: float
    max_header_bytes: int
    max_header_fields: int
    readers: Readers


class IdleShelf:
    """Every idle connection of a transport, oldest first, so that whoever passes can throw out what is too old."""

    def __init__(self, keepalive: float) -> None:
        self._keepalive = keepalive
        self._time: Callable[[], float] = trio.lowlevel.current_clock().current_time  # a third of `trio.current_time()`
        self._owners: OrderedDict[Connection, OriginPool] = OrderedDict()

    def put(self, connection: Connection, owner: "OriginPool") -> None:
        """Keep a connection from now on."""
        connection.idle_since = self._time()
        self._owners[connection] = owner

    def take(self, connection: Connection) -> None:
        """It is not idle any more."""
        del self._owners[connection]

    def expire(self) -> None:
        """Close what has been idle for too long: O(1) for each that goes."""
        horizon = self._time() - self._keepalive
        while self._owners:
            connection = next(iter(self._owners))
            if connection.idle_since > horizon:
                break
            self._owners[connection].discard(connection)


class OriginPool:
    """Connections to one origin through one proxy.

    A place is the right to one connection in use. Idle ones hold none, and a new one is made only when none is idle,
    so there are never more connections than places.

    Attributes:
        burst: that requests to this origin may be part of; None for one on another host.
    """

    def __init__(self, origin: Origin, proxy: Proxy | None, terms: Terms, shelf: IdleShelf) -> None:
        self.origin = origin
        self.burst = terms.burst if proxy is None and is_local(origin.host) else None
        self.terms = terms
        self.places = Places(terms.places)
        self._proxy = proxy
        self._shelf = shelf
        self._idle: dict[Connection, None] = {}
        self._open: set[Connection] = set()
        self._connects = self._reuses = self._resends = 0
        self._trust = Resends()
        self._closed = False

    def take_idle(self) -> Connection | None:
        """The connection that was put back last, if it is still sound; O(1) for each that is not.

        None for an origin whose kept connections keep dying: its requests go out on new ones for a while.
        """
        self._shelf.expire()
        while self._idle:
            connection, _ = self._idle.popitem()
            self._shelf.take(connection)
            if self._trust.allowed and not connection.is_stale():
                self._reuses += 1
                return connection
            self._close(connection)
        return None

    async def connect(self) -> Connection:
        """A new connection; raises ConnectError or ConnectTimeout."""
        self._refuse_if_closed()
        terms = self.terms
        wire = await terms.dialer.dial(self.origin, self._proxy)
        if self._closed:
            wire.raw.close()
            self._refuse_if_closed()
        parser = ReplyParser(max_header_bytes=terms.max_header_bytes, max_header_fields=terms.max_header_fields)
        connection = Connection(wire, parser, terms.readers)
        connection.intake.spoilt = partial(self._discard_if_idle, connection)
        self._open.add(connection)
        self._connects += 1
        return connection

    def put_back(self, connection: Connection) -> None:
        """Take a connection from whoever used it: kept when its exchange ended soundly, closed otherwise."""
        if self._closed or not connection.reusable:
            self._close(connection)
            return
        self._trust.served()
        if not self._trust.allowed:
            self._close(connection)
        else:
            self._idle[connection] = None
            self._shelf.put(connection, self)

    def discard(self, connection: Connection) -> None:
        """Close an idle connection."""
        del self._idle[connection]
        self._shelf.take(connection)
        self._close(connection)

    def _discard_if_idle(self, connection: Connection) -> None:
        if connection in self._idle:  # otherwise whoever uses it finds out
            self.discard(connection)

    def note_resend(self) -> None:
        """Count a request that is sent again."""
        self._resends += 1
        self._trust.resent()

    def close(self) -> None:
        """Close every connection, those in use too; no new one is made any more. Does not wait."""
        self._closed = True
        for connection in list(self._idle):
            self.discard(connection)
        for connection in list(self._open):
            self._close(connection)

    def statistics(self) -> OriginStatistics:
        """What goes on right now."""
        return OriginStatistics(
            origin=str(self.origin),
            open=len(self._open),
            idle=len(self._idle),
            in_use=self.places.taken,
            waiting=self.places.waiting,
            connects=self._connects,
            reuses=self._reuses,
            resends=self._resends,
        )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise failure(httpx.ConnectError, "this transport is closed", sent=False)

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()
