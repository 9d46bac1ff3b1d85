"""Which requests are framed and addressed so that nobody in front of us can read them differently (S5, S50).

Both servers parse strictly already; these rules hold whichever of them runs, and close what each leaves open.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from turnout_http._refusals import Refusal

Head = dict[bytes, bytes]

_ONCE = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"content-encoding",
        b"origin",
        b"upgrade",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-protocol",
    }
)

_LISTS = frozenset({b"anthropic-beta", b"openai-beta"})
"""Go upstream, and may come as several lines that mean one list (RFC 9110, 5.3). Anthropic's reference says so of its
own; the others that go upstream have one value each."""

_SOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
"""16 bytes in base64."""

_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding", b"expect"})

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Headers as a mapping, the first of each name, or the whole list; raises Refusal for two of what is ambiguous."""
    head: Head = {}
    for name, value in headers:
        if name not in head:
            head[name] = value
        elif name in _ONCE:
            raise _malformed(f"two {name.decode()} headers")
        elif name in _LISTS:
            head[name] += b", " + value
    return head


def check_framing(scope: Mapping[str, Any], head: Head) -> None:
    """Raise Refusal for what has no single reading, or asks for what this server is not."""
    if scope["http_version"] not in {"1.1", "1.0", "2"}:
        raise _malformed("its version of HTTP is not spoken here")
    if scope["method"] in {"CONNECT", "TRACE"}:
        raise Refusal("method_not_allowed", "this is no proxy", close=True, headers=((b"allow", b"GET, HEAD, POST"),))
    if b"transfer-encoding" in head and (
        b"content-length" in head
        or scope["http_version"] != "1.1"
        or head[b"transfer-encoding"].strip().lower() != b"chunked"  # llhttp takes any list that ends with it
    ):
        raise _malformed("a body has either a content-length or transfer-encoding: chunked")
    if b"upgrade" in head and not is_websocket(scope, head):
        raise _malformed("there is nothing to upgrade to")
    if b"host" not in head:
        raise _malformed("the host header is missing")
    path = scope["raw_path"]
    if path[:1] != b"/" or (b"%" in path and _BROKEN_ESCAPE.search(path)):
        raise _malformed("the path must begin with / and hold whole escapes")


def unquoted(raw_path: bytes) -> str:
    """A path with its escapes resolved; bytes that are no UTF-8 are replaced, and so belong to no page."""
    path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    return path.decode("utf-8", "replace")


def is_websocket(scope: Mapping[str, Any], head: Head) -> bool:
    """Whether a request with an `Upgrade` header is the sound opening of a websocket (RFC 6455, 4.2.1)."""
    return (
        scope["method"] == "GET"
        and scope["http_version"] == "1.1"
        and head[b"upgrade"].strip().lower() == b"websocket"
        and b"upgrade" in {token.strip() for token in head.get(b"connection", b"").lower().split(b",")}
        and head.get(b"sec-websocket-version", b"").strip() == b"13"
        and _SOCKET_KEY.fullmatch(head.get(b"sec-websocket-key", b"").strip()) is not None
        and not head.keys() & _OF_A_BODY
    )


def _malformed(what: str) -> Refusal:
    return Refusal("bad_request", f"malformed request: {what}", close=True)
