"""A frontend while it is served: opened, served and left in one task, and again when it fails."""

from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Any

import trio

from turnout._assemble import Chosen
from turnout._plugin_calls import offers, plugin_code
from turnout._supervise import RESTART_CAP, RESTART_FLOOR, RESTARTS, opening
from turnout._switch import Switch
from turnout.abc import PluginContext, Reconfigurable
from turnout.errors import ConfigError, PluginError, TurnoutError

log = getLogger("turnout.plugins")


class Served:
    """One frontend.

    Attributes:
        addresses: what it listens on.
        left: set when it does not serve any more.
    """

    def __init__(
        self,
        chosen: Chosen,
        switch: Switch,
        *,
        draining: trio.Event,
        alone: Callable[[], bool],
        told: Callable[..., Any],
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        self.left = trio.Event()
        self._border = plugin_code("turnout.frontends", chosen.key)
        self._chosen = chosen
        self._switch = switch
        self._draining = draining
        self._alone = alone
        self._tell = told
        self._instance: Any = None

    async def run(self, context: PluginContext, *, task_status: "trio.TaskStatus[None]") -> None:
        """Serve until it drains or is cancelled; started when it listens.

        One that fails later is opened again as every plugin is (acceptance H8). Raises TurnoutError when it cannot
        start, and when it is given up while no other frontend serves: somebody outside must help then.
        """
        reported = _Reported(self, task_status)
        pause = RESTART_FLOOR
        try:
            for left in range(RESTARTS, -1, -1):
                if (error := await self._serve(context, reported)) is None:
                    return
                if not reported.begun or context.sockets:  # those are closed, and a supervisor starts another process
                    raise error
                log.error("%s; %s", error, "opened again soon" if left else "given up")
                self._tell(context.group, context.key, str(error))
                if left:
                    with trio.move_on_after(pause):
                        await self._draining.wait()
                        return
                    pause = min(2 * pause, RESTART_CAP)
                elif self._alone():
                    raise error
        finally:
            self.left.set()

    async def _serve(self, context: PluginContext, reported: "_Reported") -> TurnoutError | None:
        """Serve once; gives why it ended, None when it was time."""
        try:
            with self._border:
                async with opening(self._chosen.cls, self._chosen.settings, context) as self._instance:
                    await self._instance.serve(self._switch, task_status=reported)
        except TurnoutError as error:
            return error
        if self._draining.is_set():
            return None
        return PluginError("stopped serving unasked", group=context.group, name=context.key)

    def check(self, wanted: Chosen) -> None:
        """Raise ConfigError if this frontend cannot take on what its table says now without a restart."""
        if wanted == self._chosen:
            return
        if wanted.cls is not self._chosen.cls or not offers(self._instance, Reconfigurable):
            raise ConfigError([f"[frontends.{wanted.key}] cannot be changed while Turnout runs; restart it for that"])
        with self._border:
            self._instance.check(wanted.settings)

    def reconfigure(self, chosen: Sequence[Chosen]) -> None:
        """Take on what its table says now; `check` has passed. A frontend that fails to keeps serving as it can."""
        for wanted in chosen:
            if (wanted.group, wanted.key) == ("frontends", self._chosen.key) and wanted != self._chosen:
                self._chosen = wanted
                try:
                    with self._border:
                        self._instance.reconfigure(wanted.settings)
                except TurnoutError as error:
                    key = wanted.key
                    log.error("[frontends.%s] is not in force as it should be; a restart may help: %s", key, error)  # noqa: TRY400


class _Reported:
    """Hands the addresses that a frontend reports to the kernel, and says that it has started: the first time only.

    Attributes:
        begun: whether it has listened once.
    """

    def __init__(self, served: Served, task_status: "trio.TaskStatus[None]") -> None:
        self.begun = False
        self._served = served
        self._task_status = task_status

    def started(self, addresses: Sequence[str] = ()) -> None:
        """What a frontend calls as `task_status.started`."""
        self._served.addresses = tuple(addresses)
        if self.begun:
            log.info("it serves again: %s", ", ".join(self._served.addresses))
        else:
            self.begun = True
            self._task_status.started()
