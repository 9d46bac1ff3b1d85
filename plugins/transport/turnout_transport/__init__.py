"""Transport: pooled connections to upstreams."""

from importlib import import_module
from typing import TYPE_CHECKING

from turnout_transport._origin_pool import OriginStatistics
from turnout_transport._pool import Pool, PoolSettings
from turnout_transport._sockets import RawStream

if TYPE_CHECKING:
    from turnout_transport._httpx import Httpx, HttpxSettings

__all__ = ["Httpx", "HttpxSettings", "OriginStatistics", "Pool", "PoolSettings", "RawStream"]


def __getattr__(name: str) -> object:
    """The transport `httpx`, imported when somebody names it: httpcore and h2 were an eighth of every start."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module("turnout_transport._httpx"), name)
