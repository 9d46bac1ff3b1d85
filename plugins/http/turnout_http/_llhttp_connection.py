"""One connection of our own server: a task that answers, and what the server's reader calls when there is something.

What is read becomes requests, which are answered one after another; whatever comes while one runs tells of a client
that left or that sends ahead of its turn. Nothing here waits under a shield, and every wait ends with the connection's
scope.
"""

import math
import socket
from typing import final

import trio

from turnout import LastingScope
from turnout_http._gate import is_loopback, unmapped
from turnout_http._llhttp_exchange import Exchange
from turnout_http._llhttp_outlet import Outlet
from turnout_http._llhttp_requests import Requests
from turnout_http._llhttp_shared import Shared
from turnout_http._server import Asgi
from turnout_http._silence import LOOK, PROBE, was_reset
from turnout_http._visit import LASTING

LINGER = 1.0
"""Seconds in which unread bytes of a client are still taken after the last answer: closing over them would reset the
connection, and the client would lose the answer."""


@final
class Connection:
    """A connection.

    Attributes:
        due: when the connection ends unless something happens before, on Trio's clock.
    """

    __slots__ = (
        "_app",
        "_fault",
        "_lasting",
        "_nursery",
        "_requests",
        "_scope",
        "_shared",
        "_sock",
        "_task",
        "_waiting",
        "due",
    )

    def __init__(self, app: Asgi, sock: socket.socket, peer: tuple[str, int], shared: Shared) -> None:
        self._app = app
        self._sock = sock
        self._shared = shared
        self._scope = trio.CancelScope()
        self._lasting = LastingScope()
        common = {"client": peer, "server": unmapped(sock.getsockname()), LASTING: self._lasting}
        out = Outlet(sock, shared.limits, self._scope, shared.burst if is_loopback(peer[0]) else None)
        self._requests = Requests(out, shared, self._begin, common)
        self._task: trio.lowlevel.Task
        self._waiting = False
        self._fault: Exception | None = None
        self._nursery: trio.Nursery
        self.due = trio.current_time() + shared.limits.header_timeout

    async def run(self) -> None:
        """Serve the connection to its end."""
        readers = self._shared.readers
        self._task = trio.lowlevel.current_task()
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    readers.add(self._sock.fileno(), self._take)
                    try:
                        with self._lasting:
                            await self._answer_requests()
                        await trio.sleep_forever()  # until the client has gone too, or `due`
                    finally:
                        readers.remove(self._sock.fileno())
        finally:
            self._requests.close()
        if self._fault is not None:
            raise self._fault

    @property
    def idle(self) -> bool:
        """No request is being served."""
        return self._requests.current is None

    def close_if_idle(self) -> None:
        """Close now, unless a request is being served: its end will then close it."""
        if self.idle:
            self._scope.cancel()

    def expire(self) -> None:
        """Its time is over: a head that did not come, an idle connection, or the last unread bytes."""
        self._scope.cancel()

    # Reading

    def _head_due(self) -> float:
        """When a head that has begun now must have come."""
        return trio.current_time() + self._shared.limits.header_timeout

    def _take(self) -> None:
        """Take what has come. A fault of ours ends this connection, never the reader."""
        try:
            try:
                count = self._sock.recv_into(self._shared.view)
            except BlockingIOError:
                return
            except OSError:
                self._scope.cancel()
                return
            if not self._requests.has_come_again(count):
                self._read(count)
        except Exception as error:  # noqa: BLE001  # raised in the connection's own task
            self._fault = error
            self._scope.cancel()

    def _read(self, count: int) -> None:
        requests = self._requests
        if not count:
            self._shared.readers.remove(self._sock.fileno())
            self._nursery.start_soon(self._after_end_of_file)
            return
        if requests.ahead:
            return
        data = self._shared.view[:count]
        if requests.current is not None and requests.current.upgraded:
            requests.current.add(bytes(data))
        elif requests.feed(data):  # a head that comes whole, as nearly all do, needs no limit
            self.due = self._head_due()
        if requests.refused:
            self._refuse(requests.refused)
        if requests.current is not None and requests.current.full:
            self._shared.readers.remove(self._sock.fileno())
            self._nursery.start_soon(self._after_it_was_read, requests.current)

    async def _after_it_was_read(self, exchange: Exchange) -> None:
        """Read on once the application has taken what has come of a body, or wants no more of it."""
        while exchange.full and not exchange.over:
            await exchange.wait_changed()
        if not self._nursery.cancel_scope.cancel_called:  # otherwise the connection has ended meanwhile
            self._shared.readers.add(self._sock.fileno(), self._take)

    def _refuse(self, answer: bytes) -> None:
        """Answer what never became a request. An idle connection's buffer takes these few bytes at once."""
        self._requests.ahead = True
        try:
            self._sock.send(answer)
        except OSError:
            self._scope.cancel()
        self._hang_up()

    async def _after_end_of_file(self) -> None:
        """The client sends no more: end the connection, and whatever it was being served."""
        await self._wait_for_the_last_answer()
        self._scope.cancel()

    async def _wait_for_the_last_answer(self) -> None:
        """A whole request is still answered for a while, if anybody is there (C-5)."""
        exchange = self._requests.current
        if exchange is None or exchange.upgraded:
            return
        if not exchange.complete:
            exchange.break_off()
            await exchange.wait_over()
            return
        if not exchange.begun and exchange.scope["http_version"] == "1.1":
            try:
                self._sock.send(PROBE)
            except OSError:
                return
        until = trio.current_time() + self._shared.limits.half_close
        while not exchange.over and trio.current_time() < until and not was_reset(self._sock):
            with trio.move_on_after(LOOK):
                await exchange.wait_over()

    # Answering

    def _begin(self, _request: Exchange) -> None:
        """Have the request answered. It wakes the task as `trio.Event` does, without making one each time."""
        self.due = math.inf
        if self._waiting:
            self._waiting = False
            trio.lowlevel.reschedule(self._task)

    def _wait_no_more(self, _raise: object) -> trio.lowlevel.Abort:
        self._waiting = False
        return trio.lowlevel.Abort.SUCCEEDED

    async def _answer_requests(self) -> None:
        requests, readers = self._requests, self._shared.readers
        fd = self._sock.fileno()
        while True:
            while (exchange := requests.current) is None:
                if readers.alone(fd):
                    await self._read_alone(fd)
                else:
                    self._waiting = True
                    await trio.lowlevel.wait_task_rescheduled(self._wait_no_more)
            exchange.offer()
            readers.busy += 1
            try:
                await self._app(exchange.scope, exchange.receive, exchange.send)
            finally:
                readers.busy -= 1
            exchange.finish()
            if requests.current is exchange:  # a quick client's next request may be here already
                requests.current = None
                self.due = self._head_due() if requests.head_begun else self._shared.idle_until
            if not (exchange.ended and exchange.keep) or requests.ahead or self._shared.closing:
                requests.ahead = True
                self._hang_up()
                return

    async def _read_alone(self, fd: int) -> None:
        """Wait for more by itself: nobody else has been served lately (see `Readers`)."""
        readers = self._shared.readers
        readers.pause(fd)
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            readers.resume(fd)
        self._take()

    def _hang_up(self) -> None:
        """Say that no more comes; the reader takes what is still on its way (see LINGER)."""
        self.due = trio.current_time() + LINGER
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._scope.cancel()
