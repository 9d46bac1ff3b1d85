"""The addresses that several processes serve: bound once, by plugins that are made for it."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from turnout._assemble import Chosen, choose
from turnout._config import Config
from turnout._plugin_calls import offers, plugin_code
from turnout._plugins import Plugins
from turnout.abc import Binder, Leaser, Watcher
from turnout.errors import PluginError

Sockets = Mapping[str, Sequence[socket.socket]]
"""By the key of the frontend."""


@contextmanager
def listening(config: Config, plugins: Plugins) -> Iterator[Sockets]:
    """The sockets that every process serves on, open while the block runs.

    Raises ConfigError, also when a plugin that the configuration names is not made for several processes, and
    PluginError when the system refuses an address.
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
                sockets[one.key] = [stack.enter_context(sock) for sock in _bound(one)]
        yield sockets


def _bound(frontend: Chosen) -> Sequence[socket.socket]:
    with plugin_code("turnout.frontends", frontend.key):
        try:
            sockets: Sequence[socket.socket] = frontend.cls.bind(frontend.settings)
        except OSError as error:
            reason = error.strerror or str(error)
            raise PluginError(reason, group="turnout.frontends", name=frontend.key) from None
    return sockets
