"""A whole kernel on scripted plugins: no sockets, no files, and it runs on a mock clock."""

import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import trio

from turnout._config import Config, parse_config
from turnout._kernel import Kernel, open_kernel
from turnout._plugins import Plugins
from turnout._values import Ask, Credential, Secret
from turnout.abc import Candidate, Ready
from turnout.testing._given import given, given_open
from turnout.testing._scripted import ScriptedProvider
from turnout.testing._store import MemoryStore


class InTurn:
    """A selector that takes whose turn it is (round robin)."""

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 # the protocol's arguments
        """The candidate after the last choice, in the best tier."""
        return ready.best.following()


class InOrder:
    """A selector that takes the first (fill first)."""

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 # the protocol's arguments
        """The first candidate of the best tier."""
        return ready.best.first()


class NoTransport:
    """A transport for providers that open no connections."""

    api: ClassVar[int] = 1

    def for_credential(self, credential: Credential) -> None:
        """None: scripted providers use no transport."""

    @classmethod
    def proxy_flaw(cls, proxy: Secret) -> str:  # noqa: ARG003 # the protocol's
        """None: where nothing is connected, nothing goes past a proxy."""
        return ""


_IN_TURN, _IN_ORDER, _NONE = given(InTurn()), given(InOrder()), given(NoTransport())
"""Made once: the class of a plugin takes long to make."""

START = 1_800_000_000.0
"""What the wall clock says when Trio's clock says 0."""


def wall() -> float:
    """The wall clock of a scripted kernel."""
    return START + trio.current_time()


def scripted_plugins(
    providers: Mapping[str, ScriptedProvider], *, store: Any = None, selector: Any = None, **others: Mapping[str, Any]
) -> Plugins:
    """These instances as plugins: the store `memory`, the transport `none`, and `others`.

    Selectors are `in-turn`, or `selector` in its place, and `in-order`.
    """
    made = {id(one): given(one) for one in providers.values()}
    more = {
        f"turnout.{group}": {name: given(one) for name, one in members.items()} for group, members in others.items()
    }
    classes: dict[str, Mapping[str, Any]] = {
        "turnout.providers": {name: made[id(one)] for name, one in providers.items()},
        "turnout.selectors": {"in-turn": given(selector) if selector else _IN_TURN, "in-order": _IN_ORDER},
        "turnout.stores": {"memory": given_open(store or MemoryStore())},
        "turnout.transports": {"none": _NONE},
        **more,
    }
    return Plugins.of(classes)


_DEFAULTS = {"selector": "in-turn", "store": "memory", "transport": "none"}


def scripted_config(toml: str) -> Config:
    """A configuration for scripted plugins; what its `[turnout]` leaves out is `in-turn`, `memory` and `none`."""
    before, found, after = toml.partition("[turnout]\n")
    section = after.partition("\n[")[0]
    missing = {key: name for key, name in _DEFAULTS.items() if not re.search(rf"^{key}\s*=", section, re.MULTILINE)}
    lines = "".join(f'{key} = "{name}"\n' for key, name in missing.items())
    return parse_config(f"{before}[turnout]\n{lines}{after}" if found else f"[turnout]\n{lines}{toml}")


@asynccontextmanager
async def scripted_kernel(
    toml: str,
    providers: Mapping[str, ScriptedProvider],
    *,
    store: Any = None,
    selector: Any = None,
    draw: Callable[[], float] = random.random,
    **others: Mapping[str, Any],
) -> AsyncIterator[Kernel]:
    """An open kernel on scripted providers, whose wall clock is Trio's.

    `toml` is a configuration whose `[turnout]` section may be left out; it has the selector `in-turn`, the store
    `memory` and the transport `none`, whatever objects stand behind them. `draw` gives the kernel's random numbers.
    `others` gives instances for further groups, such as `observers={"ear": ear}`; they are named in `toml` like any
    plugin.
    """
    plugins = scripted_plugins(providers, store=store, selector=selector, **others)
    async with open_kernel(scripted_config(toml), plugins=plugins, wall=wall, draw=draw) as kernel:
        yield kernel
