"""Our transports keep the laws that every transport keeps, and the check finds one that does not."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

import httpx
import pytest
import trio
from kit_laws import laws_of, unproven

from turnout import Credential
from turnout.abc import Transport
from turnout.testing import _check_transport as rules
from turnout.testing import check_transport
from turnout_transport import Httpx, Pool

OpenTransport = Callable[[], AbstractAsyncContextManager[Transport]]


@asynccontextmanager
async def open_pool() -> AsyncIterator[Transport]:
    async with Pool().opened() as pool:
        yield pool


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
    with pytest.raises(AssertionError, match=LETS_OUT):
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

    made: ClassVar[list["Body"]] = []

    def __init__(self, sound: httpx.AsyncByteStream) -> None:
        self.sound = sound
        self.made.append(self)
        self.pieces = aiter(sound)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self.pieces)

    async def aclose(self) -> None:
        await self.sound.aclose()


class StaysOpen(Body):
    async def aclose(self) -> None:
        pass


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


class LosesAPiece(Body):
    async def __anext__(self) -> bytes:
        return (await super().__anext__())[:2]


class Gathered(Body):
    async def __anext__(self) -> bytes:
        whole = b"".join([piece async for piece in self.pieces])
        if whole:
            return whole
        raise StopAsyncIteration


class Shortens(HasSpoiltBodies):
    body = LosesAPiece


class Gathers(HasSpoiltBodies):
    body = Gathered


class AnswersWithNothing(Spoilt):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await response.aclose()
        return httpx.Response(200, stream=httpx.ByteStream(b""))


class CountsWrongly(Spoilt):
    """Keeps the places of calls that were cancelled, until none is left."""

    places: ClassVar[trio.Semaphore]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self.places.acquire()
        response = await super().handle_async_request(request)
        self.places.release()
        return response


BROKEN: tuple[tuple[type[Spoilt], rules.Check, str], ...] = (
    (SaysThatARefusalWasSent, rules._bound, "a refusal says that nothing was sent"),
    (SaysThatAnUnmadeConnectionHasSent, rules._unreachable, "a connection that is refused says that nothing was sent"),
    (Shortens, rules._streams, "a body is given as it arrives"),
    (NeverCloses, rules._leaves, "closing a reply before its end closes its connection"),
    (ForgivesTheEnd, rules._truncated, "a reply that is cut off is an error"),
    (Follows, rules._redirects, "a redirect is a reply like any other"),
    (AnswersWithNothing, rules._replaces, "a peer that closes after each reply causes no error (B30)"),
    (
        TripsOverClosedConnections,
        rules._replaces,
        "A peer that closes after each reply causes no error (B30) (it raised RemoteProtocolError)",
    ),
)
"""Each with the check that finds it, and the law that it breaks."""

HANGS: tuple[tuple[type[Spoilt], rules.Check, str], ...] = (
    (Gathers, rules._streams, "A body is given as it arrives. (took longer than 0.2 s)"),
    (CountsWrongly, rules._survives_cancels, "leave the transport as good as it was. (took longer than 0.2 s)"),
)
"""Those that only hang."""

LETS_OUT = "own origin and nowhere else"
WASTES = "a connection serves more than one request"


@pytest.mark.parametrize(("kind", "check", "law"), BROKEN)
async def test_a_transport_that_breaks_a_law_is_told_which(
    kind: type[Spoilt], check: rules.Check, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "CHECKS", (check,))
    assert law in await told(kind)


@pytest.mark.parametrize(("kind", "check", "law"), HANGS)
async def test_a_transport_that_hangs_is_told_where(
    kind: type[Spoilt], check: rules.Check, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "CHECKS", (check,))
    monkeypatch.setattr(rules, "PATIENCE", 0.2)
    assert law in await told(kind)


async def told(kind: type[Spoilt]) -> str:
    """The law that a transport spoilt like this is told to break."""
    CountsWrongly.places = trio.Semaphore(20)

    @asynccontextmanager
    async def open_spoilt() -> AsyncIterator[Transport]:
        async with open_pool() as pool:
            try:
                yield Plugin(pool, kind)
            finally:
                with trio.CancelScope(shield=True):
                    while Body.made:  # a law that is broken leaves its reply open
                        await Body.made.pop().sound.aclose()

    with pytest.raises(AssertionError) as caught:
        await check_transport(open_spoilt, httpx.Request)
    said = re.fullmatch(r"broken: (.*) \(turnout\.abc\.Transport; plugins\.md, Transports\)", str(caught.value))
    assert said is not None, caught.value
    return said[1]


def test_every_law_of_a_transport_has_a_broken_one() -> None:
    """One of them stands in the docstring of its check alone: it is broken by hanging or raising."""
    told = [LETS_OUT, WASTES, *(law for _, _, law in (*BROKEN, *HANGS))]
    assert not unproven(laws_of(rules), told)


def test_every_check_of_a_transport_finds_a_broken_one() -> None:
    elsewhere = {rules._replies}  # by the one that wastes connections
    assert {check for _, check, _ in (*BROKEN, *HANGS)} | elsewhere == set(rules.CHECKS)


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

    with pytest.raises(AssertionError, match=WASTES):
        await check_transport(open_wasteful, httpx.Request)
