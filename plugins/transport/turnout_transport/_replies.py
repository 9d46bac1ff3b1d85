"""One reply after another out of bytes: llhttp in its strict mode, with caps. No I/O.

The pieces of a body are those of one `feed`, so nothing is held that the caller did not ask for.
"""

import httptools
import httpx

from turnout_transport._failures import failure

MAX_INFORMATIONAL = 8
"""Replies 1xx before the real one (acceptance, section 4): real servers send one or two."""

PIECE_BYTES = 64
"""What a piece takes beside its bytes, however few they are."""

_LENGTH, _CODING = b"content-length", b"transfer-encoding"

_FRAMING_LENGTHS = frozenset({len(_LENGTH), len(_CODING)})


class ReplyParser:
    """Reads the replies of one connection.

    Attributes:
        status: of the reply being read, 0 before its head came.
        headers: its fields as they came, in order; trailers are dropped.
        answered: a byte of the answer to the current request came.
        head_complete, complete: how far it is.
        keep_alive: once complete: another request may follow, and nothing but the reply came.
        pieces: of the body that came and were not taken.
    """

    __slots__ = (
        "_barren", "_bodiless", "_informational", "_max_bytes", "_max_fields", "_parser", "_until_close",
        "answered", "complete", "fault", "head_complete", "headers", "keep_alive", "pieces",
        "status",
    )  # fmt: skip

    def __init__(self, *, max_header_bytes: int, max_header_fields: int) -> None:
        self._max_bytes = max_header_bytes
        self._max_fields = max_header_fields
        self._parser = httptools.HttpResponseParser(self)
        self.start()

    def start(self, *, bodiless: bool = False) -> None:
        """Get ready for the reply to the next request."""
        self._bodiless = bodiless
        self._informational = 0
        self._barren = 0
        self.pieces: list[bytes] = []
        self.answered = False
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        self.fault = ""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._until_close = True

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer; raises RemoteProtocolError when they are not a sound reply."""
        self.answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fault = "switched protocols unasked (101)"
        except httptools.HttpParserError as exc:
            self._garbage(exc)
        if self.fault:
            self.keep_alive = False
            raise failure(httpx.RemoteProtocolError, f"the upstream {self.fault}", sent=True)
        if self.pieces or self.complete:
            self._barren = 0
        else:
            self._count_barren(len(data))

    def end(self) -> None:
        """The peer closed; raises RemoteProtocolError when something of the reply is missing."""
        if self.head_complete and self._until_close:
            self.complete = True
        elif not self.answered:
            raise failure(httpx.RemoteProtocolError, "the upstream closed without an answer", sent=True)
        elif not self.complete:
            raise failure(httpx.RemoteProtocolError, "the upstream closed in the middle of its reply", sent=True)

    def take(self) -> bytes:
        """The body bytes that came since the last call."""
        pieces = self.pieces
        if len(pieces) == 1:
            return pieces.pop()
        data = b"".join(pieces)
        pieces.clear()
        return data

    def held(self) -> int:
        """About how much memory the untaken pieces take, in bytes."""
        return sum(map(len, self.pieces)) + PIECE_BYTES * len(self.pieces)

    def close(self) -> None:
        """Part from llhttp, which holds our methods: without this the two wait for the cycle collector. Once only."""
        del self._parser

    def _garbage(self, exc: httptools.HttpParserError) -> None:
        if self.complete:
            self.keep_alive = False  # the reply is whole; what follows it is not our request's business
        elif not self.fault:
            self.fault = f"sent a malformed reply: {exc}"

    def _count_barren(self, count: int) -> None:
        # One cap for whatever can go on for ever without a byte for the caller: a head, a line of it, chunk
        # extensions, trailers.
        self._barren += count
        if self._barren > self._max_bytes:
            raise failure(httpx.RemoteProtocolError, "the upstream sent a head without end", sent=True)

    # What llhttp calls. An exception here would be wrapped by httptools, hence `fault`.

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False  # a reply that nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._note_informational()
            return
        self.head_complete = True
        self._check_head()
        if self._bodiless:
            self.complete = True

    def _check_head(self) -> None:
        size = 4 * len(self.headers)
        for name, value in self.headers:
            length = len(name)
            size += length + len(value)
            if length in _FRAMING_LENGTHS:  # few other names are looked at: 0.3 µs less for a head of ten
                self._note_framing(name.lower(), value)
        if len(self.headers) > self._max_fields or size > self._max_bytes:
            self.fault = f"sent more than {self._max_fields} header fields or {self._max_bytes} bytes of them"
        version = self._parser.get_http_version()
        if version != "1.1" and not version.startswith("1."):
            self.fault = "answered in another version of HTTP"

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == _LENGTH:
            self._until_close = False
        elif name == _CODING:
            self._until_close = False
            if value.strip().lower() != b"chunked":
                self.fault = "used a transfer coding other than chunked"

    def _note_informational(self) -> None:
        self._informational += 1
        if self.status == 101:
            self.fault = "switched protocols unasked (101)"
        elif self._informational > MAX_INFORMATIONAL:
            self.fault = f"sent more than {MAX_INFORMATIONAL} informational replies"

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        if self.complete:
            return
        if self.status < 200:
            self.headers = []
        else:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()
