"""One websocket, from the upgrade on: whole text messages in, text messages out (RFC 6455, by wsproto).

The connection carries frames as the pieces of an endless body, in both directions, once `101` has been sent: limits on
writing and the notice of a client that left are the server's, the same as for every request. Compression is not
agreed to, so a message is never larger than what was sent.
"""

from collections.abc import Iterator
from typing import final

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token

from turnout_http._framing import Head
from turnout_http._keys import subprotocol
from turnout_http._patience import Patience
from turnout_http._visit import Receive, Send

AT_ONCE = 4096
"""Bytes that are parsed before others get their turn: a frame may have six, and costs 20 µs."""

CRUMB = 128
"""Bytes of content below which a frame uses up some of the client's patience, as pings and pongs do. Clients that cut
their messages cut them into kilobytes, and a message that is whole and smaller asks for nothing."""


class SocketEnded(Exception):
    """Nothing more comes: the client left or closed, or broke the protocol. `code` is what to close with, if at all."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__()
        self.code = code


@final
class Socket:
    """A websocket. One task may read while others send.

    Attributes:
        began: when the message that is arriving began, on Trio's clock; None between messages.
    """

    def __init__(self, receive: Receive, send: Send, *, largest: int) -> None:
        self._receive = receive
        self._send = send
        self._largest = largest
        self._frames = Connection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._patience = Patience()
        self._unparsed = memoryview(b"")
        self._pieces: list[str] = []
        self._size = 0
        self._frame_size = 0
        self.began: float | None = None

    async def accept(self, head: Head) -> None:
        """Answer the opening, which `is_websocket` has found sound."""
        headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-accept", generate_accept_token(head[b"sec-websocket-key"].strip())),
        ]
        if chosen := subprotocol(head.get(b"sec-websocket-protocol", b"")):
            headers.append((b"sec-websocket-protocol", chosen))
        await self._send({"type": "http.response.start", "status": 101, "headers": headers})

    async def read(self) -> list[bytes]:
        """The messages that the next bytes complete; waits for bytes, and answers pings. Raises SocketEnded."""
        if not self._unparsed:
            self._unparsed = memoryview(await self._more())
        await trio.lowlevel.checkpoint()
        data, self._unparsed = self._unparsed[:AT_ONCE], self._unparsed[AT_ONCE:]
        self._frames.receive_data(bytes(data))
        whole: list[bytes] = []
        for event in self._frames.events():
            if isinstance(event, TextMessage):
                whole += self._add(event)
            elif isinstance(event, BytesMessage):
                raise SocketEnded(CloseReason.UNSUPPORTED_DATA)
            elif isinstance(event, CloseConnection):
                raise SocketEnded(event.code)
            elif isinstance(event, Ping | Pong):
                await self._take_control(event)
        if self._patience.is_over(trio.current_time()):
            raise SocketEnded(CloseReason.POLICY_VIOLATION)
        return whole

    async def _more(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise SocketEnded
        body: bytes = message.get("body", b"")
        return body

    async def _take_control(self, event: Ping | Pong) -> None:
        self._patience.spend(1)
        if isinstance(event, Ping):
            await self._emit(event.response())

    def bore(self) -> None:
        """A message has led nowhere, as a small frame does: too many of them end the socket."""
        self._patience.spend(1)

    def _add(self, piece: TextMessage) -> Iterator[bytes]:
        if self.began is None:
            self.began = trio.current_time()
        self._size += len(piece.data)  # characters: the bytes are counted once they are together
        self._frame_size += len(piece.data)
        if piece.frame_finished:
            self._patience.spend(self._frame_size < CRUMB)
            self._frame_size = 0
        if piece.data:  # fragments without content would pile up for ever
            self._pieces.append(piece.data)
        if self._size > self._largest:
            raise SocketEnded(CloseReason.MESSAGE_TOO_BIG)
        if piece.message_finished:
            text, self._pieces, self._size, self.began = "".join(self._pieces), [], 0, None
            message = text.encode()
            if len(message) > self._largest:
                raise SocketEnded(CloseReason.MESSAGE_TOO_BIG)
            yield message

    async def send(self, message: bytes) -> None:
        """Send a text; waits while the client does not read. What is no UTF-8 is replaced, for a text must be."""
        await self._emit(TextMessage(message.decode(errors="replace")))

    async def ping(self) -> None:
        """Send a ping; whether it is answered is the client's affair."""
        await self._emit(Ping())

    async def close(self, code: int | None = None) -> None:
        """Send the closing frame, unless one was sent."""
        await self._emit(CloseConnection(code=CloseReason.NO_STATUS_RCVD if code is None else code))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _emit(self, event: Event) -> None:
        async with self._sending:
            if self._frames.state is ConnectionState.OPEN or (
                isinstance(event, CloseConnection) and self._frames.state is ConnectionState.REMOTE_CLOSING
            ):
                frame = self._frames.send(event)
                await self._send({"type": "http.response.body", "body": bytes(frame), "more_body": True})
