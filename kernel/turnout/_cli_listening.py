"""The addresses that several processes serve: bound once, by plugins that are made for it."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from turnout._assemble import choose
from turnout._config import Config
from turnout._plugin_calls import offers
from turnout._plugins import Plugins
from turnout.abc import Binder, Leaser, Watcher

Sockets = Mapping[str, Sequence[socket.socket]]
"""By the key of the frontend."""


@contextmanager
def listening(config: Config, plugins: Plugins) -> Iterator[Sockets]:
    """The sockets that every process serves on, open while the block runs.

    Raises ConfigError, also when a plugin that the configuration names is not made for several processes.
    """
    chosen = choose(config, plugins)
    for one in chosen:
        if one.group == "stores" and not (offers(one.cls, Watcher) and offers(one.cls, Leaser)):
            reason = f'several processes cannot share the store {one.key!r}; use "sqlite", or "redis"'
            raise config.misnamed(one.group, one.key, reason)
        if one.group == "frontends" and not offers(one.cls, Binder):
            reason = f"the frontend {one.key!r} cannot serve from several processes; run it with one"
            raise config.misnamed(one.group, one.key, reason)
    with ExitStack() as stack:
        sockets: dict[str, Sequence[socket.socket]] = {}
        for one in chosen:
            if one.group == "frontends":
                sockets[one.key] = [stack.enter_context(sock) for sock in one.cls.bind(one.settings)]
        yield sockets
