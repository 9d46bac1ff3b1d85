"""Reading a request body: capped, and with deadlines that a dripping client cannot stretch (C-7, C-8)."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import trio

from turnout_http._refusals import Refusal
from turnout_http._settings import ClientLimits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MOST_VALUES = 1_000_000
"""Elements and members that a body may hold, and texts where it holds so many. Decoded, a value of three bytes takes
72: 31 MiB of `[]` took 860 MB, and held up everybody for seconds. A million take half a second at worst. Vendors allow
fewer: 100,000 messages (Anthropic) and 300,000 tokens to embed (OpenAI), by their SDKs of November 2026."""


async def read_body(receive: Receive, head: Mapping[bytes, bytes], limits: ClientLimits) -> bytes:
    """The whole body. Waits for it; raises Refusal with 400, 408, 413 or 415.

    A client that leaves half-way gets 400 too: the server drops it when nobody is left to read it.
    """
    if head.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(
            "unsupported_media_type", "send the body uncompressed: content-encoding must be identity", close=True
        )
    length = head.get(b"content-length", b"")
    if length.isdigit() and int(length) > limits.body_bytes:
        raise _too_large(limits)
    began = trio.current_time()
    with trio.CancelScope(deadline=began + limits.body_idle) as scope:
        message = await receive()
        if not message.get("more_body") and message["type"] == "http.request":
            return _whole(message.get("body", b""), limits)
        return await _collect(message, receive, limits, scope, began)
    raise Refusal("timeout", "the body did not arrive in time", close=True)


def is_plain(head: Mapping[bytes, bytes], body: bytes, limits: ClientLimits) -> bool:
    """Whether a body that is here already needs none of the judging of `read_body`."""
    return b"content-encoding" not in head and len(body) <= limits.body_bytes


def check_values(body: bytes) -> None:
    """Raise Refusal with 413 for a body that holds more than MOST_VALUES; whether it is JSON is not asked.

    What stands within texts does not count: it is looked at once more without them when there are many marks in all.
    """
    if len(body) <= MOST_VALUES or _marks(body) <= MOST_VALUES:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 2 * MOST_VALUES or _marks(b"".join(plain.split(b'"')[::2])) > MOST_VALUES:
        raise Refusal("too_large", f"the body holds more than {MOST_VALUES} values")


def _marks(text: bytes) -> int:
    """At least the number of values: each but the first of its list or object has a comma before it."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


async def _collect(
    message: Message, receive: Receive, limits: ClientLimits, scope: trio.CancelScope, began: float
) -> bytes:
    """The body from its first piece on; moves the scope's deadline with every piece."""
    pieces: list[bytes] = []  # joined once: a growing bytearray copies each byte three times (5 % of a 300 KB call)
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Refusal("bad_request", "the body is broken off, or its framing is malformed", close=True)
        if piece := message.get("body", b""):
            pieces.append(piece)
            size += len(piece)
        if size > limits.body_bytes:
            raise _too_large(limits)
        if not message.get("more_body"):
            return b"".join(pieces)
        # Late bytes buy time only at the least rate: a drip of single bytes never does.
        earned = began + limits.body_idle + size / limits.body_rate
        scope.deadline = min(trio.current_time() + limits.body_idle, earned, began + limits.body_total)
        message = await receive()


def _whole(body: bytes, limits: ClientLimits) -> bytes:
    if len(body) > limits.body_bytes:
        raise _too_large(limits)
    return body


def _too_large(limits: ClientLimits) -> Refusal:
    return Refusal("too_large", f"the body is larger than {limits.body_bytes} bytes", close=True)
