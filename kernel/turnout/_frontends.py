"""The frontends of one kernel: started last, told of reloads, and asked before one whether they can follow it."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from turnout._assemble import Chosen
from turnout._served import Served
from turnout._switch import Switch
from turnout.abc import PluginContext
from turnout.errors import ConfigError


class Frontends:
    """Those that are served, by their keys."""

    def __init__(
        self, sockets: Mapping[str, Sequence[socket.socket]], *, draining: trio.Event, told: Callable[..., Any]
    ) -> None:
        """`sockets` are what they serve on instead of binding; `told` hears group, key and reason when one fails."""
        self._sockets = sockets
        self._draining = draining
        self._told = told
        self._served: dict[str, Served] = {}

    async def start(self, chosen: Chosen, context: PluginContext, switch: Switch, nursery: trio.Nursery) -> None:
        """Serve one in a task of `nursery`; waits until it listens. Raises PluginError."""
        served = Served(chosen, switch, draining=self._draining, alone=self._is_last, told=self._told)
        context = attrs.evolve(context, sockets=tuple(self._sockets.get(chosen.key, ())))
        await nursery.start(served.run, context, name=f"frontend {chosen.key}")
        self._served[chosen.key] = served

    def _is_last(self) -> bool:
        return sum(not served.left.is_set() for served in self._served.values()) == 1

    @property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """What they listen on."""
        return {key: served.addresses for key, served in self._served.items()}

    def check(self, chosen: Sequence[Chosen]) -> None:
        """Raise ConfigError if the new configuration asks one of them for something that takes a restart."""
        wanted = {one.key: one for one in chosen if one.group == "frontends"}
        if wanted.keys() != self._served.keys():
            raise ConfigError(["frontends cannot be added or removed while Turnout runs; restart it for that"])
        for key, served in self._served.items():
            served.check(wanted[key])

    def reconfigure(self, chosen: Sequence[Chosen]) -> None:
        """Take on what their tables say now; `check` has passed."""
        for served in self._served.values():
            served.reconfigure(chosen)

    async def wait_left(self) -> None:
        """Wait until none of them serves any more."""
        for served in self._served.values():
            await served.left.wait()
