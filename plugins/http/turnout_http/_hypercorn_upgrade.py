"""A request that asks for another protocol, under hypercorn: after `101` both sides carry whatever they like."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import h11
from hypercorn.events import RawData
from hypercorn.protocol.events import EndBody, Event, Request, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import ConnectionState

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


@final
class Upgraded(HTTPStream):
    """The stream of such a request. An answer that is no `101` goes the way of every other."""

    def __init__(self, *ends: Any) -> None:
        *usual, write = ends
        super().__init__(*usual)
        self._write: Callable[[RawData], Awaitable[None]] = write
        self._switched = False

    async def begin(self, request: h11.Request) -> None:
        """Run the application for this request."""
        await self.handle(
            Request(
                stream_id=self.stream_id,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=ConnectionState({}),
            )
        )

    async def take(self, data: bytes) -> None:
        """Bytes behind the head: pieces of a body that has no end of its own."""
        if data and not self.closed:
            await self.app_put({"type": "http.request", "body": bytes(data), "more_body": True})

    async def handle(self, event: Event) -> None:
        """Take in what the protocol tells; the request's own end says nothing."""
        if not isinstance(event, EndBody):
            await super().handle(event)

    async def app_send(self, message: Any) -> None:
        """Send what the application says."""
        if self._switched:
            if message is None:
                await self.send(StreamClosed(stream_id=self.stream_id))
            elif body := message.get("body", b""):
                await self._write(RawData(data=body))
        elif message is not None and message.get("status") == 101:
            self._switched, self.state = True, ASGIHTTPState.CLOSED
            lines = b"".join(b"%b: %b\r\n" % (name, value) for name, value in message["headers"])
            await self._write(RawData(data=SWITCHING + lines + b"\r\n"))
        else:
            await super().app_send(message)
