"""Transport: pooled connections to upstreams."""

from turnout_transport._httpx import Httpx, HttpxSettings
from turnout_transport._origin_pool import OriginStatistics
from turnout_transport._pool import Pool, PoolSettings
from turnout_transport._sockets import RawStream

__all__ = ["Httpx", "HttpxSettings", "OriginStatistics", "Pool", "PoolSettings", "RawStream"]
