"""coredis's pool of connections, with places that always come back.

In that of coredis 6.9.0 the place of a connection is lost when it dies in somebody's hands, as each does whose
subscription fails, and now and then when whoever waits for one to be made is cancelled. After eight such moments every
call of a process waits in vain, for ever: a node whose way to its store had failed a few times never came back.
"""

from typing import Any, final

import trio
from coredis.connection import TCPConnection
from coredis.exceptions import RedisError
from coredis.pool import ConnectionPool


@final
class Pool(ConnectionPool[TCPConnection]):
    """Lends connections that work, `max_connections` at once, the one used last first; makes one when there is none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._places = trio.Semaphore(self.max_connections)
        self._idle: list[TCPConnection] = []

    async def get_connection(self, **_: Any) -> TCPConnection:
        """Borrow one, which `release` gives back. Waits for a place and for the server; raises RedisError."""
        await self._places.acquire()
        try:
            connection = self._usable() or await self._made()
        except BaseException:
            self._places.release()
            raise
        self.statistics.connection_leased(connection)
        return connection

    def release(self, connection: TCPConnection) -> None:
        """Give one back, whatever has become of it."""
        self.statistics.connection_released(connection)
        self._places.release()
        if connection.usable:
            self._idle.append(connection)

    def _usable(self) -> TCPConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.invalidate()
        return None

    async def _made(self) -> TCPConnection:
        connection = await self._construct_connection()
        error: Exception | None = await self.task_group.start(self._run, connection)
        if error is not None:
            raise error
        self.statistics.connection_created(connection)
        self._online_connections.add(connection)
        return connection

    async def _run(
        self, connection: TCPConnection, *, task_status: trio.TaskStatus[Exception | None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep a connection up until it ends; what keeps it from coming up is told as the task's status."""
        try:
            await connection.run(task_status=task_status)
        except RedisError as error:
            task_status.started(error)
        finally:
            self._online_connections.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
