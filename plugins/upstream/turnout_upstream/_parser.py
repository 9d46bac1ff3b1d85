"""Requests out of bytes: httptools' parser, and a look at the body."""

import json
from collections import deque
from functools import lru_cache
from typing import final

import attrs
import httptools

PEEK_LIMIT = 65536
"""Larger bodies are read anew each time rather than kept in the memo of `_peeked`."""


class BadRequest(Exception):
    """The peer does not speak HTTP/1.1 as we know it."""


@final
@attrs.frozen
class Peek:
    """What a body says about its request."""

    model: str | None = None
    stream: bool = False
    usage: bool = False


NOTHING = Peek()


@final
@attrs.define
class Head:
    """A request, its body still growing."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    key: str | None
    expects: bool
    body: bytearray = attrs.Factory(bytearray)
    whole: bool = False


@final
class Parser:
    """Feed it bytes; complete requests wait in `ready`, one that is still arriving is `arriving`."""

    def __init__(self) -> None:
        self.ready: deque[Head] = deque()
        self.arriving: Head | None = None
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._http = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes in; raises BadRequest."""
        try:
            self._http.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BadRequest from error

    # Called by httptools

    def on_message_begin(self) -> None:
        self._target = b""
        self._fields = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        path, _, query = self._target.decode("latin-1").partition("?")
        headers = _texts(tuple(self._fields))
        key, expects = _judged(headers)
        self.arriving = Head(self._http.get_method().decode("ascii"), path, query, headers, key, expects)

    def on_body(self, data: bytes) -> None:
        if self.arriving is not None:
            self.arriving.body += data

    def on_message_complete(self) -> None:
        if self.arriving is not None:
            self.arriving.whole = True
            self.ready.append(self.arriving)
            self.arriving = None


@lru_cache(maxsize=512)
def _texts(fields: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[str, str], ...]:
    """Header fields as text; a client sends the same ones again and again."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


@lru_cache(maxsize=512)
def _judged(headers: tuple[tuple[str, str], ...]) -> tuple[str | None, bool]:
    """The key that a request carries, and whether it waits for `100 Continue`."""
    fields = dict(headers)
    scheme, _, token = fields.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    key = bearer or fields.get("x-api-key") or fields.get("x-goog-api-key")
    return key, fields.get("expect", "").lower() == "100-continue"


def peek(body: bytes) -> Peek:
    """Model and stream flag of a JSON body; nothing when it is not such a body."""
    if not body:
        return NOTHING
    return _peeked(body) if len(body) <= PEEK_LIMIT else _peeked.__wrapped__(body)


@lru_cache(maxsize=256)
def _peeked(body: bytes) -> Peek:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return NOTHING
    if not isinstance(value, dict):
        return NOTHING
    model, options = value.get("model"), value.get("stream_options")
    return Peek(
        model if isinstance(model, str) else None,
        value.get("stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
    )
