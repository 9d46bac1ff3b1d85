"""A frontend while it is served: opened, served and left in one task."""

from collections.abc import Sequence
from typing import Any

import trio

from turnout._assemble import Chosen
from turnout._plugin_calls import plugin_code
from turnout._supervise import opening
from turnout._switch import Switch
from turnout.abc import PluginContext, Reconfigurable
from turnout.errors import ConfigError


class Served:
    """One frontend.

    Attributes:
        addresses: what it listens on.
        left: set when it does not serve any more.
    """

    def __init__(self, chosen: Chosen, switch: Switch) -> None:
        self.addresses: tuple[str, ...] = ()
        self.left = trio.Event()
        self._chosen = chosen
        self._switch = switch
        self._instance: Any = None

    async def run(self, context: PluginContext, *, task_status: "trio.TaskStatus[None]") -> None:
        """Serve until it drains or is cancelled; started when it listens. Raises TurnoutError."""
        reported = _Reported(self, task_status)
        try:
            with plugin_code(context.group, context.key):
                async with opening(self._chosen.cls, self._chosen.settings, context) as self._instance:
                    await self._instance.serve(self._switch, task_status=reported)
        finally:
            self.left.set()

    def check(self, wanted: Chosen) -> None:
        """Raise ConfigError if this frontend cannot take on what its table says now without a restart."""
        if wanted == self._chosen:
            return
        if wanted.cls is not self._chosen.cls or not isinstance(self._instance, Reconfigurable):
            raise ConfigError([f"[frontends.{wanted.key}] cannot be changed while Turnout runs; restart it for that"])
        self._instance.check(wanted.settings)

    def reconfigure(self, chosen: Sequence[Chosen]) -> None:
        """Take on what its table says now; `check` has passed."""
        for wanted in chosen:
            if (wanted.group, wanted.key) == ("frontends", self._chosen.key) and wanted != self._chosen:
                self._instance.reconfigure(wanted.settings)
                self._chosen = wanted


class _Reported:
    """Hands the addresses that a frontend reports to the kernel, and says that it has started."""

    def __init__(self, served: Served, task_status: "trio.TaskStatus[None]") -> None:
        self._served = served
        self._task_status = task_status

    def started(self, addresses: Sequence[str] = ()) -> None:
        """What a frontend calls as `task_status.started`."""
        self._served.addresses = tuple(addresses)
        self._task_status.started()
