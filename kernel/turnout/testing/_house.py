"""A whole kernel on scripted plugins: no sockets, no files, and it runs on a mock clock."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import trio

from turnout._config import parse_config
from turnout._kernel import Kernel, open_kernel
from turnout._plugins import Plugins
from turnout._values import Ask, Credential
from turnout.abc import Candidate, Ready
from turnout.testing._given import given
from turnout.testing._scripted import ScriptedProvider
from turnout.testing._store import MemoryStore


class InTurn:
    """A selector that takes whose turn it is (round robin)."""

    api: ClassVar[int] = 1

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:  # noqa: ARG002 # the protocol's arguments
        """The candidate after the last choice, in the best tier."""
        return ready.best.following()


class NoTransport:
    """A transport for providers that open no connections."""

    api: ClassVar[int] = 1

    def for_credential(self, credential: Credential) -> None:
        """None: scripted providers use no transport."""


def _wall() -> float:
    return 1_800_000_000 + trio.current_time()


def scripted_plugins(
    providers: Mapping[str, ScriptedProvider], *, store: Any = None, selector: Any = None, **others: Mapping[str, Any]
) -> Plugins:
    """These instances as plugins: the selector `in-turn`, the store `memory`, the transport `none`, and `others`."""
    instances: dict[str, Mapping[str, Any]] = {
        "turnout.providers": providers,
        "turnout.selectors": {"in-turn": selector or InTurn()},
        "turnout.stores": {"memory": store or MemoryStore()},
        "turnout.transports": {"none": NoTransport()},
        **{f"turnout.{group}": members for group, members in others.items()},
    }
    return Plugins.of(
        {group: {name: given(one) for name, one in members.items()} for group, members in instances.items()}
    )


@asynccontextmanager
async def scripted_kernel(
    toml: str,
    providers: Mapping[str, ScriptedProvider],
    *,
    store: Any = None,
    selector: Any = None,
    **others: Mapping[str, Any],
) -> AsyncIterator[Kernel]:
    """An open kernel on scripted providers, whose wall clock is Trio's.

    `toml` is a configuration whose `[turnout]` section may be left out; it has the selector `in-turn`, the store
    `memory` and the transport `none`, whatever objects stand behind them. `others` gives instances for further groups,
    such as `observers={"ear": ear}`; they are named in `toml` like any plugin.
    """
    head = '[turnout]\nselector = "in-turn"\nstore = "memory"\ntransport = "none"\n'
    text = toml.replace("[turnout]\n", head, 1) if "[turnout]\n" in toml else head + toml
    plugins = scripted_plugins(providers, store=store, selector=selector, **others)
    async with open_kernel(parse_config(text), plugins=plugins, wall=_wall) as kernel:
        yield kernel
