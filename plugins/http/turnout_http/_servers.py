"""Which server runs."""

from logging import Logger

from turnout_http._hypercorn import Hypercorn
from turnout_http._llhttp import Llhttp
from turnout_http._server import Server
from turnout_http._settings import Settings


def choose(settings: Settings, log: Logger) -> Server:
    """The server that the settings name."""
    return Hypercorn(settings, log) if settings.server_in_use == "hypercorn" else Llhttp(settings, log)
