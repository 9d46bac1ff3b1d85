"""What the supervisor and one of its processes say to each other, over a pair of sockets that both ends hold.

A message is one line of JSON. The supervisor gives orders: `{"order": "drain"}`, `"reload"`, or `"end"` with the exit
`"code"`. A process says `{"serving": {KEY: [ADDRESS, …]}}` once it does, and `{"alive": true}` now and then from there
on: one that falls silent stands still. The end of the line says that the other one is gone, however it went: so nobody
is left behind, and nobody has to watch process ids.
"""

import json
import socket
from collections.abc import Mapping
from typing import Any, Final, final

import trio

LONGEST: Final = 1 << 20
"""Bytes of a message: both ends are ours, so a longer one is a mistake."""

BEAT: Final = 1.0
"""Seconds between two signs of life of a process that serves."""

Message = Mapping[str, Any]


@final
class Line:
    """One end."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over."""
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._speaking = trio.Lock()
        self._heard = bytearray()

    async def say(self, message: Message) -> None:
        """Send a message; nothing happens when the other one is gone. Waits while its buffer is full."""
        async with self._speaking:
            try:
                await self._stream.send_all(json.dumps(message).encode() + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def hear(self) -> Message | None:
        """The next message, None when the other one is gone. Waits for it."""
        while (end := self._heard.find(b"\n")) < 0:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data or len(self._heard) > LONGEST:
                return None
            self._heard += data
        message: Message = json.loads(self._heard[:end])
        del self._heard[: end + 1]
        return message

    def close(self) -> None:
        """Close this end; does not wait."""
        self._stream.socket.close()
