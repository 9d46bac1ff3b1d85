"""Failures of the way to an upstream to verdicts: one table over the exceptions of httpx, Trio and the system.

A test fails when httpx grows an exception that is in none of the lists here. The text of a foreign exception is never
used (pitfall X4: it may hold a URL with a key, or nothing at all): its class name says enough.
"""

import ssl
from collections.abc import Mapping

import httpx
import trio

from turnout import Failed, Failure, Phase, Protocol, Sent, TimedOut, Unreachable

UPSTREAM_EXCEPTIONS: tuple[type[Exception], ...] = (
    httpx.HTTPError,
    httpx.InvalidURL,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    OSError,
)
"""What a provider catches around its exchange with an upstream and hands to `verdict_of_exception`."""

PROGRAMMING_ERRORS: tuple[type[Exception], ...] = (httpx.StreamError, httpx.CookieConflict)
"""What httpx raises when it is used wrongly: a bug of the provider, never an upstream's failure."""

NOT_SENT: Mapping[type[Exception], type[Failure]] = {
    httpx.ConnectError: Unreachable,
    httpx.ConnectTimeout: TimedOut,
    httpx.PoolTimeout: Failed,  # ours: a limit of our own connections, which speaks against nobody (D8)
    httpx.ProxyError: Unreachable,
    httpx.UnsupportedProtocol: Failed,  # ours: a URL that no transport takes
    httpx.LocalProtocolError: Failed,  # ours: a header that may not be sent
    httpx.InvalidURL: Failed,
    ConnectionRefusedError: Unreachable,
    ssl.SSLError: Unreachable,
}
"""Raised before a byte of the request left: nobody can be billed twice."""

PERHAPS_SENT: Mapping[type[Exception], type[Failure]] = {
    httpx.ReadTimeout: TimedOut,
    httpx.WriteTimeout: TimedOut,
    httpx.TimeoutException: TimedOut,
    httpx.ReadError: Protocol,  # reset after the request: B6 names it a broken protocol
    httpx.WriteError: Protocol,
    httpx.CloseError: Protocol,
    httpx.NetworkError: Protocol,
    httpx.RemoteProtocolError: Protocol,
    httpx.ProtocolError: Protocol,
    httpx.DecodingError: Protocol,
    httpx.TooManyRedirects: Protocol,
    httpx.HTTPStatusError: Protocol,
    httpx.TransportError: Unreachable,
    httpx.RequestError: Unreachable,
    httpx.HTTPError: Unreachable,
    trio.BrokenResourceError: Protocol,
    trio.ClosedResourceError: Protocol,
    trio.TooSlowError: TimedOut,
    OSError: Unreachable,
}
"""Raised when at least a part of the request may have left."""


def verdict_of_exception(exc: Exception, *, answered: bool = False, phase: Phase = Phase.HEADERS) -> Failure:
    """What an exception of the transport means.

    A transport that knows better how far the request got says so in `exc.request_sent`, a bool.

    Args:
        exc: one of `UPSTREAM_EXCEPTIONS`; anything else is a bug and raises TypeError from it.
        answered: the status line had come; then the request was surely taken.
        phase: which limit a time-out speaks of, unless it came about while connecting.
    """
    found, nothing_left = _row(exc)
    nothing_left = not getattr(exc, "request_sent", not nothing_left)
    sent = Sent.ANSWERED if answered else Sent.NO if nothing_left else Sent.MAYBE
    message = f"{'answer' if answered else 'exchange'} failed: {type(exc).__name__}"
    if found is TimedOut:
        return TimedOut(
            message=message, sent=sent, phase=Phase.CONNECT if isinstance(exc, httpx.ConnectTimeout) else phase
        )
    return found(message=message, sent=sent)


def _row(exc: Exception) -> tuple[type[Failure], bool]:
    """The verdict of the nearest class up the line, and whether it stands in `NOT_SENT`."""
    for kind in type(exc).__mro__:
        if kind in NOT_SENT:
            return NOT_SENT[kind], True
        if kind in PERHAPS_SENT:
            return PERHAPS_SENT[kind], False
    raise TypeError(f"{type(exc).__name__} is not an upstream's failure") from exc
