"""The transport `httpx`: what it does differently from `pool`; the rest is in the laws."""

import logging
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trio
import trio.testing
import trustme

from turnout import Credential, Seconds, Secret
from turnout.abc import Limits, PluginContext
from turnout_transport import Httpx, HttpxSettings

Serve = Callable[[trio.SocketStream], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[int]:
    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, guarded, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(settings: HttpxSettings) -> AsyncIterator[Httpx]:
    context = PluginContext(
        key="httpx",
        group="turnout.transports",
        limits=Limits(),
        drain=60.0,
        now=lambda: 0.0,
        draw=lambda: 0.5,
        log=logging.getLogger("turnout.transports.httpx"),
    )
    async with Httpx.open(settings, context) as transport:
        yield transport


async def call(transport: Httpx, origin: str) -> tuple[bytes, httpx.Response]:
    bound = transport.for_credential(Credential(id="a", provider="p", origin=origin))
    request = httpx.Request("POST", origin + "/v1", content=b"{}", headers={"authorization": "canary"})
    response = await bound.handle_async_request(request)
    try:
        return await response.aread(), response
    finally:
        await response.aclose()


async def wait_request(stream: trio.SocketStream) -> bool:
    data = b""
    while not data.endswith(b"\r\n\r\n{}"):
        more = await stream.receive_some()
        if not more:
            return False
        data += more
    return True


async def always_ok(stream: trio.SocketStream) -> None:
    while await wait_request(stream):
        await stream.send_all(OK)


async def test_an_upstream_that_speaks_http_2_is_spoken_to_in_it(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        machine.initiate_connection()
        await tls.send_all(machine.data_to_send())
        while data := await tls.receive_some():
            for event in machine.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    machine.send_headers(event.stream_id, [(":status", "200")])
                    machine.send_data(event.stream_id, b"ok", end_stream=True)
            await tls.send_all(machine.data_to_send())

    async with peer(serve) as port, opened(HttpxSettings(ca_file=str(tmp_path / "ca.pem"))) as transport:
        for _ in range(3):
            body, response = await call(transport, f"https://localhost:{port}")
            assert body == b"ok"
            assert response.http_version == "HTTP/2"
    assert connections == 1


def test_without_the_extra_for_http_2_the_transport_is_there() -> None:
    without = "import sys; sys.modules['h2'] = None; from turnout_transport import Httpx; Httpx()"
    subprocess.run([sys.executable, "-c", without], check=True)


async def test_cancelled_calls_do_not_use_up_places() -> None:
    """X2, F5."""

    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass

    async with opened(HttpxSettings(max_requests=5, max_per_credential=5)) as transport, peer(silent) as port:
        origin = f"http://127.0.0.1:{port}"
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(call, transport, origin)
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
        assert transport._lines[origin].places.taken == 0
        assert len(transport._limiters) == 0


async def test_waiting_for_a_place_ends_in_time() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass

    settings = HttpxSettings(max_requests=1, max_wait=Seconds(0.05))
    async with peer(silent) as port, opened(settings) as transport, trio.open_nursery() as nursery:
        nursery.start_soon(call, transport, f"http://127.0.0.1:{port}")
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(httpx.PoolTimeout) as caught:
            await call(transport, f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()

    assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_an_address_that_a_name_hides_is_refused_before_anything_is_sent() -> None:
    """S12, F15."""
    seen = bytearray()

    async def serve(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some():
            seen.extend(data)

    async with peer(serve) as port, opened(HttpxSettings()) as transport:
        with pytest.raises(httpx.ConnectError, match="no address") as caught, trio.fail_after(10):
            await call(transport, f"http://127.1:{port}")
        assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert seen == b""


async def test_a_name_that_hides_a_private_address_is_called_where_the_operator_allows_it() -> None:
    """S12."""

    async def serve(stream: trio.SocketStream) -> None:
        await wait_request(stream)
        await stream.send_all(OK)

    async with peer(serve) as port, opened(HttpxSettings(allow_private=True)) as transport:
        with trio.fail_after(10):
            body, _ = await call(transport, f"http://127.1:{port}")
    assert body == b"ok"


async def test_a_kept_connection_that_dies_unanswered_is_replaced_once() -> None:
    """B30."""
    requests = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal requests
        while await wait_request(stream):
            requests += 1
            if requests == 2:
                return
            await stream.send_all(OK)

    async with peer(serve) as port, opened(HttpxSettings()) as transport:
        for _ in range(3):
            assert (await call(transport, f"http://127.0.0.1:{port}"))[0] == b"ok"
    assert requests == 4


async def test_a_connection_that_is_refused_was_sent_nothing() -> None:
    """B1."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        async with opened(HttpxSettings()) as transport:
            with pytest.raises(httpx.ConnectError) as caught:
                await call(transport, f"http://127.0.0.1:{unused.getsockname()[1]}")

    assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_leaving_in_the_middle_says_nothing_to_the_collector() -> None:
    """Warnings are errors here: an abandoned chain of generators would fail this test."""

    async def serve(stream: trio.SocketStream) -> None:
        await wait_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert await stream.receive_some() == b""

    async with peer(serve) as port, opened(HttpxSettings()) as transport:
        origin = f"http://127.0.0.1:{port}"
        bound = transport.for_credential(Credential(id="a", provider="p", origin=origin))
        for _ in range(10):
            response = await bound.handle_async_request(httpx.Request("POST", origin, content=b"{}"))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert await anext(aiter(response.stream)) == b"one"
            await response.aclose()
            await response.aclose()


async def test_loggers_that_print_secrets_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    """X4, F9."""
    async with peer(always_ok) as port, opened(HttpxSettings()) as transport:
        with caplog.at_level(logging.DEBUG):
            await call(transport, f"http://127.0.0.1:{port}")

    assert "canary" not in caplog.text


async def test_a_credential_with_a_proxy_is_refused() -> None:
    async with opened(HttpxSettings()) as transport:
        with pytest.raises(ValueError, match="proxies"):
            transport.for_credential(
                Credential(id="a", provider="p", origin="http://a.example", proxy_url=Secret("http://b"))
            )
