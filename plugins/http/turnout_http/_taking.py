"""Whether a client takes what we send, however slowly (C-3, C-4).

A socket is writable again only when a good part of its queue, which may hold megabytes, is free: on a slow line that
can take minutes. So what counts is what the client's side has acknowledged.
"""

import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, final

import trio

T = TypeVar("T")

_BYTES_ACKED = struct.Struct("=120xQ")
"""Where the count stands in `struct tcp_info` (linux/tcp.h, since Linux 4.1)."""


def acknowledged(sock: socket.socket | trio.socket.SocketType) -> int | None:
    """Bytes that the other side of a TCP connection has taken so far; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    except OSError:  # no TCP, or closed already
        return None
    count: int = _BYTES_ACKED.unpack(told)[0]
    return count


async def while_taking(wait: Callable[[], Awaitable[T]], taken: Callable[[], int | None], limit: float) -> T:
    """Wait as long as the client goes on taking something, and give what `wait` gives.

    `wait` is called anew, after a cancellation, as often as needed. Raises TooSlowError when nothing has been taken for
    `limit` seconds, or `taken` cannot tell.
    """
    before = taken()
    while True:
        with trio.move_on_after(limit):
            return await wait()
        now = taken()
        if now is None or now == before:
            raise trio.TooSlowError
        before = now


@final
class TakenStream(trio.abc.HalfCloseableStream):
    """A client's connection, on which sending fails with TooSlowError once nothing has been taken for a while.

    Attributes:
        socket: that it is.
    """

    def __init__(self, stream: trio.SocketStream, write_stall: float) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._taken = partial(acknowledged, stream.socket)
        self._write_stall = write_stall

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`; raises TooSlowError besides."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[await while_taking(partial(self.socket.send, rest), self._taken, self._write_stall) :]
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream`."""
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()
