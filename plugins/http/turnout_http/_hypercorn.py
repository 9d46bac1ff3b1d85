"""hypercorn as the server, for TLS: our own listening and closing around its connections."""

import ssl
from collections.abc import Sequence
from functools import partial
from logging import Logger
from socket import socket
from typing import final

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from turnout_http._faults import FaultLog
from turnout_http._gate import Gate, make_room, unmapped
from turnout_http._hypercorn_connection import Connection, Stream
from turnout_http._server import Asgi
from turnout_http._settings import Settings
from turnout_http._sharing import Sharing, TurnsListener
from turnout_http._taking import TakenStream
from turnout_http._tls import tls_context


@final
class Hypercorn:
    """The server."""

    def __init__(self, settings: Settings, log: Logger, sharing: Sharing) -> None:
        self._limits = settings.limits
        self._sharing = sharing
        self._tls: ssl.SSLContext | None = None
        if settings.tls_certificate:
            self._tls = tls_context(settings.tls_certificate, settings.tls_key, http2=settings.http2)
        self._faults = FaultLog(log)
        self._open: set[Connection] = set()
        self._gate = Gate(settings.limits, partial(make_room, self._open))
        self._config = Config()
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.h11_max_incomplete_size = settings.limits.header_bytes
        self._config.keep_alive_max_requests = 2**31

    async def serve(
        self,
        app: Asgi,
        sockets: Sequence[socket],
        closing: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Server.serve`."""
        context = WorkerContext(None)
        handle = partial(self._handle, app, context)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                listeners = [self._listener(sock) for sock in sockets]
                await accepting.start(partial(trio.serve_listeners, handle, listeners, handler_nursery=connections))
                task_status.started()
                await closing.wait()
                accepting.cancel_scope.cancel()
            for listener in listeners:
                await listener.aclose()
            await context.terminated.set()  # from here on no connection is used for a second request
            for connection in self._open:
                connection.close_if_idle()

    def _listener(self, sock: socket) -> "TurnsListener | trio.SSLListener[TakenStream]":
        ours = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        listener = TurnsListener(ours, self._sharing, self._limits.write_stall)
        return trio.SSLListener(listener, self._tls, https_compatible=True) if self._tls else listener

    async def _handle(self, app: Asgi, context: WorkerContext, stream: Stream) -> None:
        """One connection, whose faults end here: hypercorn lets any of them end the process (H1)."""
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        try:
            with self._gate.hold(_peer(transport.socket)) as admitted:
                if admitted:
                    connection = Connection(app, self._config, context, stream, self._limits)
                    self._open.add(connection)
                    try:
                        await connection.run()
                    finally:
                        self._open.discard(connection)
        except* Exception as group:  # noqa: BLE001  # the border of one connection
            self._faults.report("a connection failed", group)
        finally:
            await trio.aclose_forcefully(stream)


def _peer(sock: trio.socket.SocketType) -> str:
    try:
        return unmapped(sock.getpeername())[0]
    except OSError:  # it is gone already
        return ""
