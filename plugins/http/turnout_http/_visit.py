"""One request while it is being served, and how its client's leaving ends it."""

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Protocol, final

import attrs
import trio

from turnout_http._framing import Head

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

VISIT = "turnout.visit"
"""Key in the ASGI scope."""

CANCELS = "turnout.cancels"
"""ASGI extension of a server that cancels the application itself when the client goes: no watcher is needed."""

EXTENSIONS: dict[str, dict[str, Any]] = {CANCELS: {}}
"""In the scope of a server that does."""

ASGI = {"version": "3.0", "spec_version": "2.4"}

WHOLE_BODY = "turnout.body"
"""Key in the ASGI scope: the request's body, when the server had all of it before it called the application."""

ANSWER = "turnout.answer"
"""Key in the ASGI scope: the server's way for a whole answer, an `Answer`. ASGI's own takes two messages and a list of
headers. With the heads that come again (`HEAD`) it saves 140 of 627 function calls of a call of 1 KB."""

STREAMS = "turnout.streams"
"""Key in ASGI's `http.response.start`: the body is a stream, and framed as one even if all of it is here already."""

LASTING = "turnout.lasting"
"""Key in the ASGI scope: the `LastingScope` of the task in which the server calls the application."""

HEAD = "turnout.head"
"""Key in the ASGI scope: a `Remembered` that comes again with each request of the same head, whatever its length."""


@final
class Done:
    """An awaitable for which there is nothing to wait."""

    def __await__(self) -> Iterator[None]:
        """Over at once."""
        return iter(())


DONE: Awaitable[None] = Done()  # type: ignore[assignment]  # an iterator will do (PEP 492), typeshed wants a generator
"""What a `send` gives when the system has taken everything at once; another server's may give something else then."""


class Answer(Protocol):
    """A server's way for a whole answer."""

    def __call__(self, status: int, lines: bytes, body: bytes, *, close: bool) -> Awaitable[None]:
        """Send it; waits while the client does not read.

        Args:
            status: of the answer.
            lines: its header lines, each with its line end; the body's length is among them.
            body: the body, which is left out where the request or the status have none.
            close: the connection must not be used again.
        """
        ...


class Remembered(Protocol):
    """A head of a connection, as the server remembers it.

    Attributes:
        judged: what the application has made of it, None before it has.
    """

    judged: object


@final
@attrs.define(eq=False)
class Visit:
    """A request that has been let in.

    Attributes:
        id: request id, the client's own when it sent a sane one.
        head: request headers.
        client: whose key it showed.
        key: that key.
        tag: by which the kernel's records name that client (S8).
        dialect: in which its errors are told.
        started: the head of an answer has been sent.
        streaming: a stream has been committed, so that an error is told inside it.
        storing: the vendor keeps what comes of it.
    """

    id: str
    head: Head
    client: str
    dialect: str
    key: bytes = attrs.field(default=b"", repr=False)
    tag: str = attrs.field(default="", repr=False)
    started: bool = False
    streaming: bool = False
    storing: bool = False


async def while_present(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work`, and stop when the client leaves (H3: a server's `send` does not tell).

    What `work` raises comes out as it is, not in a group.
    """
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_leave_with_client, receive, nursery.cancel_scope)
        try:
            await work()
        except Exception as error:  # noqa: BLE001  # carried over the nursery's border, raised below
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _leave_with_client(receive: Receive, work: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    work.cancel()
