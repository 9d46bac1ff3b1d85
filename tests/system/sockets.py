"""A websocket client on Trio by wsproto, as polite or rude as a test wants it."""

import base64
import json
import secrets
from typing import Any

import attrs
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong, TextMessage

PATIENCE = 20.0


def opening(key: str, *, path: str = "/v1/responses", more: bytes = b"", nonce: str = "") -> bytes:
    """The request that opens a websocket; `more` are further header lines."""
    nonce = nonce or base64.b64encode(secrets.token_bytes(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\n"
    )
    bearer = f"Authorization: Bearer {key}\r\n" if key else ""
    return (lines + bearer).encode() + more + b"\r\n"


def create(model: str = "fast", **members: Any) -> str:
    """A message that asks for a response."""
    return json.dumps({"type": "response.create", "model": model, "input": "hi"} | members)


@attrs.define
class Client:
    """An open websocket. Pings are answered only while it reads.

    Attributes:
        head: the head of the answer to the opening.
        closed: the code with which the server closed; None while it did not.
    """

    stream: trio.SocketStream
    frames: Connection = attrs.field(factory=lambda: Connection(ConnectionType.CLIENT))
    head: bytes = b""
    closed: int | None = None
    pings: int = 0
    _texts: list[str] = attrs.field(factory=list)
    _partial: str = ""

    async def open(self, request: bytes) -> "Client":
        """Ask for the upgrade and fail unless it is granted."""
        await self.stream.send_all(request)
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self.head:
                piece = await self.stream.receive_some()
                assert piece, f"the connection ended after {self.head!r}"
                self.head += piece
        self.head, _, rest = self.head.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head
        self.frames.receive_data(rest)
        return self

    async def emit(self, event: Event) -> None:
        """Send any event."""
        await self.stream.send_all(self.frames.send(event))

    async def ask(self, text: str) -> None:
        """Send a text."""
        await self.emit(TextMessage(text))

    async def next(self) -> Any:
        """The next text as JSON; None once the server has closed or the connection has ended."""
        with trio.fail_after(PATIENCE):
            while not self._texts:
                if not await self._read():
                    return None
        return json.loads(self._texts.pop(0))

    async def until(self, kind: str) -> list[Any]:
        """The events up to the first of this type."""
        events = [await self.next()]
        while events[-1]["type"] != kind:
            events.append(await self.next())
        return events

    async def _read(self) -> bool:
        """Take in one event or some bytes; whether more may come."""
        for event in self.frames.events():
            await self._take(event)
            return self.closed is None
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.frames.receive_data(bytes(data))
        return bool(data)

    async def _take(self, event: Event) -> None:
        if isinstance(event, CloseConnection):
            self.closed = event.code
        elif isinstance(event, Ping):
            self.pings += 1
            await self.emit(event.response())
        elif isinstance(event, Pong):
            self._texts.append('{"type":"pong"}')
        elif isinstance(event, Message):
            self._partial += event.data
            if event.message_finished:
                self._texts.append(self._partial)
                self._partial = ""
