"""The transport `pool` through a SOCKS 5 proxy (RFC 1928, RFC 1929)."""

import ipaddress
import ssl
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from peers import OK, Serve, always_ok, call, peer, read_request

from turnout import Credential, Secret
from turnout_transport import Pool, PoolSettings

GRANTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"


def bound(pool: Pool, origin: str, proxy: str) -> httpx.AsyncBaseTransport:
    return pool.for_credential(Credential(id="a", provider="p", origin=origin, proxy_url=Secret(proxy)))


async def take(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        assert piece, data
        data += piece
    return data


def socks(
    seen: list[bytes],
    *,
    method: bytes = b"\x05\x00",
    login: bytes = b"\x01\x00",
    answer: bytes = GRANTED,
    behind: Serve = always_ok,
) -> Serve:
    """A proxy that answers so, each octet in a piece of its own, and serves what it should have connected to."""

    async def say(stream: trio.SocketStream, data: bytes) -> None:
        for octet in data:
            await stream.send_all(bytes([octet]))
            await trio.lowlevel.checkpoint()

    async def serve(stream: trio.SocketStream) -> None:
        version, count = await take(stream, 2)
        assert version == 5
        seen.append(await take(stream, count))
        await say(stream, method)
        if method[1] == 2:
            _, count = await take(stream, 2)
            name = await take(stream, count)
            (count,) = await take(stream, 1)
            seen.append(name + b":" + await take(stream, count))
            await say(stream, login)
        head = await take(stream, 4)
        length = {1: 4, 4: 16}.get(head[3]) or (await take(stream, 1))[0]
        seen.append(head + await take(stream, length + 2))
        await say(stream, answer)
        await behind(stream)

    return serve


@pytest.mark.parametrize(
    ("origin", "asked"),
    [
        ("http://a.example", b"\x05\x01\x00\x03a.example\x00\x50"),
        ("http://192.0.2.7:8080", b"\x05\x01\x00\x01\xc0\x00\x02\x07\x1f\x90"),
        ("http://[2001:db8::7]", b"\x05\x01\x00\x04" + ipaddress.ip_address("2001:db8::7").packed + b"\x00\x50"),
    ],
)
async def test_a_socks_proxy_is_told_whither_and_resolves_names_itself(origin: str, asked: bytes) -> None:
    seen: list[bytes] = []
    async with peer(socks(seen)) as proxy:
        pool = Pool(PoolSettings())
        transport = bound(pool, origin, proxy.replace("http:", "socks5:"))
        for _ in range(3):
            assert await call(transport, origin) == b"ok"
        pool.close()

    assert seen == [b"\x00", asked]


async def test_a_socks_proxy_that_wants_a_user_is_shown_it() -> None:
    seen: list[bytes] = []
    async with peer(socks(seen, method=b"\x05\x02")) as proxy:
        pool = Pool(PoolSettings())
        transport = bound(pool, "http://a.example", proxy.replace("http://", "socks5h://user:pass%20word@"))
        assert await call(transport, "http://a.example") == b"ok"
        pool.close()

    assert seen[:2] == [b"\x00\x02", b"user:pass word"]


@pytest.mark.parametrize(
    "answer",
    [
        b"\x05\x00\x00\x03\x05proxy\x00\x50",
        b"\x05\x00\x00\x04" + bytes(16) + b"\x00\x50",
    ],
    ids=["a name", "IPv6"],
)
async def test_whatever_kind_of_address_it_answers_with_what_follows_is_the_origins(answer: bytes) -> None:
    async with peer(socks([], answer=answer)) as proxy:
        pool = Pool(PoolSettings())
        transport = bound(pool, "http://a.example", proxy.replace("http:", "socks5:"))
        assert await call(transport, "http://a.example") == b"ok"
        pool.close()


REFUSALS = {
    "no SOCKS 5": ({"method": b"\x04\x00"}, "", "does not speak SOCKS 5"),
    "HTTP": ({"method": b"HT"}, "", "does not speak SOCKS 5"),
    "no way": ({"method": b"\x05\xff"}, "canary-user:canary@", "no way to show it a user"),
    "user unasked": ({"method": b"\x05\x02"}, "", "wants a user"),
    "another user": ({"method": b"\x05\x02", "login": b"\x01\x01"}, "canary-user:canary@", "does not take this user"),
    "unreachable": ({"answer": b"\x05\x04\x00\x01" + bytes(6)}, "", "host is unreachable"),
    "no reason": ({"answer": b"\x05\x63\x00\x01" + bytes(6)}, "", "does not say why"),
    "strange address": ({"answer": b"\x05\x00\x00\x09" + bytes(6)}, "", "no known kind"),
}


@pytest.mark.parametrize(("how", "user", "why"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_socks_proxy_that_refuses_is_a_connect_error_and_sees_no_secret(
    how: dict[str, bytes], user: str, why: str
) -> None:
    behind: list[bytes] = []

    async def listen(stream: trio.SocketStream) -> None:
        behind.append(await read_request(stream))

    async with peer(socks([], behind=listen, **how)) as proxy:
        pool = Pool(PoolSettings())
        transport = bound(pool, "http://a.example", proxy.replace("http://", f"socks5://{user}"))
        with pytest.raises(httpx.ConnectError, match=why) as caught:
            await call(transport, "http://a.example")
        pool.close()

    assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert "canary" not in str(caught.value)
    assert b"canary" not in b"".join(behind)


async def test_a_socks_proxy_that_says_nothing_is_waited_for_until_the_connect_limit() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass

    async with peer(silent) as proxy:
        pool = Pool(PoolSettings(), connect_limit=0.2)
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await call(bound(pool, "http://a.example", proxy.replace("http:", "socks5:")), "http://a.example")
        pool.close()

    assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_a_socks_proxy_is_not_asked_for_a_metadata_address() -> None:
    """S12."""
    seen: list[bytes] = []
    async with peer(socks(seen)) as proxy:
        pool = Pool(PoolSettings())
        origin = "http://169.254.169.254"
        with pytest.raises(httpx.ConnectError, match="never"):
            await call(bound(pool, origin, proxy.replace("http:", "socks5:")), origin)
        pool.close()

    assert seen == []


async def test_tls_goes_through_a_socks_proxy_to_the_origin_itself(tmp_path: Path) -> None:
    """B4, S57: the certificate is the origin's, and the proxy sees nothing of the request."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.example").configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True)
        assert b"canary" in await tls.receive_some()
        await tls.send_all(OK)
        await tls.receive_some()

    async with peer(socks([], behind=serve)) as proxy:
        pool = Pool(PoolSettings(ca_file=str(tmp_path / "ca.pem")))
        for host, served in (("a.example", True), ("b.example", False)):
            transport = bound(pool, f"https://{host}", proxy.replace("http:", "socks5:"))
            if served:
                assert await call(transport, f"https://{host}") == b"ok"
            else:
                with pytest.raises(httpx.ConnectError, match="certificate"):
                    await call(transport, f"https://{host}")
        pool.close()
