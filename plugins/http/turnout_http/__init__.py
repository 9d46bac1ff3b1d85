"""Frontend that serves the usual HTTP APIs."""

from turnout_http._frontend import Http
from turnout_http._settings import ClientLimits, Settings

__all__ = ["ClientLimits", "Http", "Settings"]
