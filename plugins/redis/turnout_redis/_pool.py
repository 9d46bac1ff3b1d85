"""coredis's pool of connections, with places that always come back.

In that of coredis 6.9.0 the place of a connection is lost when it dies in somebody's hands, as each does whose
subscription fails, and now and then when whoever waits for one to be made is cancelled. After eight such moments every
call of a process waits in vain, for ever: a node whose way to its store had failed a few times never came back.
"""

import logging
from contextvars import ContextVar
from typing import Any, Final, final

import trio
from coredis.connection import TCPConnection
from coredis.exceptions import RedisError
from coredis.pool import ConnectionPool

_OURS: Final = ContextVar("a connection of this store", default=False)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Whether coredis may log this of a connection: every try to reach a server that is away has it log a traceback.

    What keeps a connection from coming up is raised as well, to whoever asked, and named there. The end of one that was
    up is logged as what it was. Other users of coredis in this process see what they always see.
    """
    if not (_OURS.get() and record.exc_info):
        return True
    error = record.exc_info[1]
    record.exc_info = None
    record.msg, record.args = f"{record.getMessage()} {type(error).__name__ if error else ''}".rstrip(), ()
    return record.levelno < logging.ERROR


logging.getLogger("coredis").addFilter(_without_traceback)


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
        _OURS.set(True)  # in this task only
        try:
            await connection.run(task_status=task_status)
        except RedisError as error:
            task_status.started(error)
        finally:
            self._online_connections.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
