"""One request to an upstream and its answer, straight over a transport: no redirects, cookies, environment or logs.

Every wait is the caller's to cancel. Whatever way the block is left, the response is closed at once and never drained;
closing is shielded, because it usually happens inside a cancelled scope, and bounded, because an upstream may hang.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self, cast

import httpx
import trio

from turnout import Failure, Phase, Protocol
from turnout.errors import UpstreamFailed
from turnout_wire._bodies import Asked, Body
from turnout_wire._failure import UPSTREAM_EXCEPTIONS, verdict_of_exception
from turnout_wire._headers import length_of

BODY_LIMIT = 64 << 20
"""Bytes of a whole answer (acceptance 4)."""

ERROR_LIMIT = 64 << 10
"""Bytes of an error's body that are read (acceptance 4)."""

ERROR_SECONDS = 2.0
"""How long reading an error's body may take (acceptance 4)."""

_CLOSING_SECONDS = 1.0

PLAIN = frozenset({"", "identity"})
"""Content encodings of a body that is what it is."""

COMPRESSED = "the answer is compressed, although none was asked for"

CUT = "the answer is not as long as it says"

_NO_HEADERS: Mapping[str, str] = {}

Fields = list[tuple[bytes, bytes]]
"""Headers as they came."""

Answer = tuple[int, Fields, bytes, httpx.AsyncByteStream | None]
"""Status, headers, the part of the body that is here already, and the rest of it, None when that was all."""

Post = Callable[["Posting", bytes], Awaitable[Answer]]


class Posting:
    """Where and with which headers the same POST goes again and again; only its body differs.

    Attributes:
        headers: nobody changes them any more; the length of the body is not among them.
        made: what the transport that posts it has made of it, None before it has.
    """

    __slots__ = ("headers", "made", "url")

    def __init__(self, url: httpx.URL, headers: httpx.Headers) -> None:
        self.url = url
        self.headers = headers
        self.made: object = None

    def request(self, body: bytes, more: Mapping[str, str] = _NO_HEADERS) -> httpx.Request:
        """The same as a request, for a transport that knows of no postings; `more` are headers for this one only."""
        # A stream instead of `content=`, with which httpx would build the headers three times; it copies those given
        request = httpx.Request("POST", self.url, headers=self.headers, stream=httpx.ByteStream(body))
        request.headers["content-length"] = str(len(body))
        if more:
            request.headers.update(more)
        return request


def posted(transport: httpx.AsyncBaseTransport, posting: Posting, body: bytes) -> Awaitable[Answer]:
    """The answer to a posting; waits, and raises what the transport raises."""
    post: Post | None = getattr(transport, "post", None)
    return post(posting, body) if post is not None else _answered(transport, posting.request(body))


class Exchange:
    """A request under way, as an async context manager. Entering waits for the headers of the answer.

    Entering and reading raise UpstreamFailed when the way to the upstream fails.

    Attributes:
        status: HTTP status of the answer.
        fields: its headers as they came.
        media_type: content type without its parameters, lower-case; empty when there is none.
        encoding: content encoding, lower-case; `identity` when there is none.
        closes_at_once: leaving never waits.
        wait: waits until `more_nowait`, which has just given None, has something; may raise UpstreamFailed. It takes
            `enough` as `Body.wait` does.
    """

    __slots__ = (
        "_body",
        "_expected",
        "_first",
        "_read",
        "_send",
        "_stream",
        "closes_at_once",
        "encoding",
        "fields",
        "media_type",
        "status",
        "wait",
    )

    def __init__(self, send: Callable[[], Awaitable[Answer]]) -> None:
        self._send = send
        self._read = 0

    @classmethod
    def of(cls, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Self:
        """Any request."""
        return cls(partial(_answered, transport, request))

    @classmethod
    def posting(cls, transport: httpx.AsyncBaseTransport, posting: Posting, body: bytes) -> Self:
        """A posting; a transport that has a way of its own for them gets it as it is (`turnout.abc.Transport`)."""
        return cls(partial(posted, transport, posting, body))

    async def __aenter__(self) -> Self:
        try:
            self.status, self.fields, self._first, stream = await self._send()
        except UPSTREAM_EXCEPTIONS as exc:
            raise UpstreamFailed(verdict_of_exception(exc)) from exc
        self._stream = stream
        self._body: Body | None = None
        if stream is not None:
            self._body = cast(Body, stream) if hasattr(stream, "read_nowait") else Asked(stream)
            self.wait = self._body.wait
        # What never waits while it closes needs no shield and no limit, which cost 8 µs a call
        self.closes_at_once: bool = stream is None or getattr(stream, "closes_at_once", False)
        self._note(self.fields)
        return self

    @classmethod
    def begun(cls, answer: Answer) -> Self:
        """One whose answer has begun to come already."""
        return cls(partial(_given, answer))

    @property
    def headers(self) -> httpx.Headers:
        """The answer's headers, for those who look one up by name."""
        return httpx.Headers(self.fields)

    def _note(self, fields: Fields) -> None:
        """One pass over the headers: looking one up in httpx's takes longer than this."""
        given = {name.lower(): value for name, value in fields}
        self._expected = length_of(given.get(b"content-length", b""))
        self.media_type = given.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        self.encoding = given.get(b"content-encoding", b"identity").strip().lower().decode("latin-1")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is None:
            return
        if self.closes_at_once:
            await self._stream.aclose()
            return
        with trio.CancelScope(relative_deadline=_CLOSING_SECONDS, shield=True):
            try:
                if isinstance(self._body, Asked):
                    await self._body.aclose()
                await self._stream.aclose()
            except UPSTREAM_EXCEPTIONS:
                # The outcome is known; a connection that fails while it closes is gone, which is all we want of it.
                return

    @property
    def encoded(self) -> bool:
        """Whether the body is compressed, although we asked for none: such a body is never decoded (B20)."""
        return self.encoding not in PLAIN

    async def read_more(self) -> bytes:
        """The next bytes of the body, empty at its end. Waits; raises UpstreamFailed when it is cut off."""
        while (piece := self.more_nowait()) is None:
            await self.wait()
        return piece

    def more_nowait(self) -> bytes | None:
        """What has come of the body; empty at its end, None when nothing has. Raises UpstreamFailed as `read_more`."""
        piece: bytes | None
        if self._first:
            piece, self._first = self._first, b""
        elif self._body is None:
            piece = b""
        else:
            try:
                piece = self._body.read_nowait()
            except UPSTREAM_EXCEPTIONS as exc:
                raise UpstreamFailed(verdict_of_exception(exc, answered=True, phase=Phase.IDLE)) from exc
        if piece:
            self._read += len(piece)
        elif piece is not None and self._expected not in {None, self._read}:
            raise broken(CUT)
        return piece

    async def read_body(self) -> bytes:
        """The whole body. Waits; raises UpstreamFailed when it is cut off or longer than `BODY_LIMIT`."""
        first = await self.read_more()
        pieces = [first]
        while piece := await self.read_more():
            pieces.append(piece)
            if self._read > BODY_LIMIT:
                raise UpstreamFailed(Protocol(message=f"the answer is longer than {BODY_LIMIT >> 20} MiB"))
        return first if len(pieces) == 1 else b"".join(pieces)

    async def read_error(self) -> bytes:
        """What can be had of an error's body in `ERROR_SECONDS` and `ERROR_LIMIT` (B21); never raises for its state.

        The status has said all that the verdict needs, so a body that breaks off is as good as a short one.
        """
        if self.encoded:
            return b""
        data = bytearray()
        with trio.move_on_after(ERROR_SECONDS):
            try:
                while len(data) < ERROR_LIMIT and (piece := await self.read_more()):
                    data += piece
            except UpstreamFailed:
                return bytes(data[:ERROR_LIMIT])
        return bytes(data[:ERROR_LIMIT])


async def _given(answer: Answer) -> Answer:
    return answer


async def _answered(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
    response = await transport.handle_async_request(request)
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("the transport gave a response that cannot be read asynchronously")
    return response.status_code, response.headers.raw, b"", response.stream


def broken(message: str) -> UpstreamFailed:
    """The failure of an upstream that broke its protocol."""
    verdict: Failure = Protocol(message=message)
    return UpstreamFailed(verdict)
