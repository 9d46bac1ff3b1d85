"""The provider `openai` over either transport against an upstream that misbehaves on real sockets: B1-B30."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import httpx
import pytest
import trio

from turnout import (
    Ask,
    Blame,
    Call,
    Chunk,
    Credential,
    Failure,
    InvalidRequest,
    ModelMissing,
    Overloaded,
    PaymentRequired,
    Protocol,
    RateLimited,
    Reply,
    Secret,
    Sent,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout.abc import Transport
from turnout.errors import UpstreamFailed
from turnout_openai import OpenAI, OpenAISettings
from turnout_transport import Httpx, Pool
from turnout_upstream import EndedBy, How, Play, Rule, Script, Upstream, open_upstream, plays, refused_url

NOW = 1_790_000_000.0
KEY = "sk-canary-0123456789"


class Wire:
    """A provider, a transport and an upstream, tied together."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.provider = OpenAI(OpenAISettings(base_url=url + "/v1"), now=lambda: NOW)
        self._transport = transport
        bare = Credential(id="a", provider="openai", api_key=Secret(KEY))
        self.credential = Credential(id="a", provider="openai", api_key=Secret(KEY), origin=self.provider.origin(bare))

    def call(self, *, stream: bool) -> Call:
        payload = b'{"model":"demo-model","messages":[],"stream":%s}' % (b"true" if stream else b"false")
        return Call(
            ask=Ask(model="demo-model", payload=payload, dialect="openai.chat"),
            credential=self.credential,
            model="demo-model",
            transport=self.transport(),
        )

    def transport(self) -> httpx.AsyncBaseTransport:
        return self._transport.for_credential(self.credential)

    async def execute(self) -> Reply:
        return await self.provider.execute(self.call(stream=False))

    async def read(self) -> list[Chunk]:
        async with self.provider.stream(self.call(stream=True)) as stream:
            return [chunk async for chunk in stream]

    async def failure(self, *, stream: bool) -> Failure:
        with pytest.raises(UpstreamFailed) as caught:
            await (self.read() if stream else self.execute())
        assert KEY not in repr(caught.value.verdict), "S45"
        return caught.value.verdict


@asynccontextmanager
async def open_pool() -> AsyncIterator[Transport]:
    async with Pool().opened() as pool:
        yield pool
        assert sum(origin.in_use for origin in pool.statistics()) == 0, "every connection was given back"


@asynccontextmanager
async def open_httpx() -> AsyncIterator[Transport]:
    transport = Httpx()
    try:
        yield transport
    finally:
        await transport.aclose()


OpenTransport = Callable[[], AbstractAsyncContextManager[Transport]]
Wired = Callable[..., AbstractAsyncContextManager[tuple[Wire, Upstream]]]


@pytest.fixture(params=[open_pool, open_httpx], ids=["pool", "httpx"])
def open_transport(request: pytest.FixtureRequest) -> OpenTransport:
    found: OpenTransport = request.param
    return found


@pytest.fixture
def wired(open_transport: OpenTransport) -> Wired:
    return partial(open_wire, open_transport)


@asynccontextmanager
async def open_wire(
    open_transport: OpenTransport, play: Play, script: Script | None = None
) -> AsyncIterator[tuple[Wire, Upstream]]:
    async with open_upstream(script or Script(rules=(Rule(always=play),))) as upstream, open_transport() as transport:
        yield Wire(upstream.url, transport), upstream


BOTH = [
    (plays.close_after_request(), Protocol, Sent.MAYBE),  # B5
    (plays.reset_after_request(), Protocol, Sent.MAYBE),  # B6
    (plays.reset_mid_head(), Protocol, Sent.MAYBE),  # B7
    (plays.half_close_after_head(), Protocol, Sent.ANSWERED),  # B29
    (plays.truncated_chunk(), Protocol, Sent.ANSWERED),  # B13
    (plays.bad_chunk(0), Protocol, None),  # B13
    (plays.garbage("html"), Protocol, Sent.ANSWERED),  # B14
    (plays.garbage("json"), Protocol, Sent.ANSWERED),  # B14
    (plays.garbage("binary"), Protocol, Sent.ANSWERED),  # B14
    (plays.informational(103, 5000), Protocol, Sent.MAYBE),  # B18
    (plays.informational(101), Protocol, Sent.MAYBE),  # B18
    (plays.redirect("http://169.254.169.254/", 301), Protocol, Sent.ANSWERED),  # B19
    (plays.redirect("http://127.0.0.1:1/", 308), Protocol, Sent.ANSWERED),  # B19
    (plays.gzipped(), Protocol, Sent.ANSWERED),  # B20
    (plays.gzip_bomb(), Protocol, Sent.ANSWERED),  # B20
    (plays.mislabelled(), Protocol, Sent.ANSWERED),  # B20
    (plays.huge_error(), Transient, Sent.ANSWERED),  # B21
    (plays.error_in_200(429), RateLimited, Sent.ANSWERED),  # B22
    (plays.error_in_200(529), Overloaded, Sent.ANSWERED),  # B22
    (plays.status(401), Unauthorized, Sent.ANSWERED),  # B23
    (plays.status(402), PaymentRequired, Sent.ANSWERED),  # B24
    (plays.rate_limited(3), RateLimited, Sent.ANSWERED),  # B25
    (plays.rate_limited("10" * 15), RateLimited, Sent.ANSWERED),  # B25
    (plays.rate_limited("-7"), RateLimited, Sent.ANSWERED),  # B25
    (plays.status(404), ModelMissing, Sent.ANSWERED),
    (plays.status(529), Overloaded, Sent.ANSWERED),  # B26
    (plays.invalid_request(f"your key {KEY}"), InvalidRequest, Sent.ANSWERED),  # B27, S45
    (plays.many_headers(), Protocol, Sent.MAYBE),  # B28
    (plays.many_headers(1, 100_000), Protocol, Sent.MAYBE),  # B28
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("play", "kind", "sent"), BOTH)
async def test_a_fault_of_the_upstream_is_a_verdict(
    wired: Wired, play: Play, kind: type[Failure], sent: Sent | None, stream: bool
) -> None:
    """B5, B6, B7, B13, B14, B18, B19, B20, B21, B22, B23, B24, B25, B26, B27, B28, B29."""
    async with wired(play) as (wire, upstream):
        with trio.fail_after(10):
            found = await wire.failure(stream=stream)
        assert type(found) is kind
        assert sent in {found.sent, None}
        assert len(upstream.log.requests) == 1, "a provider never retries"


@pytest.mark.parametrize(
    "play",
    [
        plays.reset_mid_stream(),  # B11
        plays.close_before_done(),  # B12
        plays.ends_without_done(),  # B12
        plays.endless_line(),  # B16
        plays.error_first(429),  # B22
        plays.error_after(529),  # B22
        plays.truncated_chunk(),  # B13
    ],
)
async def test_a_fault_in_a_stream_never_looks_like_its_end(wired: Wired, play: Play) -> None:
    """B11, B12, B13, B16, B22."""
    async with wired(play) as (wire, _):
        with trio.fail_after(10):
            assert (await wire.failure(stream=True)).blame is not Blame.NOBODY


@pytest.mark.parametrize(
    "play",
    [
        plays.chat(),
        plays.coalesced(),
        plays.noisy(),
        plays.malformed_event(),
        plays.separators_inside(),
        plays.cr_only(),
        plays.rude_headers(),
        plays.informational(103, 1),
        plays.events(300),
    ],
)
async def test_an_odd_but_sound_stream_passes_byte_exact(wired: Wired, play: Play) -> None:
    """B15, B18, B28: and its connection serves the next call."""
    async with wired(play) as (wire, upstream):
        with trio.fail_after(10):
            async with wire.provider.stream(wire.call(stream=True)) as stream:
                passed = b"".join([chunk.data async for chunk in stream])
            await wire.read()
        assert passed.rstrip().endswith(b"data: [DONE]")
        assert not {"set-cookie", "server", "connection", "x-private"} & set(stream.headers)
        assert {request.connection for request in upstream.log.requests} == {1}


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_was_sent_when_nobody_answers_the_door(open_transport: OpenTransport, stream: bool) -> None:
    """B1."""
    with refused_url() as url:
        async with open_transport() as transport:
            found = await Wire(url, transport).failure(stream=stream)
    assert isinstance(found, Unreachable)
    assert found.sent is Sent.NO


async def test_a_door_that_is_shut_at_once_is_a_failure_of_the_origin(wired: Wired) -> None:
    """B5."""
    async with wired(plays.chat(), Script(connection=How.CLOSE)) as (wire, _):
        assert (await wire.failure(stream=False)).blame is Blame.ORIGIN


async def test_replies_come_back_whole_over_a_kept_connection(wired: Wired) -> None:
    """B30."""
    async with wired(plays.close_after_reply()) as (wire, _):
        for _ in range(20):
            assert b'"choices"' in (await wire.execute()).body


@pytest.mark.parametrize("play", [plays.stall_before_head(), plays.stall_after_head(), plays.stall_mid_stream()])
async def test_leaving_a_stalled_stream_closes_its_socket(wired: Wired, play: Play) -> None:
    """C-1, C-2, B8, B9, B10: the upstream sees the end."""
    async with wired(play) as (wire, upstream):
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.read)
                await upstream.wait_for(lambda log: len(log.requests) == 1)
                nursery.cancel_scope.cancel()
            await upstream.wait_for(lambda log: len(log.endings) == 1)
        assert upstream.log.endings[0].by is not EndedBy.UPSTREAM


async def test_models_of_a_running_upstream_are_listed(wired: Wired) -> None:
    async with wired(plays.chat(), Script(models=("a", "b"))) as (wire, _):
        assert list(await wire.provider.models(wire.credential, wire.transport())) == ["a", "b"]
