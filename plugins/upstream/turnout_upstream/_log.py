"""What an upstream saw: requests, and how each connection ended. Values, in the order in which things happened."""

import enum
from collections import deque
from collections.abc import Callable
from typing import final

import attrs
import trio

from turnout_upstream._script import Headers


@final
@attrs.frozen(kw_only=True)
class Request:
    """A request as it arrived. It shows the key it came with: this is a tool for tests, with keys made up for them.

    Attributes:
        number: 1 for the first request that this upstream saw.
        connection: number of its connection, 1 for the first.
        at: seconds on Trio's clock, when it was complete.
        path: request target without its query.
        headers: names in lower case.
        key: API key from `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`; None without one.
        model: of the JSON body, None when there is none.
        stream: whether the body asks for a stream.
        whole: False when it was answered before all of it had arrived.
    """

    number: int
    connection: int
    at: float
    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""
    key: str | None = None
    model: str | None = None
    stream: bool = False
    usage: bool = False
    whole: bool = True

    def header(self, name: str) -> str | None:
        """The first header of that name (lower case), None without one."""
        return next((value for key, value in self.headers if key == name), None)


class EndedBy(enum.Enum):
    """Who ended a connection, and how."""

    FIN = "fin"
    """The peer closed it."""
    RST = "rst"
    """The peer reset it, or closed it with our bytes unread."""
    UPSTREAM = "upstream"
    """We did, as the script says or because the peer broke the protocol."""


@final
@attrs.frozen(kw_only=True)
class Ending:
    """How a connection ended.

    Attributes:
        at: seconds on Trio's clock.
        during: number of the request that was being answered, None when the connection was idle.
        requests: how many requests it had carried.
        sent: bytes that we had sent on it.
        received: bytes that came on it, decrypted.
    """

    connection: int
    by: EndedBy
    at: float
    during: int | None
    requests: int
    sent: int
    received: int


@final
class Log:
    """What an upstream saw so far; the oldest entries go when there are more than `keep` of a kind.

    Attributes:
        requests: answered or being answered.
        endings: of connections that are over.
        opened: connections accepted.
        seen: requests counted.
        ended: connections that are over, counted.
        listener: called with each new entry; None for nobody.
    """

    def __init__(self, keep: int) -> None:
        self.requests: deque[Request] = deque(maxlen=keep)
        self.endings: deque[Ending] = deque(maxlen=keep)
        self.opened = 0
        self.seen = 0
        self.ended = 0
        self.listener: Callable[[Request | Ending], None] | None = None
        self._news: trio.Event | None = None

    @property
    def open(self) -> int:
        """Connections open now."""
        return self.opened - self.ended

    def keys(self) -> list[str | None]:
        """The keys of the requests kept, in order."""
        return [request.key for request in self.requests]

    def of(self, key: str) -> list[Request]:
        """The requests kept that came with this key."""
        return [request for request in self.requests if request.key == key]

    def add_connection(self) -> int:
        """Count a connection and give its number."""
        self.opened += 1
        self._tell(None)
        return self.opened

    def add_request(self, request: Request) -> None:
        """Note a request."""
        self.seen += 1
        self.requests.append(request)
        self._tell(request)

    def add_ending(self, ending: Ending) -> None:
        """Note the end of a connection."""
        self.ended += 1
        self.endings.append(ending)
        self._tell(ending)

    async def wait_for(self, condition: Callable[["Log"], bool]) -> None:
        """Wait until the condition holds; it is asked again after each change. Put a deadline around it."""
        while not condition(self):
            if self._news is None:
                self._news = trio.Event()
            await self._news.wait()

    def _tell(self, entry: Request | Ending | None) -> None:
        if self.listener is not None and entry is not None:
            self.listener(entry)
        if self._news is not None:
            self._news.set()
            self._news = None
