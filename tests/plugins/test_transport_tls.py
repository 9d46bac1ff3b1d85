"""TLS and addresses: nothing of a request leaves before the way to its origin has proved itself."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
import trustme
from peers import Flight

from turnout import Credential
from turnout_transport import Pool, PoolSettings, RawStream
from turnout_transport._dial import STAGGER, connect_first
from turnout_transport._tls import tls_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CANARY = b"sk-canary"


class Wiretap:
    """A loopback port that records every byte that comes in, under the TLS of whoever speaks it."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.requests = 0
        self.connections = 0
        self.port = 0

    async def plain(self, stream: trio.SocketStream) -> None:
        """Answer HTTP without TLS."""
        while data := await stream.receive_some():
            self.seen += data
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async def silent(self, stream: trio.SocketStream) -> None:
        """Accept and say nothing."""
        while data := await stream.receive_some():
            self.seen += data

    async def closing(self, stream: trio.SocketStream) -> None:
        """Take the hello and close."""
        self.seen += await stream.receive_some()

    async def secure(self, context: ssl.SSLContext, stream: trio.SocketStream) -> None:
        """Speak TLS, then answer each request."""
        tls = trio.SSLStream(stream, context, server_side=True)
        with suppress(trio.BrokenResourceError):
            await tls.do_handshake()
            while data := await tls.receive_some():
                self.seen += data
                self.requests += 1
                await tls.send_all(OK)


@asynccontextmanager
async def listening(tap: Wiretap, serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[None]:
    async def counted(stream: trio.SocketStream) -> None:
        tap.connections += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, counted, 0, host="127.0.0.1"))
        tap.port = listeners[0].socket.getsockname()[1]
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = tls_context()
    authority.configure_trust(context)
    return context


async def to_loopback(host: str, port: int) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    return ["127.0.0.1"]


def pool_of(tls: ssl.SSLContext, *, limit: float = 5.0) -> Pool:
    return Pool(PoolSettings(allow_private=True), tls=tls, connect_limit=limit, resolve=to_loopback)


async def call(pool: Pool, origin: str) -> bytes:
    transport = pool.for_credential(Credential(id="a", provider="p", origin=origin))
    request = httpx.Request("POST", origin + "/v1", content=b"{}", headers={"authorization": CANARY.decode()})
    response = await transport.handle_async_request(request)
    return await response.aread()


# A sound upstream


async def test_tls_connections_are_kept_and_offer_http_1_only(authority: trustme.CA) -> None:
    """S57."""
    context = server_context(authority.issue_cert("api.example.com"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    tap = Wiretap()
    async with listening(tap, partial(tap.secure, context)):
        pool = pool_of(trusting(authority))
        origin = f"https://api.example.com:{tap.port}"
        for _ in range(5):
            assert await call(pool, origin) == b"ok"

        (statistics,) = pool.statistics()
        assert (statistics.connects, statistics.reuses) == (1, 4)
        pool.close()
    assert tap.requests == 5


async def test_a_large_request_passes_through_tls(authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("api.example.com"))
    got = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal got
        tls = trio.SSLStream(stream, context, server_side=True)
        while got < 2_000_000:
            got += len(await tls.receive_some())
        await tls.send_all(OK)
        await tls.receive_some()

    tap = Wiretap()
    async with listening(tap, serve):
        pool = pool_of(trusting(authority))
        origin = f"https://api.example.com:{tap.port}"
        transport = pool.for_credential(Credential(id="a", provider="p", origin=origin))
        response = await transport.handle_async_request(httpx.Request("POST", origin, content=b"x" * 2_000_000))

        assert await response.aread() == b"ok"
        assert pool.statistics()[0].idle == 1
        pool.close()


async def test_a_reply_over_tls_before_the_request_was_read_is_delivered(authority: trustme.CA) -> None:
    """B31."""
    context = server_context(authority.issue_cert("api.example.com"))

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True)
        await tls.receive_some(1024)
        await tls.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await trio.sleep_forever()

    tap = Wiretap()
    async with listening(tap, serve):
        pool = pool_of(trusting(authority))
        origin = f"https://api.example.com:{tap.port}"
        transport = pool.for_credential(Credential(id="a", provider="p", origin=origin))
        with trio.fail_after(10):
            response = await transport.handle_async_request(httpx.Request("POST", origin, content=b"x" * 32_000_000))

            assert response.status_code == 413
            assert await response.aread() == b"big"
        assert pool.statistics()[0].open == 0
        pool.close()


async def test_cancelled_exchanges_over_tls_leave_nothing_behind(authority: trustme.CA) -> None:
    """X2, F5: at every stage of the handshake and the exchange."""
    tap = Wiretap()
    async with listening(tap, partial(tap.secure, server_context(authority.issue_cert("api.example.com")))):
        pool = pool_of(trusting(authority))
        origin = f"https://api.example.com:{tap.port}"
        for steps in range(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, pool, origin)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            (statistics,) = pool.statistics()
            assert statistics.in_use == 0
            assert statistics.open == statistics.idle <= 1

        assert await call(pool, origin) == b"ok"
        pool.close()


async def test_a_private_authority_is_trusted_from_a_file(authority: trustme.CA, tmp_path: Path) -> None:
    """S57."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    tap = Wiretap()
    async with listening(tap, partial(tap.secure, server_context(authority.issue_cert("api.example.com")))):
        pool = Pool(PoolSettings(allow_private=True, ca_file=str(file)), resolve=to_loopback)

        assert await call(pool, f"https://api.example.com:{tap.port}") == b"ok"
        pool.close()


def test_the_context_always_verifies() -> None:
    """S57."""
    context = tls_context()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


# An unsound one: never sent a key


async def never_trusted(tap: Wiretap, pool: Pool, host: str = "api.example.com") -> httpx.TransportError:
    with pytest.raises(httpx.TransportError) as caught:
        await call(pool, f"https://{host}:{tap.port}")
    assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert CANARY not in tap.seen
    assert tap.requests == 0
    (statistics,) = pool.statistics()
    assert (statistics.open, statistics.in_use) == (0, 0)
    pool.close()
    return caught.value


@pytest.mark.parametrize("fault", ["wrong host", "expired", "unknown authority"])
async def test_a_certificate_that_does_not_fit_is_never_sent_a_key(authority: trustme.CA, fault: str) -> None:
    """B4, S57."""
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = {
        "wrong host": lambda: authority.issue_cert("other.example.com"),
        "expired": lambda: authority.issue_cert("api.example.com", not_before=past, not_after=past),
        "unknown authority": lambda: trustme.CA().issue_cert("api.example.com"),
    }[fault]()
    tap = Wiretap()
    async with listening(tap, partial(tap.secure, server_context(certificate))):
        exc = await never_trusted(tap, pool_of(trusting(authority)))

    assert isinstance(exc, httpx.ConnectError)
    assert "certificate is refused" in str(exc)


async def test_old_tls_is_refused(authority: trustme.CA) -> None:
    """S57."""
    context = server_context(authority.issue_cert("api.example.com"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    tap = Wiretap()
    async with listening(tap, partial(tap.secure, context)):
        assert isinstance(await never_trusted(tap, pool_of(trusting(authority))), httpx.ConnectError)


@pytest.mark.parametrize("way", ["plain", "closing"])
async def test_what_does_not_speak_tls_is_never_sent_a_key(authority: trustme.CA, way: str) -> None:
    """B4."""
    tap = Wiretap()
    async with listening(tap, getattr(tap, way)):
        assert isinstance(await never_trusted(tap, pool_of(trusting(authority))), httpx.ConnectError)


async def test_a_handshake_that_hangs_ends_at_the_connect_limit(authority: trustme.CA) -> None:
    """B4, B2."""
    tap = Wiretap()
    async with listening(tap, tap.silent):
        with trio.fail_after(2):
            exc = await never_trusted(tap, pool_of(trusting(authority), limit=0.1))

    assert isinstance(exc, httpx.ConnectTimeout)


@pytest.mark.parametrize("at_once", [False, True])
async def test_bytes_that_follow_a_reply_over_tls_never_answer_the_next_request(
    authority: trustme.CA, at_once: bool
) -> None:
    context = server_context(authority.issue_cert("api.example.com"))

    async def serve(stream: trio.SocketStream) -> None:
        flight = Flight(stream)
        tls = trio.SSLStream(flight, context, server_side=True)
        await tls.receive_some()
        flight.holds = at_once
        await tls.send_all(OK)
        flight.holds = False
        await tls.send_all(OK.replace(b"ok", b"no"))
        await tls.receive_some()

    tap = Wiretap()
    async with listening(tap, serve):
        pool = pool_of(trusting(authority))
        for _ in range(2):
            assert await call(pool, f"https://api.example.com:{tap.port}") == b"ok"
        pool.close()


# Several addresses


class Line(RawStream):
    """A stream that goes nowhere."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError

    def close(self) -> None:
        self.closed = True


async def test_an_address_that_does_not_answer_is_overtaken_by_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async def open_stream(address: str, port: int) -> RawStream:
        await trio.sleep(30 if address == "slow" else 0.1)
        return Line(address)

    start = trio.current_time()
    line = await connect_first(["slow", "quick", "never"], 80, open_stream)

    assert isinstance(line, Line)
    assert line.address == "quick"
    assert trio.current_time() - start == pytest.approx(STAGGER + 0.1)


async def test_an_address_that_refuses_gives_way_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async def open_stream(address: str, port: int) -> RawStream:
        await trio.lowlevel.checkpoint()
        if address == "refuses":
            raise ConnectionRefusedError(111, "Connection refused")
        return Line(address)

    start = trio.current_time()
    line = await connect_first(["refuses", "refuses", "answers"], 80, open_stream)

    assert isinstance(line, Line)
    assert line.address == "answers"
    assert trio.current_time() == start


async def test_of_two_connections_at_once_one_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    lines: list[Line] = []

    async def open_stream(address: str, port: int) -> RawStream:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        lines.append(Line(address))
        return lines[-1]

    kept = await connect_first(["a", "b", "c"], 80, open_stream)

    assert [line for line in lines if not line.closed] == [kept]
    assert len(lines) == 3


async def test_a_connection_that_came_about_while_the_caller_gave_up_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines: list[Line] = []

    async def open_stream(address: str, port: int) -> RawStream:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        lines.append(Line(address))
        return lines[-1]

    with trio.move_on_after(0.5) as scope:
        await connect_first(["a", "b"], 80, open_stream)

    assert scope.cancelled_caught
    assert len(lines) == 2
    assert all(line.closed for line in lines)


async def test_when_every_address_fails_the_first_reason_is_told() -> None:
    async def open_stream(address: str, port: int) -> RawStream:
        await trio.lowlevel.checkpoint()
        raise OSError(113, address)

    with pytest.raises(OSError, match="first"):
        await connect_first(["first", "second"], 80, open_stream)
