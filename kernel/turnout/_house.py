"""The open plugins of one kernel: opened in order, carried over a reload when their tables did not change (O64)."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from logging import getLogger
from typing import Any

import trio

from turnout._assemble import Chosen
from turnout._config import Config
from turnout._plugin_calls import offers
from turnout._supervise import CLOSE_LIMIT, Supervisor, constructed, opening
from turnout.abc import PluginContext, SessionCloser
from turnout.errors import TurnoutError

ALL_SESSIONS = "__all_execution_sessions__"
"""Stands for every session when sessions are closed (C2.2)."""

log = getLogger("turnout.plugins")

Told = Callable[[str, str, str], Any]
"""Hears (group, key, reason) when an open plugin fails, and an empty reason when it is open again."""


Place = tuple[str, str]
Held = tuple[Chosen, Config, Supervisor[Any]]


class Furnished:
    """A complete set of open plugins, by group and key: those carried over and those newly opened for it."""

    def __init__(self, held: Mapping[Place, Held], new: Iterable[Place]) -> None:
        self.held = dict(held)
        self.new = tuple(new)

    def instances(self, group: str) -> Mapping[str, Any]:
        """The open plugins of a group, by key."""
        return {key: held.instance for (place, key), (_, _, held) in self.held.items() if place == group}

    def only(self, group: str) -> Any:
        """The one plugin of a group of which exactly one is used."""
        return next(iter(self.instances(group).values()))


class House:
    """Supervisors of open plugins. Frontends live elsewhere: they are served, not called.

    Attributes:
        now: the set of plugins in use.
    """

    def __init__(
        self, nursery: trio.Nursery, clock: Callable[[], float], draw: Callable[[], float], told: Told
    ) -> None:
        self.now = Furnished({}, ())
        self._nursery = nursery
        self._clock = clock
        self._draw = draw
        self._told = told

    async def furnish(self, chosen: Iterable[Chosen], config: Config) -> Furnished:
        """Open what is not open yet, in order, beside what is in use. Raises PluginError with nothing left open.

        What it gives is to be taken with `move_in` or given up with `abandon`.
        """
        held: dict[Place, Held] = {}
        new: list[Place] = []
        try:
            for one in chosen:
                place = one.group, one.key
                if one.group == "frontends":
                    continue
                before = self.now.held.get(place)
                if before is not None and _same(before, one, config):
                    held[place] = before
                else:
                    held[place] = one, config, await self._start(one, config)
                    new.append(place)
        except BaseException:
            await self.abandon(Furnished(held, new))
            raise
        return Furnished(held, new)

    def move_in(self, furnished: Furnished) -> list[Supervisor[Any]]:
        """Use this set from now on; gives the supervisors that are not part of it, to be closed when unused."""
        before, self.now = self.now, furnished
        return [held[2] for place, held in before.held.items() if furnished.held.get(place) is not held]

    async def abandon(self, furnished: Furnished) -> None:
        """Close what was opened for a set that is not used after all, the last one first."""
        with trio.CancelScope(shield=True):
            await close(furnished.held[place][2] for place in reversed(furnished.new))

    async def _start(self, chosen: Chosen, config: Config) -> Supervisor[Any]:
        context = context_of(chosen, config, self._clock, self._draw)
        told = partial(self._told, context.group, chosen.key)
        supervisor: Supervisor[Any] = Supervisor(partial(opening, chosen.cls, chosen.settings, context), context, told)
        if getattr(chosen.cls, "open", None) is None:
            supervisor.make(partial(constructed, chosen.cls, chosen.settings))
        else:
            await supervisor.start(self._nursery)
        return supervisor

    async def close(self) -> None:
        """Close all of them, the last one first; each within its limit."""
        held = [supervisor for _, _, supervisor in self.now.held.values()]
        self.now = Furnished({}, ())
        await close(reversed(held))


def _same(held: Held, chosen: Chosen, config: Config) -> bool:
    """Whether an open plugin would be opened in just the same way again."""
    before, old, _ = held
    return before == chosen and (old.limits, old.drain) == (config.limits, config.drain)


async def end_sessions(supervisors: Iterable[Supervisor[Any]]) -> None:
    """Tell the providers that keep sessions and go away for good that every one is over (C3.6.1, O24)."""
    for supervisor in supervisors:
        provider = supervisor.instance
        if offers(provider, SessionCloser) and not supervisor.broken:
            try:
                with trio.fail_after(CLOSE_LIMIT), supervisor.border:
                    await provider.close_session(ALL_SESSIONS)
            except (TurnoutError, trio.TooSlowError) as error:
                log.warning("sessions could not be ended: %s", str(error) or "took too long")


async def close(supervisors: Iterable[Supervisor[Any]]) -> None:
    """Close plugins one after the other; each within its limit."""
    for supervisor in supervisors:
        await supervisor.stop()


def context_of(chosen: Chosen, config: Config, now: Callable[[], float], draw: Callable[[], float]) -> PluginContext:
    """What a plugin is handed when it is opened."""
    return PluginContext(
        key=chosen.key,
        group=f"turnout.{chosen.group}",
        limits=config.limits,
        drain=config.drain,
        now=now,
        draw=draw,
        log=getLogger(f"turnout.{chosen.group}.{chosen.key}"),
    )
