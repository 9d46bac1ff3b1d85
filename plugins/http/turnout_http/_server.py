"""The seam between the application and what speaks HTTP: whoever implements it can take the other's place."""

from collections.abc import Awaitable, Callable, Sequence
from socket import socket
from typing import Protocol

import trio

from turnout_http._visit import Receive, Scope, Send

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Server(Protocol):
    """Speaks HTTP on sockets that listen already, and runs an ASGI application for each request.

    It must notice at once when a client leaves: `receive` gives `http.disconnect`, or the application is cancelled and
    the scope carries the extension `turnout.cancels`. A `send` that the client does not take ends after `write_stall`
    by cutting the connection; it never waits under a shield. One request at a time per connection; bytes sent ahead of
    their turn are never run as a request. A request with an `upgrade` header is answered like any other and is the last
    of its connection; once the application has answered `101`, whatever the client sends comes as pieces of the body,
    and pieces of the answer's body are sent as they are. A fault in one connection ends that connection only.
    """

    async def serve(
        self,
        app: Asgi,
        sockets: Sequence[socket],
        closing: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `closing` is set, and return when no connection is left.

        Then listeners and idle connections close at once, each other connection after its request. Cancelling it cuts
        all of them.
        """
        ...
