"""One connection: a request goes out, a reply comes in, again and again while both sides keep it sound."""

from collections.abc import AsyncIterable, Coroutine
from typing import Any

import httpx
import trio

from turnout_sockets import Readers
from turnout_transport._dial import Wire
from turnout_transport._failures import failure
from turnout_transport._intakes import AskedIntake, Intake, WatchedIntake
from turnout_transport._replies import ReplyParser
from turnout_transport._requests import Message
from turnout_transport._sockets import SocketStream

SMALL = 16 * 1024
"""Bytes that are sent before anything is read. A peer may answer early and read no further (B31): the reply to a
larger request is awaited beside sending it, unless the kernel takes all of it at once."""

PIECE = 256 * 1024
"""Bytes that are handed to a stream at once."""

COPIED = 64 * 1024
"""Bytes of a body up to which one copy beside the head is cheaper than a second system call."""


class Connection:
    """An open connection to an origin, used by one exchange at a time.

    Attributes:
        idle_since: Trio's clock, when it was last put back.
        intake: where its replies come in.
        reply: what has been read of the current reply.
    """

    __slots__ = (
        "_closed",
        "_send_failure",
        "_sent",
        "_socket",
        "_stream",
        "_unsent",
        "_wire",
        "idle_since",
        "intake",
        "reply",
    )

    def __init__(self, wire: Wire, reply: ReplyParser, readers: Readers) -> None:
        self._wire = wire
        self._stream = wire.stream
        self._socket = wire.stream if isinstance(wire.stream, SocketStream) else None
        self._closed = False
        self._sent = False
        self._unsent = False
        self._send_failure: Exception | None = None
        self.reply = reply
        self.intake: Intake
        if self._socket is not None and readers.open:
            self.intake = WatchedIntake(reply, self._socket, readers)
        else:
            self.intake = AskedIntake(reply, wire.stream)
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: all was sent, all was read, nothing came besides."""
        return self.reply.complete and self.reply.keep_alive and not self._unsent

    def is_stale(self) -> bool:
        """Whether something came while it lay idle: an end, an error, or bytes that nobody asked for.

        Also where the intake would have told: the reader may not have had its turn yet.
        """
        return self._wire.is_readable()

    def close(self) -> None:
        """Close at once, whatever state it is in; does not wait, may be called twice."""
        if not self._closed:
            self._closed = True
            self.intake.close()
            self._wire.raw.close()

    def exchange(self, message: Message) -> Coroutine[Any, Any, None]:
        """Send a request, and wait for the head of its reply; the waiting raises httpx's transport errors.

        Cancelled or failed, the connection is only good for closing. What the system takes at once needs no coroutine.
        """
        self._sent = False
        self._unsent = True
        self._send_failure = None
        self.intake.start(bodiless=message.bodiless_reply)
        if not isinstance(message.body, bytes):
            return self._send_beside_reading(message.head, message.body)
        if self._socket is None:
            data = message.head + message.body
            return self._send_then_read(data) if len(data) <= SMALL else self._send_beside_reading(data)
        rest = self._send_at_once(self._socket, message.head, message.body)
        if rest:
            return self._send_beside_reading(rest)
        self._unsent = self._send_failure is not None
        return self._read_head() if self._unsent else self.intake.read_head()

    def _send_at_once(self, to: SocketStream, head: bytes, body: bytes) -> bytes | memoryview:
        """Hand over what fits without waiting, and give the rest. After a failure there is none."""
        try:
            if len(body) > COPIED:
                count = to.send_parts_nowait((head, body))
                self._sent = count > 0
                return memoryview(body)[count - len(head) :] if count >= len(head) else (head + body)[count:]
            data = head + body
            count = to.send_nowait(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._send_failure = exc
            return b""
        self._sent = count > 0
        return memoryview(data)[count:] if count < len(data) else b""

    async def _send(self, data: bytes | memoryview) -> None:
        self._sent = True  # whatever happens from here on, some of it may arrive
        view = memoryview(data)
        try:
            # TLS encrypts what it is given in one go: 32 MB held up every other task for up to a second.
            for start in range(0, len(view), PIECE):
                await self._stream.send_all(view[start : start + PIECE])
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._send_failure = exc

    async def _send_then_read(self, data: bytes) -> None:
        await self._send(data)
        self._unsent = self._send_failure is not None
        await self._read_head()

    async def _send_beside_reading(self, rest: bytes | memoryview, pieces: AsyncIterable[bytes] | None = None) -> None:
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                nonlocal failed
                try:
                    await self._upload(rest, pieces)
                except Exception as exc:  # noqa: BLE001  # the caller's own stream may raise anything: raised below
                    failed = exc
                    nursery.cancel_scope.cancel()

            nursery.start_soon(upload)
            try:
                await self._read_head()
            except httpx.TransportError as exc:
                failed = exc
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _upload(self, rest: bytes | memoryview, pieces: AsyncIterable[bytes] | None) -> None:
        await self._send(rest)
        if pieces is not None:
            async for piece in pieces:
                if self._send_failure is not None:
                    break
                await self._send(piece)
        self._unsent = self._send_failure is not None

    async def _read_head(self) -> None:
        # Also after a failure to send: a peer that refuses an upload answers, closes, and has its reason in its reply.
        try:
            await self.intake.read_head()
        except httpx.TransportError:
            if self._send_failure is None or self.reply.answered:
                raise
            text = "the upstream closed while the request was sent"
            raise failure(httpx.WriteError, text, sent=self._sent) from self._send_failure
