"""Store in Redis or Valkey, which many processes and machines share."""

from turnout_redis._settings import RedisSettings
from turnout_redis._store import Redis

__all__ = ["Redis", "RedisSettings"]
