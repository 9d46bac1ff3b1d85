"""Which server runs."""

from logging import Logger

from turnout_http._descriptors import Descriptors
from turnout_http._hypercorn import Hypercorn
from turnout_http._llhttp import Llhttp
from turnout_http._server import Server
from turnout_http._settings import Settings
from turnout_http._sharing import Sharing


def choose(settings: Settings, log: Logger, descriptors: Descriptors, *, shared: bool = False) -> Server:
    """The server that the settings name; `shared` when other processes accept from its sockets too."""
    server = Hypercorn if settings.server_in_use == "hypercorn" else Llhttp
    return server(settings, log, Sharing(descriptors, others=shared))
