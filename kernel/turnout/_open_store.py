"""The configured store, open without a kernel: for commands that look into it or change it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from turnout._assemble import Chosen
from turnout._clock import Clock
from turnout._config import Config
from turnout._house import context_of
from turnout._plugin_calls import plugin_code
from turnout._plugins import Plugins
from turnout._supervise import opening
from turnout.abc import Store


@asynccontextmanager
async def open_store(config: Config, plugins: Plugins, clock: Clock) -> AsyncIterator[Store]:
    """Open the store of a configuration and nothing else. Raises ConfigError, PluginError, StoreError."""
    cls = plugins.load("turnout.stores", config.store)
    settings = config.settings("stores", config.store, getattr(cls, "Settings", None))
    chosen = Chosen(group="stores", key=config.store, cls=cls, settings=settings)
    with plugin_code("turnout.stores", config.store):
        context = attrs.evolve(context_of(chosen, config, clock.now, random.random), briefly=True)
        async with opening(cls, settings, context) as store:
            yield store
