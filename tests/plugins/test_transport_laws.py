"""Our transports keep the laws that every transport keeps, and the check finds one that does not."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

import httpx
import pytest
import trio

from turnout import Credential
from turnout.abc import Transport
from turnout.testing import check_transport
from turnout_transport import Httpx, Pool

OpenTransport = Callable[[], AbstractAsyncContextManager[Transport]]


@asynccontextmanager
async def open_pool() -> AsyncIterator[Transport]:
    pool = Pool()
    try:
        yield pool
    finally:
        pool.close()


@asynccontextmanager
async def open_httpx() -> AsyncIterator[Transport]:
    transport = Httpx()
    try:
        yield transport
    finally:
        await transport.aclose()


@pytest.mark.parametrize("open_transport", [open_pool, open_httpx])
async def test_our_transports_keep_the_laws(open_transport: OpenTransport) -> None:
    await check_transport(open_transport, httpx.Request)


class Unbound:
    """Plain httpx: it goes wherever a request says."""

    api: ClassVar[int] = 1

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        return self._transport


@asynccontextmanager
async def open_unbound() -> AsyncIterator[Transport]:
    async with httpx.AsyncHTTPTransport(trust_env=False) as transport:
        yield Unbound(transport)


async def test_a_transport_that_lets_a_credential_out_is_found() -> None:
    """S11."""
    with pytest.raises(AssertionError, match="own origin and nowhere else"):
        await check_transport(open_unbound, httpx.Request)


class Spoilt(httpx.AsyncBaseTransport):
    """A sound transport, to be spoilt in one way."""

    calls = 0

    def __init__(self, sound: httpx.AsyncBaseTransport) -> None:
        self.sound = sound

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.sound.handle_async_request(request)


class SaysThatARefusalWasSent(Spoilt):
    refused: ClassVar[tuple[type[Exception], ...]] = (Exception,)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except self.refused as error:
            error.request_sent = True  # type: ignore[attr-defined]  # the protocol's mark
            raise


class SaysThatAnUnmadeConnectionHasSent(SaysThatARefusalWasSent):
    refused: ClassVar[tuple[type[Exception], ...]] = (httpx.ConnectError, OSError)


class Body(httpx.AsyncByteStream):
    """A body, to be spoilt."""

    def __init__(self, sound: httpx.AsyncByteStream) -> None:
        self.sound = sound
        self.pieces = aiter(sound)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self.pieces)

    async def aclose(self) -> None:
        await self.sound.aclose()


class StaysOpen(Body):
    left: ClassVar[list[Body]] = []

    async def aclose(self) -> None:
        self.left.append(self)


class TakesWhatComes(Body):
    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        except (httpx.HTTPError, OSError):
            raise StopAsyncIteration from None


class HasSpoiltBodies(Spoilt):
    body: type[Body] = StaysOpen

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = self.body(response.stream)
        return response


class NeverCloses(HasSpoiltBodies):
    pass


class ForgivesTheEnd(HasSpoiltBodies):
    body = TakesWhatComes


class Follows(Spoilt):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if response.is_redirect:
            await response.aclose()
            return httpx.Response(200, stream=httpx.ByteStream(b"from elsewhere"))
        return response


class TripsOverClosedConnections(Spoilt):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        type(self).calls += 1
        response = await super().handle_async_request(request)
        if response.headers.get("content-length") == "2" and self.calls % 30 == 0:
            await response.aclose()
            raise httpx.RemoteProtocolError("the peer has closed")
        return response


class Plugin:
    """A transport whose connections are spoilt."""

    api: ClassVar[int] = 1

    def __init__(self, sound: Transport, kind: type[Spoilt]) -> None:
        self._sound = sound
        self._kind = kind

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        return self._kind(self._sound.for_credential(credential))


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (SaysThatARefusalWasSent, "a refusal says that nothing was sent"),
        (SaysThatAnUnmadeConnectionHasSent, "a connection that is refused says that nothing was sent"),
        (NeverCloses, "closing a reply before its end closes its connection|a connection serves more than one request"),
        (ForgivesTheEnd, "a reply that is cut off is an error"),
        (Follows, "a redirect is a reply like any other"),
        (TripsOverClosedConnections, r"closes after each reply causes no error|leave the transport as good"),
    ],
)
async def test_a_transport_that_breaks_a_law_is_told_which(kind: type[Spoilt], law: str) -> None:
    """Those that would only hang are not among them: each costs the ten seconds of the kit's patience."""

    @asynccontextmanager
    async def open_spoilt() -> AsyncIterator[Transport]:
        async with open_pool() as pool:
            try:
                yield Plugin(pool, kind)
            finally:
                with trio.CancelScope(shield=True):
                    while StaysOpen.left:
                        await StaysOpen.left.pop().sound.aclose()

    with pytest.raises(AssertionError, match=law):
        await check_transport(open_spoilt, httpx.Request)


async def test_a_transport_that_uses_a_connection_once_is_told() -> None:
    pools: list[Pool] = []

    class Wasteful:
        api: ClassVar[int] = 1

        def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
            pools.append(Pool())
            return pools[-1].for_credential(credential)

    @asynccontextmanager
    async def open_wasteful() -> AsyncIterator[Transport]:
        try:
            yield Wasteful()
        finally:
            for pool in pools:
                pool.close()

    with pytest.raises(AssertionError, match="a connection serves more than one request"):
        await check_transport(open_wasteful, httpx.Request)
