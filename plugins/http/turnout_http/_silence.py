"""Telling a client that closed its sending side from one that is gone: TCP shows the same FIN for both (C-1, C-5).

A client that only half-closed reads an interim answer and ignores it (RFC 9110, 15.2); the system of one that is gone
answers any byte with a reset. So a byte has to be sent, and `102 Processing` is the one that may always come first.
"""

import socket

import trio

PROBE = b"HTTP/1.1 102 Processing\r\n\r\n"

LOOK = 0.02
"""Seconds between two looks for the reset."""


def was_reset(sock: "trio.socket.SocketType | socket.socket") -> bool:
    """Whether the peer has answered with a reset. A socket that has seen its end of file never says so by reading."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


async def wait_reset(sock: trio.socket.SocketType) -> None:
    """Wait until the peer has answered with a reset; for ever if it never does."""
    while not was_reset(sock):  # noqa: ASYNC110  # nothing tells of a reset after the end of file
        await trio.sleep(LOOK)
