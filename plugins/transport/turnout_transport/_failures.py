"""Failures of a transport: httpx's own classes, marked with how far the request got.

`exc.request_sent` is False when not one byte of the request was handed to the network, so that trying again can bill
nobody twice, and True when some of it may have arrived. Texts name hosts and reasons, never a URL, a header or a body.
"""

import errno
import socket

import httpx

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, socket.EAI_MEMORY})
"""What the system says when this machine has no descriptor, memory or thread left: socket(2), connect(2), and
getaddrinfo(3), whose EAI_SYSTEM Python raises as the error that it stands for."""


def failure(kind: type[httpx.TransportError], text: str, *, sent: bool) -> httpx.TransportError:
    """An exception of this kind that says whether anything of the request was sent."""
    exc = kind(text)
    exc.request_sent = sent  # type: ignore[attr-defined]  # httpx has no such field; `turnout_wire` reads it
    return exc


def mark_sent(exc: httpx.TransportError) -> None:
    """Correct a failure: an earlier try of the same request may have arrived."""
    exc.request_sent = True  # type: ignore[attr-defined]  # as above


def is_shortage(exc: BaseException) -> bool:
    """Whether something is lacking on our side, of which no upstream knows."""
    return isinstance(exc, OSError) and exc.errno in SHORTAGES
