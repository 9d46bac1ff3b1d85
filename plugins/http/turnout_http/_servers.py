"""Which server runs."""

from importlib import import_module
from logging import Logger

from turnout_http._descriptors import Descriptors
from turnout_http._server import Server
from turnout_http._settings import Settings
from turnout_http._sharing import Sharing

SERVERS = {"hypercorn": ("_hypercorn", "Hypercorn"), "llhttp": ("_llhttp", "Llhttp")}
"""Where each is. One is imported, for hypercorn alone was a twentieth of every start."""


def choose(settings: Settings, log: Logger, descriptors: Descriptors, *, shared: bool = False) -> Server:
    """The server that the settings name; `shared` when other processes accept from its sockets too."""
    module, name = SERVERS[settings.server_in_use]
    server: Server = getattr(import_module(f"turnout_http.{module}"), name)(
        settings, log, Sharing(descriptors, others=shared)
    )
    return server
