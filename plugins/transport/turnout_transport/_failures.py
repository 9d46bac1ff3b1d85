"""Failures of a transport: httpx's own classes, marked with how far the request got.

`exc.request_sent` is False when not one byte of the request was handed to the network, so that trying again can bill
nobody twice, and True when some of it may have arrived. Texts name hosts and reasons, never a URL, a header or a body.
"""

import httpx


def failure(kind: type[httpx.TransportError], text: str, *, sent: bool) -> httpx.TransportError:
    """An exception of this kind that says whether anything of the request was sent."""
    exc = kind(text)
    exc.request_sent = sent  # type: ignore[attr-defined]  # httpx has no such field; `turnout_wire` reads it
    return exc


def mark_sent(exc: httpx.TransportError) -> None:
    """Correct a failure: an earlier try of the same request may have arrived."""
    exc.request_sent = True  # type: ignore[attr-defined]  # as above
