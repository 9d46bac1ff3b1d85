"""One request to an upstream and its answer, straight over a transport: no redirects, cookies, environment or logs.

Every wait is the caller's to cancel. Whatever way the block is left, the response is closed at once and never drained;
closing is shielded, because it usually happens inside a cancelled scope, and bounded, because an upstream may hang.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import httpx
import trio

from turnout import Failure, Phase, Protocol
from turnout.errors import UpstreamFailed
from turnout_wire import UPSTREAM_EXCEPTIONS, verdict_of_exception

BODY_LIMIT = 64 << 20
"""Bytes of a whole answer (acceptance 4)."""

ERROR_LIMIT = 64 << 10
"""Bytes of an error's body that are read (acceptance 4)."""

ERROR_SECONDS = 2.0
"""How long reading an error's body may take (acceptance 4)."""

_CLOSING_SECONDS = 1.0


class Exchange:
    """A request under way, as an async context manager. Entering waits for the headers of the answer.

    Entering and reading raise UpstreamFailed when the way to the upstream fails.
    """

    __slots__ = ("_body", "_expected", "_read", "_request", "_response", "_transport")

    def __init__(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> None:
        self._transport = transport
        self._request = request
        self._read = 0

    async def __aenter__(self) -> Self:
        try:
            self._response: httpx.Response = await self._transport.handle_async_request(self._request)
        except UPSTREAM_EXCEPTIONS as exc:
            raise UpstreamFailed(verdict_of_exception(exc)) from exc
        stream = self._response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("the transport gave a response that cannot be read asynchronously")
        self._body: AsyncIterator[bytes] = aiter(stream)
        length = self.headers.get("content-length", "")
        self._expected = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The outcome is known by now; a connection that fails while it closes is gone, which is all we want of it.
        with trio.move_on_after(_CLOSING_SECONDS, shield=True), suppress(*UPSTREAM_EXCEPTIONS):
            if isinstance(self._body, AsyncGenerator):
                await self._body.aclose()  # left half way; a stream that is its own iterator needs nothing
            await self._response.aclose()

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self._response.status_code

    @property
    def headers(self) -> httpx.Headers:
        """Headers of the answer."""
        return self._response.headers

    @property
    def media_type(self) -> str:
        """Content type without its parameters, lower-case; empty when there is none."""
        given: str = self.headers.get("content-type", "")
        return given.partition(";")[0].strip().lower()

    @property
    def encoded(self) -> bool:
        """Whether the body is compressed, although we asked for none: such a body is never decoded (B20)."""
        return self.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}

    async def read_more(self) -> bytes:
        """The next bytes of the body, empty at its end. Waits; raises UpstreamFailed when it is cut off."""
        try:
            async for piece in self._body:
                self._read += len(piece)
                if piece:
                    return piece
        except UPSTREAM_EXCEPTIONS as exc:
            raise UpstreamFailed(verdict_of_exception(exc, answered=True, phase=Phase.IDLE)) from exc
        if self._expected not in {None, self._read}:
            raise UpstreamFailed(Protocol(message="the answer is not as long as it says"))
        return b""

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


def broken(message: str) -> UpstreamFailed:
    """The failure of an upstream that broke its protocol."""
    verdict: Failure = Protocol(message=message)
    return UpstreamFailed(verdict)
