"""One server: every call to it is bounded in time, and every failure of it is a StoreError."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import coredis
import trio
from coredis.exceptions import RedisError, UnknownCommandError
from coredis.retry import NoRetryPolicy

from turnout.errors import StoreError
from turnout_redis._pool import Pool
from turnout_redis._settings import RedisSettings

T = TypeVar("T")

LIMIT: Final = 2.0
"""Seconds that one call may take (acceptance G3): a server that hangs is as good as one that is gone."""

CONNECTIONS: Final = 8
"""Connections per process; commands of many tasks share them."""

Client = coredis.Redis[bytes]


class Server:
    """A server that may come and go.

    Attributes:
        client: its connections.
        name: `host:port/database`, for messages.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self._scripts: dict[str, Any] = {}

    async def ask(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do one piece of work on the client within `LIMIT`; `what` says it for people. Raises StoreError."""
        try:
            with trio.fail_after(LIMIT):
                return await work()
        except trio.TooSlowError:
            raise StoreError(f"{what}: redis at {self.name} did not answer within {LIMIT:g} s") from None
        except FAILURES as error:
            raise StoreError(f"{what}: redis at {self.name}: {shown(error)}") from error
        except ExceptionGroup as group:  # of a nursery inside coredis
            if group.split(FAILURES)[1] is not None:
                raise
            raise StoreError(f"{what}: redis at {self.name}: {shown(group)}") from group

    async def run(self, what: str, script: str, keys: Sequence[str], *arguments: bytes | str | int) -> Any:
        """Run one of our scripts, by its digest. Raises StoreError."""
        found = self._scripts.get(script)
        if found is None:
            found = self._scripts[script] = self.client.register_script(script)
        return await self.ask(what, lambda: found(keys=list(keys), args=list(arguments)))


FAILURES: Final = (RedisError, OSError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError)
"""What a server that fails makes us see."""


def shown(error: BaseException) -> str:
    """An error as messages may show it: its class, and the server's own code for it; its text may quote arguments.

    What it was raised for follows in brackets. Of a group the first inner one is shown, for the group says nothing.
    """
    if isinstance(error, BaseExceptionGroup):
        return shown(error.exceptions[0])
    code = re.match(r"[A-Z]{3,16}\b", str(error))
    known = code is not None and not isinstance(error, UnknownCommandError)
    name = f"{type(error).__name__} {code[0]}" if code is not None and known else type(error).__name__
    return name if error.__cause__ is None else f"{name} ({shown(error.__cause__)})"


@contextmanager
def ungrouped() -> Iterator[None]:
    """Nurseries, coredis's too, wrap what ends them; an error that is alone in its groups is raised as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, BaseExceptionGroup):
            raise
        raise error from error.__cause__


@asynccontextmanager
async def open_server(settings: RedisSettings) -> AsyncIterator[Server]:
    """A server that answers, as long as the block runs. Raises StoreError that says what to do."""
    address = settings.address()
    try:
        tls = await trio.to_thread.run_sync(settings.tls_context) if address.tls else None
    except OSError as error:
        raise StoreError(f"the ca_file {settings.ca_file} cannot be used: {error.strerror}") from error
    client: Client = coredis.Redis(
        host=address.host,
        port=address.port,
        db=address.db,
        username=address.username,
        password=address.password.reveal() if address.password is not None else None,
        ssl_context=tls,
        ssl=address.tls,
        connect_timeout=LIMIT,
        max_connections=CONNECTIONS,
        decode_responses=False,
        verify_version=False,
        connection_pool_cls=Pool,
        retry_policy=NoRetryPolicy(),  # we have our own limit, and whoever asks tries again
    )
    async with client:
        server = Server(client, str(address))
        await server.ask("the store cannot be opened; start the server, or check the url", client.ping)
        yield server
