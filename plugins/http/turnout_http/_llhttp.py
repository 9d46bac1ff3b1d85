"""Our own server for plain HTTP/1.1: non-blocking sockets under Trio, parsed by llhttp.

It serves a request for a small part of what a general server costs (design 15), because a connection has one task for
its whole life instead of several per request, one task reads for all of them, nothing is sent twice or copied without
need, and deadlines are a number per connection that one task looks at.
"""

import errno
import socket
import time
from collections.abc import Sequence
from functools import partial
from logging import Logger
from typing import final
from wsgiref.handlers import format_date_time

import trio

from turnout_http._faults import FaultLog
from turnout_http._gate import Gate, make_room, unmapped
from turnout_http._llhttp_connection import Connection
from turnout_http._llhttp_shared import Shared
from turnout_http._server import Asgi
from turnout_http._settings import ClientLimits, Settings
from turnout_http._sharing import Sharing
from turnout_sockets import Readers

TICK = 1.0
"""Seconds between two looks at the connections' deadlines, at most; a quarter of the shortest limit if that is less."""

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

PAUSE = 0.1
"""Seconds without accepting once descriptors have run out; the system's queue holds who comes meanwhile (A5)."""

ACCEPTED_AT_ONCE = 64


@final
class Llhttp:
    """The server."""

    def __init__(self, settings: Settings, log: Logger, sharing: Sharing) -> None:
        self._limits = settings.limits
        self._sharing = sharing
        self._faults = FaultLog(log)
        self._shared: Shared
        self._open: set[Connection] = set()
        self._gate = Gate(settings.limits, partial(make_room, self._open))

    async def serve(
        self,
        app: Asgi,
        sockets: Sequence[socket.socket],
        closing: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Server.serve`."""
        with Readers() as readers:
            self._shared = Shared(self._limits, readers)
            await self._serve_with(readers, app, sockets, closing, task_status)

    async def _serve_with(
        self,
        readers: Readers,
        app: Asgi,
        sockets: Sequence[socket.socket],
        closing: trio.Event,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as sweeping:
            sweeping.start_soon(self._sweep)
            sweeping.start_soon(readers.run)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    for listener in sockets:
                        accepting.start_soon(self._accept, app, listener, connections)
                    task_status.started()
                    await closing.wait()
                    accepting.cancel_scope.cancel()
                for listener in sockets:
                    listener.close()
                self._shared.closing = True
                for connection in list(self._open):
                    connection.close_if_idle()
            sweeping.cancel_scope.cancel()

    async def _accept(self, app: Asgi, listener: socket.socket, connections: trio.Nursery) -> None:
        while True:
            await self._sharing.wait_room(listener.fileno())
            await trio.lowlevel.wait_readable(listener)
            await self._sharing.wait_turn(listener.fileno())
            try:
                for _ in range(self._sharing.at_once(ACCEPTED_AT_ONCE)):
                    sock, peer = listener.accept()
                    sock.setblocking(False)
                    connections.start_soon(self._serve, app, sock, peer)
                    if not self._sharing.took(sock.fileno()):
                        break
            except BlockingIOError:
                continue
            except OSError as error:  # the rest are connections that broke before they were taken
                if error.errno in OUT_OF_DESCRIPTORS:
                    self._faults.report("no descriptors left for another connection", error)
                    await trio.sleep(PAUSE)

    async def _serve(self, app: Asgi, sock: socket.socket, peer: tuple[str, int]) -> None:
        """One connection, whose faults end here (A1)."""
        try:
            client = unmapped(peer)
            with sock, self._gate.hold(client[0]) as admitted:
                if admitted:
                    connection = Connection(app, sock, client, self._shared)
                    self._open.add(connection)
                    try:
                        await connection.run()
                    finally:
                        self._open.discard(connection)
        except* Exception as group:  # noqa: BLE001  # the border of one connection
            self._faults.report("a connection failed", group)

    async def _sweep(self) -> None:
        """End connections whose time is over, and keep the date that answers carry and the time.

        One task for all costs nothing per request, where a cancel scope per wait costs several microseconds.
        """
        tick = min(TICK, shortest(self._limits) / 4)
        while True:
            self._shared.date = b"date: %b\r\n" % format_date_time(time.time()).encode()
            now = trio.current_time()
            self._shared.idle_until = now + tick + self._limits.keep_alive
            for connection in list(self._open):
                if connection.due <= now:
                    connection.expire()
            await trio.sleep(tick)


def shortest(limits: ClientLimits) -> float:
    """The shortest of the limits that the sweep enforces."""
    return min(limits.header_timeout, limits.keep_alive)
