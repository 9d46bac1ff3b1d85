"""One accepted connection: bytes in, bytes out, and the ways to end it.

Plain sockets are used directly: Trio waits until one is readable, the rest are system calls. A test server that
outruns the gateway it tests (and a benchmark) needs no more, and a reset needs the socket itself.
"""

import errno
import socket
import ssl
import struct
from typing import Protocol, final

import trio

from turnout_upstream._script import How

RECEIVE = 65536
LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close() sends RST (POSIX; `man 7 socket`)."""
WOULD_BLOCK = {errno.EAGAIN, errno.EWOULDBLOCK}


class PeerReset(Exception):
    """The peer reset the connection, or closed it while we were sending."""


class Wire(Protocol):
    """An accepted connection."""

    async def receive(self) -> bytes:
        """Bytes that arrived, empty when the peer closed; raises PeerReset."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of it; raises PeerReset."""
        ...

    async def end(self, how: How) -> None:
        """End our side: RESET, CLOSE or HALF_CLOSE."""
        ...

    def close(self) -> None:
        """Let go of the socket, at once."""
        ...


@final
class PlainWire:
    """A plain TCP connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def receive(self) -> bytes:
        """Bytes that arrived, empty when the peer closed; raises PeerReset."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(RECEIVE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerReset from error

    async def send(self, data: bytes) -> None:
        """Send all of it, usually without waiting; raises PeerReset."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError as error:
                raise PeerReset from error

    async def end(self, how: How) -> None:
        """End our side: RESET, CLOSE or HALF_CLOSE; does not wait."""
        try:
            if how is How.RESET:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                self._sock.close()
            else:
                # First FIN, and what is unread thrown away: close() with unread bytes would send RST
                self._sock.shutdown(socket.SHUT_WR)
                if how is How.CLOSE:
                    self._drain()
        except OSError as error:
            raise PeerReset from error

    def _drain(self) -> None:
        try:
            while self._sock.recv(RECEIVE):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Let go of the socket, at once."""
        self._sock.close()


@final
class TlsWire:
    """A TLS connection over a plain one."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._tls = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(sock)), context, server_side=True, https_compatible=True
        )

    async def receive(self) -> bytes:
        """Bytes that arrived, empty when the peer closed; raises PeerReset."""
        try:
            return bytes(await self._tls.receive_some(RECEIVE))
        except trio.BrokenResourceError as error:
            raise PeerReset from error

    async def send(self, data: bytes) -> None:
        """Send all of it; raises PeerReset."""
        try:
            await self._tls.send_all(data)
        except trio.BrokenResourceError as error:
            raise PeerReset from error

    async def end(self, how: How) -> None:
        """End our side without a `close_notify`: RESET, CLOSE or HALF_CLOSE."""
        if how is How.RESET:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        elif how is How.HALF_CLOSE:
            self._sock.shutdown(socket.SHUT_WR)
            return
        self.close()

    def close(self) -> None:
        """Let go of the socket, at once."""
        transport = self._tls.transport_stream
        if isinstance(transport, trio.SocketStream):
            transport.socket.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError when the port is taken."""
    sock = socket.create_server((host, port), backlog=4096, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setblocking(False)
    return sock


async def accept(listener: socket.socket) -> socket.socket:
    """The next connection, without delay for small segments."""
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in WOULD_BLOCK | {errno.ECONNABORTED}:
                continue
            raise
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
