"""HTTP proxies: a tunnel by CONNECT, for `http://` origins too, so that a proxy never sees a request or its secret."""

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

MAX_HEAD = 16 * 1024
"""Bytes of a proxy's answer."""


@attrs.frozen(kw_only=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        authorization: value of `Proxy-Authorization`, empty without a user.
    """

    scheme: str
    host: str
    port: int
    authorization: bytes = attrs.field(repr=False)

    @classmethod
    def parse(cls, secret: Secret) -> Self:
        """Read `http://[user:password@]host[:port]`, or `https://` for TLS to the proxy; raises ValueError."""
        try:
            url = httpx.URL(secret.reveal())
        except httpx.InvalidURL:
            raise ValueError("the proxy is not a URL") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("a proxy is http://[user:password@]host[:port], or https:// for TLS to the proxy")
        token = base64.b64encode(f"{url.username}:{url.password}".encode()) if url.userinfo else b""
        host = url.raw_host.decode("ascii").strip("[]")
        return cls(scheme=url.scheme, host=host, port=port_of(url), authorization=token and b"Basic " + token)


def usable_proxy(instance: object, attribute: "attrs.Attribute[Secret | None]", value: Secret | None) -> None:
    """Validate a setting that holds a proxy; raises ValueError without showing it."""
    del instance, attribute  # the form of an attrs validator
    if value is not None:
        Proxy.parse(value)


async def open_tunnel(stream: trio.abc.Stream, proxy: Proxy, origin: Origin) -> None:
    """Have the proxy connect this stream to the origin; waits, raises ConnectError and what the stream raises."""
    if names_metadata(origin.host):
        raise failure(httpx.ConnectError, f"{origin.host} must never be connected to", sent=False)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}".encode("ascii")
    lines = [b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target]
    if proxy.authorization:
        lines.append(b"Proxy-Authorization: " + proxy.authorization)
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
