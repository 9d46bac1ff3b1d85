"""What goes out on a connection of our own server: at once what the system takes, the rest before a deadline."""

import socket
from functools import partial
from typing import final

import trio

from turnout_http._settings import ClientLimits
from turnout_http._taking import acknowledged, while_taking
from turnout_sockets import Burst

COPIED = 32 * 1024
"""Bytes up to which parts are copied together: cheaper than handing them over one by one."""


@final
class Outlet:
    """The outgoing side of one connection. When nobody takes any more, the connection's scope is cancelled.

    Attributes:
        burst: that answers on this connection may be part of; None for a client on another host.
    """

    __slots__ = ("_connection", "_limits", "_sock", "_torn", "burst")

    def __init__(
        self, sock: socket.socket, limits: ClientLimits, connection: trio.CancelScope, burst: Burst | None
    ) -> None:
        self.burst = burst
        self._sock = sock
        self._limits = limits
        self._connection = connection
        self._torn = False

    def write_nowait(self, parts: list[bytes]) -> list[memoryview]:
        """Hand over as much as the system takes, and give the rest."""
        size = sum(map(len, parts))
        count = 0
        try:
            if self._torn:  # a write was cancelled half-way: whatever followed would be read as its rest
                self._connection.cancel()
            elif size < COPIED:
                count = self._sock.send(parts[0] if len(parts) == 1 else b"".join(parts))
            else:
                count = self._sock.sendmsg(parts)
        except BlockingIOError:
            pass
        except OSError:  # nobody will take the rest: whoever waits for that is cancelled
            self._connection.cancel()
        return _after(parts, count) if count < size else []

    async def wait_written(self, rest: list[memoryview]) -> None:
        """Wait until the system has taken this too; cancelled when it takes nothing for `write_stall`."""
        if rest:
            self._torn = True
            for part in rest:
                await self._write_rest(part)
            self._torn = False

    async def _write_rest(self, rest: memoryview) -> None:
        writable, taken = partial(trio.lowlevel.wait_writable, self._sock), partial(acknowledged, self._sock)
        while rest:
            try:
                await while_taking(writable, taken, self._limits.write_stall)
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                continue
            except (OSError, trio.TooSlowError):
                await self._lose()

    async def _lose(self) -> None:
        """Nobody will take the rest: end the connection, and with it this task."""
        self._connection.cancel()
        await trio.lowlevel.checkpoint()


def _after(parts: list[bytes], count: int) -> list[memoryview]:
    """What is left of the parts when so many bytes of them have gone."""
    rest = []
    for part in parts:
        if count < len(part):
            rest.append(memoryview(part)[count:])
        count = max(0, count - len(part))
    return rest
