"""Open one plugin class as a kernel opens it, with nothing around it."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from logging import getLogger
from typing import TypeVar

from turnout._config import parse_config
from turnout._plugin_check import REQUIRED, flaw_of, warn_of_parting
from turnout._supervise import opening
from turnout.abc import Limits, PluginContext
from turnout.errors import PluginError
from turnout.testing._house import wall

T = TypeVar("T")

CHOSEN = '[turnout]\nselector = "checked"\nstore = "checked"\ntransport = "checked"\n'


@asynccontextmanager
async def open_plugin(
    group: str, cls: type[T], toml: str = "", *, draw: Callable[[], float] = random.random
) -> AsyncIterator[T]:
    """A plugin, checked, configured and opened as a kernel does it, and closed when the block ends.

    Args:
        group: such as `turnout.selectors`; `turnout.` may be left out.
        cls: the class that the entry point names.
        toml: the lines of its own table, such as `weights = { a = 3 }`.
        draw: what the plugin's context gives it for chance.

    Raises PluginError when the class cannot be a plugin of that group, ConfigError when the settings are wrong. The
    context's clock is Trio's, so a mock clock moves it.
    """
    short = group.removeprefix("turnout.")
    full = f"turnout.{short}"
    if full not in REQUIRED:
        raise PluginError(f"there is no such group; there are {', '.join(REQUIRED)}", group=full, name=cls.__name__)
    if flaw := flaw_of(full, cls):
        raise PluginError(flaw, group=full, name=cls.__name__)
    warn_of_parting(cls)
    config = parse_config(f"{CHOSEN}[{short}.checked]\n{toml}\n")
    context = PluginContext(
        key="checked",
        group=full,
        limits=Limits(),
        drain=30.0,
        now=wall,
        draw=draw,
        log=getLogger(f"{full}.checked"),
    )
    async with opening(cls, config.settings(short, "checked", getattr(cls, "Settings", None)), context) as plugin:
        yield plugin
