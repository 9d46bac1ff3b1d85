"""What `turnout run` knows when it is one of several processes: its number, its supervisor, its sockets."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Self, final

import attrs
import trio

from turnout._cli_reload import Hangups
from turnout._cli_stop import Stop
from turnout._line import BEAT, Line


@final
@attrs.frozen(kw_only=True)
class Handed:
    """What a process is started with, as descriptors that it inherits.

    Attributes:
        number: from 1 on; a process in another's place has its number.
        line: to the supervisor.
        sockets: that listen, by the key of the frontend.
    """

    number: int
    line: int
    sockets: Mapping[str, tuple[int, ...]]

    def as_argument(self) -> str:
        """As one argument of a command line; it holds no secret."""
        return json.dumps(attrs.asdict(self), separators=(",", ":"))

    @classmethod
    def from_argument(cls, text: str) -> Self:
        """The opposite; raises ValueError, KeyError or TypeError for what `as_argument` does not write."""
        found = json.loads(text)
        sockets = {str(key): tuple(map(int, fds)) for key, fds in found["sockets"].items()}
        return cls(number=int(found["number"]), line=int(found["line"]), sockets=sockets)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (self.line, *(fd for fds in self.sockets.values() for fd in fds))


@final
class Membership:
    """A process's own side of it. Made inside a Trio run; takes the descriptors over.

    Attributes:
        sockets: that listen, by the key of the frontend.
    """

    def __init__(self, handed: Handed) -> None:
        for fd in handed.descriptors:
            os.set_inheritable(fd, False)  # what this process starts must not keep the line or the port open
        self._line = Line(socket.socket(fileno=handed.line))
        self.sockets: Mapping[str, Sequence[socket.socket]] = {
            key: [socket.socket(fileno=fd) for fd in fds] for key, fds in handed.sockets.items()
        }

    async def tell(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Say that this process serves."""
        await self._line.say({"serving": {key: list(served) for key, served in addresses.items()}})

    async def show_life(self) -> None:
        """Say that this process's loop goes round, until cancelled: a supervisor replaces one that stands still."""
        while True:
            await self._line.say({"alive": True})
            await trio.sleep(BEAT)

    async def heed(self, stop: Stop, hangups: Hangups) -> None:
        """Do as the supervisor says until cancelled; drain when it is gone, so that no process is left behind."""
        while (message := await self._line.hear()) is not None:
            match message["order"]:
                case "drain":
                    stop.drain("draining with the other processes, calls under way may finish")
                case "reload":
                    hangups.ask()
                case "end":
                    await stop.end(int(message["code"]))
        stop.drain("the supervisor is gone: draining, calls under way may finish")
