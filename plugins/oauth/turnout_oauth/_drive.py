"""Sends what a flow asks for over a given transport, and hands back what came: bounded in bytes and in time (E8)."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, TypeVar

import httpx
import trio

from turnout import Phase, Protocol, Sent, TimedOut
from turnout.errors import UpstreamFailed
from turnout_oauth._grants import Flow
from turnout_wire import UPSTREAM_EXCEPTIONS, verdict_of_exception

T = TypeVar("T")

BODY_LIMIT: Final = 64 << 10
"""Bytes of an answer: real ones have two or three thousand."""

SECONDS: Final = 30.0
"""How long one exchange may take, within the minute that the kernel gives a refresh."""

_CLOSING_SECONDS: Final = 1.0


async def drive(flow: Flow[T], transport: httpx.AsyncBaseTransport | None) -> T:
    """Run a flow to its end and give what it returns. Waits; never follows a redirect, never tries again.

    Args:
        flow: a fresh one.
        transport: bound to the origin of the token endpoint.

    Raises:
        UpstreamFailed: the flow's own, and for an exchange that failed, took too long, or brought too much.
    """
    if transport is None:
        raise TypeError("a token grant needs a transport")
    try:
        request = next(flow)
        while True:
            request = flow.send(await _exchange(transport, request))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        flow.close()


async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    with trio.move_on_after(SECONDS):
        try:
            response = await transport.handle_async_request(request)
        except UPSTREAM_EXCEPTIONS as exc:
            raise UpstreamFailed(verdict_of_exception(exc)) from exc
        body = await _body(response)
        kept = {name: response.headers[name] for name in ("content-type", "retry-after") if name in response.headers}
        return httpx.Response(response.status_code, headers=kept, content=body, request=request)
    late = TimedOut(message=f"the token endpoint took longer than {SECONDS:g} s", sent=Sent.MAYBE, phase=Phase.HEADERS)
    raise UpstreamFailed(late)


async def _body(response: httpx.Response) -> bytes:
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport gave a response that cannot be read asynchronously")
    pieces = aiter(stream)
    try:
        if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise _broken("is compressed, although none was asked for")
        return await _capped(pieces)
    except UPSTREAM_EXCEPTIONS as exc:
        raise UpstreamFailed(verdict_of_exception(exc, answered=True)) from exc
    finally:
        await _close(stream, pieces)


async def _capped(pieces: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > BODY_LIMIT:
            raise _broken(f"is longer than {BODY_LIMIT} bytes")
    return bytes(body)


async def _close(stream: httpx.AsyncByteStream, pieces: AsyncIterator[bytes]) -> None:
    """Let go of the connection, undrained; shielded, since we may be cancelled, and bounded, since it may hang."""
    with trio.CancelScope(relative_deadline=_CLOSING_SECONDS, shield=True):
        try:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
            await stream.aclose()
        except UPSTREAM_EXCEPTIONS:
            return  # the answer is known; a connection that fails while it closes is gone, which is all we want


def _broken(what: str) -> UpstreamFailed:
    return UpstreamFailed(Protocol(message=f"the token endpoint's answer {what}"))
