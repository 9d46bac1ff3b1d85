"""The pure parts of the transport: requests to bytes, bytes to replies, addresses, origins."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Secret
from turnout_transport._addresses import METADATA, is_written_out, may_connect, names_metadata
from turnout_transport._origins import Origin
from turnout_transport._proxies import Proxy
from turnout_transport._replies import MAX_INFORMATIONAL, ReplyParser
from turnout_transport._requests import encode

ORIGIN = Origin.parse("https://api.example.com")


def parser(**changes: int) -> ReplyParser:
    return ReplyParser(**{"max_header_bytes": 65536, "max_header_fields": 256, **changes})


def read(*pieces: bytes, bodiless: bool = False) -> ReplyParser:
    reply = parser()
    reply.start(bodiless=bodiless)
    for piece in pieces:
        reply.feed(piece)
    return reply


def head_of(request: httpx.Request) -> bytes:
    return encode(request, ORIGIN).head


# Requests


def test_a_request_has_our_host_and_our_framing() -> None:
    request = httpx.Request("POST", "https://api.example.com/v1/x?y=1", content=b"hello", headers={"X-A": "b"})

    message = encode(request, ORIGIN)

    assert message.head.startswith(b"POST /v1/x?y=1 HTTP/1.1\r\nHost: api.example.com\r\n")
    assert b"\r\nX-A: b\r\n" in message.head
    assert message.head.endswith(b"Content-Length: 5\r\n\r\n")
    assert message.head.lower().count(b"content-length") == 1
    assert message.body == b"hello"
    assert message.replayable


@pytest.mark.parametrize(
    "field",
    [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
    ],
)
def test_fields_that_frame_or_belong_to_one_connection_are_ours(field: str) -> None:
    request = httpx.Request("POST", "https://api.example.com/", content=b"hello", headers=[(field, "canary")])

    assert b"canary" not in head_of(request)


@pytest.mark.parametrize("octet", ["\r", "\n", "\r\n", "\0", "\x0b", "\x7f", "\r\nX-Evil: 1", "\n\n"])
def test_a_control_character_in_a_value_is_refused(octet: str) -> None:
    """S51, B28."""
    request = httpx.Request("GET", "https://api.example.com/", headers=[("X-A", f"a{octet}b")])

    with pytest.raises(httpx.LocalProtocolError) as caught:
        head_of(request)

    assert caught.value.request_sent is False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä", "content-length "])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    """S51."""
    request = httpx.Request("GET", "https://api.example.com/", headers=[(name.encode(), b"1")])

    with pytest.raises(httpx.LocalProtocolError):
        head_of(request)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_header_ever_adds_a_line(name: bytes, value: bytes) -> None:
    """S51."""
    request = httpx.Request("GET", "https://api.example.com/", headers=[(name, value)])
    try:
        head = head_of(request)
    except httpx.LocalProtocolError:
        return

    assert len(head.split(b"\r\n")) <= 5
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n") <= 4


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GE T", "", "GET\r\n"])
def test_methods_that_tunnel_echo_or_split_are_refused(method: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        head_of(httpx.Request(method, "https://api.example.com/"))


def test_an_empty_post_says_that_it_is_empty() -> None:
    assert b"Content-Length: 0\r\n" in head_of(httpx.Request("POST", "https://api.example.com/"))
    assert b"Content-Length" not in head_of(httpx.Request("GET", "https://api.example.com/"))


async def test_a_streamed_body_is_chunked_and_cannot_be_replayed() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"hello"
        yield b""
        yield b"x" * 16

    message = encode(httpx.Request("POST", "https://api.example.com/", content=pieces()), ORIGIN)

    assert message.head.endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert not message.replayable
    assert not isinstance(message.body, bytes)
    assert [piece async for piece in message.body] == [
        b"5\r\nhello\r\n",
        b"10\r\n" + b"x" * 16 + b"\r\n",
        b"0\r\n\r\n",
    ]


# Replies


def test_a_reply_is_read_however_it_is_cut() -> None:
    whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"
    for cut in range(1, len(whole)):
        reply = read(whole[:cut], whole[cut:])

        assert (reply.status, reply.complete, reply.keep_alive) == (200, True, True)
        assert reply.headers == [(b"X-A", b"b"), (b"Content-Length", b"5")]
        assert reply.take() == b"hello"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_a_chunked_body_survives_any_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=10)))
    reply = parser()
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        assert not reply.complete
        reply.feed(whole[start:end])
        got += reply.take()

    assert reply.complete
    assert reply.keep_alive
    assert got == b"".join(pieces)


def test_replies_follow_each_other_on_one_connection() -> None:
    reply = parser()
    for number in range(3):
        reply.start()
        reply.feed(b"HTTP/1.1 200 OK\r\nX-N: %d\r\nContent-Length: 1\r\n\r\n%d" % (number, number))

        assert reply.headers[0] == (b"X-N", b"%d" % number)
        assert reply.take() == b"%d" % number
        assert reply.keep_alive


def test_the_pieces_of_one_read_come_as_one() -> None:
    reply = read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")

    assert reply.take() == b"abc"
    assert reply.take() == b""


@pytest.mark.parametrize(
    "surplus",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"garbage", b"\0", b"HTTP/1.1 200 OK\r\nContent-Len"],
)
def test_a_connection_with_surplus_bytes_is_not_kept(surplus: bytes) -> None:
    reply = read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + surplus)

    assert reply.complete
    assert not reply.keep_alive
    assert reply.take() == b"hi"
    assert reply.status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_reply_that_says_so_ends_the_connection(head: bytes) -> None:
    reply = read(head)

    assert reply.complete
    assert not reply.keep_alive


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reply = read(b"HTTP/1.1 200 OK\r\n\r\n", b"some", b"thing")
    assert not reply.complete

    reply.end()

    assert reply.complete
    assert not reply.keep_alive
    assert reply.take() == b"something"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_a_reply_that_is_cut_off_is_no_reply(data: bytes) -> None:
    """B12, B13, B29."""
    reply = read(data) if data else read()

    with pytest.raises(httpx.RemoteProtocolError) as caught:
        reply.end()

    assert caught.value.request_sent is True  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_what_is_no_sound_reply_is_refused(data: bytes) -> None:
    """B13, B18, B28."""
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        read(data)

    assert caught.value.request_sent is True  # type: ignore[attr-defined]


@given(st.binary(max_size=300))
def test_garbage_never_raises_anything_else(data: bytes) -> None:
    """B14, J2."""
    reply = parser()
    try:
        reply.feed(b"HTTP/1.1 200 OK\r\n" + data)
        reply.end()
    except httpx.RemoteProtocolError:
        pass


@pytest.mark.parametrize(("count", "sound"), [(1, True), (MAX_INFORMATIONAL, True), (MAX_INFORMATIONAL + 1, False)])
def test_informational_replies_are_skipped_up_to_a_limit(count: int, sound: bool) -> None:
    """B18."""
    reply = parser()
    try:
        for _ in range(count):
            reply.feed(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        reply.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except httpx.RemoteProtocolError:
        assert not sound
    else:
        assert sound
        assert reply.complete
        assert reply.headers == [(b"Content-Length", b"0")]


def test_five_thousand_informational_replies_in_one_read_are_refused() -> None:
    """B18, F8."""
    with pytest.raises(httpx.RemoteProtocolError):
        read(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000)


def test_too_many_fields_and_too_large_heads_are_refused() -> None:
    """B28."""
    with pytest.raises(httpx.RemoteProtocolError, match="256 header fields"):
        read(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(1500)) + b"\r\n")
    with pytest.raises(httpx.RemoteProtocolError):
        read(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n")


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nX-A: ",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
    ],
)
def test_nothing_but_a_body_may_go_on_for_ever(start: bytes) -> None:
    """B16, B28: a header line, a reason, a chunk extension or a trailer without end."""
    endless = [start, *[b"a" * 1024] * 100]

    with pytest.raises(httpx.RemoteProtocolError):
        read(*endless)


def test_trailers_are_dropped() -> None:
    reply = read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: b\r\n\r\n")

    assert reply.complete
    assert reply.headers == [(b"Transfer-Encoding", b"chunked")]


def test_the_reply_to_head_has_no_body() -> None:
    reply = read(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", bodiless=True)

    assert reply.complete
    assert not reply.keep_alive


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_end_at_their_head(status: int) -> None:
    reply = read(b"HTTP/1.1 %d X\r\n\r\n" % status)

    assert reply.complete
    assert reply.keep_alive


# Addresses


PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::1", "::", "fd00::1",  # noqa: S104
    "fe80::1", "fe80::1%eth0", "169.254.1.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::1", "198.18.0.1", "240.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_permission(address: str) -> None:
    """S12."""
    assert not may_connect(address, private=False)


@pytest.mark.parametrize(
    "address", [*sorted(map(str, METADATA)), "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "224.0.0.1"]
)
def test_metadata_addresses_are_never_connected_to(address: str) -> None:
    """S12."""
    assert not may_connect(address, private=True)
    assert names_metadata(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "104.18.7.192", "2606:4700::6812:7c0", "::ffff:1.1.1.1"])
def test_public_addresses_are_open(address: str) -> None:
    assert may_connect(address, private=False)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "10.1.2.3", "::1"])
def test_an_address_written_out_was_meant(host: str) -> None:
    assert is_written_out(host)


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f000001", "2130706433", "0", "017700000001", "api.example.com", "localhost.evil.com", "127.0.0.01"],
)
def test_other_spellings_are_names(host: str) -> None:
    """F15, S12."""
    assert not is_written_out(host)


# Origins and proxies


def test_an_origin_covers_its_own_urls_only() -> None:
    """S11."""
    for url in ("https://api.example.com/a?b", "https://API.example.com:443/", "HTTPS://api.example.com"):
        assert ORIGIN.covers(httpx.URL(url))
    for url in (
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://api.example.com.evil.com/",
        "https://example.com/",
        "https://evil@api2.example.com/",
        "/relative",
    ):
        assert not ORIGIN.covers(httpx.URL(url))


@given(st.text(max_size=30))
def test_text_in_front_of_a_host_never_passes_for_the_origin(text: str) -> None:
    """S11: whatever is covered is addressed to the very same host and port."""
    try:
        url = httpx.URL(f"https://{text}")
    except httpx.InvalidURL:
        return

    if ORIGIN.covers(url):
        assert url.raw_host == b"api.example.com"
        assert url.port in {None, 443}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.example.com",
        "ftp://a",
        "https://",
        "https://a/path",
        "https://u:p@a",
        "https://a?b",
        "x" * 99,
        "http://a:0",
        "http://a:65536",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        Origin.parse(text)


def test_an_origin_shows_itself_whole() -> None:
    assert str(Origin.parse("http://[::1]:8080")) == "http://[::1]:8080"
    assert str(ORIGIN) == "https://api.example.com:443"
    assert ORIGIN.authority == b"api.example.com"
    assert Origin.parse("http://[::1]:8080").authority == b"[::1]:8080"


def test_a_proxy_is_read_and_never_shown() -> None:
    proxy = Proxy.parse(Secret("http://user:canary@proxy.corp:3128"))

    assert (proxy.scheme, proxy.host, proxy.port) == ("http", "proxy.corp", 3128)
    assert proxy.user == (b"user", b"canary")
    assert "canary" not in repr(proxy)


@pytest.mark.parametrize("text", ["socks5://proxy.corp", "socks5h://proxy.corp:1080"])
def test_a_socks_proxy_is_read(text: str) -> None:
    proxy = Proxy.parse(Secret(text))

    assert (proxy.scheme, proxy.host, proxy.port, proxy.user) == ("socks5", "proxy.corp", 1080, None)


@pytest.mark.parametrize(
    "text",
    ["socks5://canary@a", f"socks5://canary:{'p' * 256}@a", "socks4://canary@a", "canary", "ftp://canary", "http://"],
)
def test_what_is_no_proxy_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        Proxy.parse(Secret(text))

    assert "canary" not in str(caught.value)
