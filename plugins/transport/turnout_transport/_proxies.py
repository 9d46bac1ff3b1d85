"""Proxies: a tunnel by CONNECT or SOCKS 5, for `http://` origins too, so that an HTTP proxy sees no request as its own.

SOCKS is spoken here: the library for it (socksio, of 2020) wants every answer in one piece, which no stream promises.
"""

import base64
from typing import Self

import attrs
import httpx
import trio

from turnout import Secret
from turnout_transport._addresses import names_metadata
from turnout_transport._failures import failure
from turnout_transport._origins import Origin, port_of
from turnout_transport._replies import ReplyParser
from turnout_transport._sockets import READ_SIZE
from turnout_transport._socks import SocksRefused, open_socks

SCHEMES = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5"}

SOCKS_PORT = 1080

MAX_HEAD = 16 * 1024
"""Bytes of a proxy's answer."""


@attrs.frozen(kw_only=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: `http`, `https` or `socks5`.
        user: name and password, None without.
    """

    scheme: str
    host: str
    port: int
    user: tuple[bytes, bytes] | None = attrs.field(repr=False)

    @classmethod
    def parse(cls, secret: Secret) -> Self:
        """Read `http://[user:password@]host[:port]`, `https://` for TLS to the proxy, `socks5://`; raises ValueError.

        `socks5h`, by which some mean that the proxy resolves names, is the same here: it always does.
        """
        try:
            url = httpx.URL(secret.reveal())
        except httpx.InvalidURL:
            raise ValueError("the proxy is not a URL") from None
        scheme = SCHEMES.get(url.scheme)
        if scheme is None or not url.host:
            raise ValueError("a proxy is http://[user:password@]host[:port], https:// for TLS to it, or socks5://")
        user = (url.username.encode(), url.password.encode()) if url.userinfo else None
        if scheme == "socks5" and user is not None and not all(0 < len(part) < 256 for part in user):
            raise ValueError("SOCKS 5 takes a user and a password of 1 to 255 bytes, for a proxy that wants one")
        port = port_of(url) if scheme != "socks5" or url.port is not None else SOCKS_PORT
        if not 0 < port < 65536:
            raise ValueError("the port of a proxy lies between 1 and 65535")
        return cls(scheme=scheme, host=url.raw_host.decode("ascii").strip("[]"), port=port, user=user)


def usable_proxy(instance: object, attribute: "attrs.Attribute[Secret | None]", value: Secret | None) -> None:
    """Validate a setting that holds a proxy; raises ValueError without showing it."""
    del instance, attribute  # the form of an attrs validator
    if value is not None:
        Proxy.parse(value)


def proxy_flaw(proxy: Secret) -> str:
    """Why a proxy cannot be used, without showing it; empty when it can."""
    try:
        Proxy.parse(proxy)
    except ValueError as error:
        return str(error)
    return ""


async def open_tunnel(stream: trio.abc.Stream, proxy: Proxy, origin: Origin) -> None:
    """Have the proxy connect this stream to the origin; waits, raises ConnectError and what the stream raises."""
    if names_metadata(origin.host):
        raise failure(httpx.ConnectError, f"{origin.host} must never be connected to", sent=False)
    if proxy.scheme == "socks5":
        await _open_socks(stream, proxy, origin)
    else:
        await _open_connect(stream, proxy, origin)


async def _open_socks(stream: trio.abc.Stream, proxy: Proxy, origin: Origin) -> None:
    dance = open_socks(origin.host, origin.port, proxy.user)
    try:
        ask, count = next(dance)
        while True:
            if ask:
                await stream.send_all(ask)
            ask, count = dance.send(await _read_exactly(stream, count))
    except StopIteration:
        return
    except SocksRefused as exc:
        raise failure(httpx.ConnectError, f"the proxy opens no tunnel: {exc}", sent=False) from exc


async def _read_exactly(stream: trio.abc.Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            raise SocksRefused("it closed the connection")
        data += piece
    return data


async def _open_connect(stream: trio.abc.Stream, proxy: Proxy, origin: Origin) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}".encode("ascii")
    lines = [b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target]
    if proxy.user is not None:
        lines.append(b"Proxy-Authorization: Basic " + base64.b64encode(b":".join(proxy.user)))
    await stream.send_all(b"\r\n".join([*lines, b"", b""]))
    try:
        status, surplus = await _read_reply(stream)
    except httpx.RemoteProtocolError as exc:
        raise failure(httpx.ConnectError, "the proxy gave no sound answer", sent=False) from exc
    if not 200 <= status < 300 or surplus:
        raise failure(httpx.ConnectError, f"the proxy refused the tunnel with status {status}", sent=False)


async def _read_reply(stream: trio.abc.Stream) -> tuple[int, bytes]:
    parser = ReplyParser(max_header_bytes=MAX_HEAD, max_header_fields=100)
    try:
        while not parser.head_complete:
            data = bytes(await stream.receive_some(READ_SIZE))
            if data:
                parser.feed(data)
            else:
                parser.end()
        return parser.status, parser.take()
    finally:
        parser.close()
