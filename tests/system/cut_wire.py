"""A way to a server on loopback that can be cut and healed: what is between one node and its store, and no other's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import trio

How = Literal["cut", "stalled"]


class Wire:
    """Listens on a port of 127.0.0.1 and passes on what comes, both ways.

    Attributes:
        port: where it listens.
        ever_stalled: bytes that were on their way while it was stalled; they arrive when it is healed, as retransmitted
            ones do.
    """

    def __init__(self, server: int) -> None:
        self.port = 0
        self.ever_stalled = 0
        self._server = server
        self._how: How | None = None
        self._healed = trio.Event()
        self._healed.set()
        self._connections: set[trio.CancelScope] = set()

    def fail(self, how: How) -> None:
        """From now on nothing passes: every connection ends and new ones end at once, or nothing is heard of any."""
        self._how, self._healed = how, trio.Event()
        if how == "cut":
            for scope in self._connections:
                scope.cancel()

    def heal(self) -> None:
        """From now on everything passes, what was held up first."""
        self._how = None
        self._healed.set()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, self._pass_on, 0, host="127.0.0.1"))
            self.port = listener.socket.getsockname()[1]
            task_status.started()

    async def _pass_on(self, near: trio.SocketStream) -> None:
        if self._how == "cut":
            return
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with await trio.open_tcp_stream("127.0.0.1", self._server) as far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, near, far, scope)
                    nursery.start_soon(self._pump, far, near, scope)
            finally:
                self._connections.discard(scope)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                if self._how == "stalled":
                    self.ever_stalled += len(data)
                    await self._healed.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one of them has gone
        scope.cancel()


@asynccontextmanager
async def wire_to(server: int) -> AsyncIterator[Wire]:
    """A wire to this port of 127.0.0.1, gone when the block ends."""
    wire = Wire(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(wire.serve)
        yield wire
        nursery.cancel_scope.cancel()
