"""How pages answer: ASGI's `send` with the headers that every answer carries, and whole answers in one go."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol, final

from turnout_http._visit import DONE, Answer, Message, Send, Visit

RawHeader = tuple[bytes, bytes]
RawHeaders = list[RawHeader]

JSON = b"application/json"

CLOSE = (b"connection", b"close")


class Draining(Protocol):
    """Who knows whether connections are still kept."""

    draining: bool


@final
class Answering:
    """What a page answers one request with. Called, it takes ASGI's messages.

    Attributes:
        go_on: takes messages of a body that has begun, which need nothing from here: one call less for every event.
    """

    __slots__ = ("_answer", "_house", "_visit", "go_on")

    def __init__(self, house: Draining, visit: Visit, send: Send, answer: Answer | None) -> None:
        """`answer` is the server's own way for whole answers, None when it has none."""
        self._house = house
        self._visit = visit
        self._answer = answer
        self.go_on = send

    def __call__(self, message: Message) -> Awaitable[None]:
        """Take a message of ASGI."""
        if message["type"] == "http.response.start":
            self._visit.started = True
            common = [(b"x-request-id", self._visit.id.encode()), (b"x-content-type-options", b"nosniff")]
            message["headers"] = [*message["headers"], *common, *([CLOSE] if self._house.draining else [])]
        return self.go_on(message)

    def whole(
        self, body: bytes, *, status: int = 200, media_type: bytes = JSON, headers: Sequence[RawHeader] = ()
    ) -> Awaitable[None]:
        """Send a complete answer; waits while the client does not read."""
        if self._answer is None:
            return self._whole_in_messages(body, status, media_type, headers)
        visit = self._visit
        visit.started = True
        lines = b"content-type: %b\r\ncontent-length: %d\r\n%bx-request-id: %b\r\nx-content-type-options: nosniff\r\n"
        lines %= (media_type, len(body), header_lines(headers) if headers else b"", visit.id.encode())
        return self._answer(status, lines, body, close=self._house.draining or CLOSE in headers)

    async def _whole_in_messages(
        self, body: bytes, status: int, media_type: bytes, headers: Sequence[RawHeader]
    ) -> None:
        head = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *headers]
        await self({"type": "http.response.start", "status": status, "headers": head})
        await self({"type": "http.response.body", "body": body})


@final
class Outgoing:
    """The body of a stream on its way to a client: its pieces go as they come.

    Attributes:
        rest: waits until the client has taken the last piece.
    """

    __slots__ = ("_send", "rest")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.rest = DONE

    def take(self, piece: bytes) -> bool:
        """Send a piece, without waiting; False when `rest` is to be waited for before the next one."""
        self.rest = self._send({"type": "http.response.body", "body": piece, "more_body": True})
        return self.rest is DONE


def header_lines(headers: Iterable[RawHeader]) -> bytes:
    """Headers as they are sent, without `CLOSE`; raises ValueError for one that would be read as two."""
    lines = [b"%b: %b\r\n" % pair for pair in headers if pair != CLOSE]
    text = b"".join(lines)
    if text.count(b"\n") != len(lines):
        raise ValueError("a header of the answer holds a line feed")
    return text
