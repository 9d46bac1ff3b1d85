"""Store in one SQLite database, sealed, which several processes of a host may share."""

from turnout_sqlite._store import Sqlite

__all__ = ["Sqlite"]
