"""What is left of an answer's body: taken as it comes where the transport can tell, else asked for."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Protocol

import httpx

from turnout_wire._failure import UPSTREAM_EXCEPTIONS


class Body(Protocol):
    """The rest of a body; a stream may be one by itself, see `turnout.abc.Transport`."""

    def read_nowait(self) -> bytes | None:
        """What has come; empty at the end, None when there is nothing yet. Raises what reading raises."""

    def wait(self, enough: Callable[[], bool] | None = None) -> Coroutine[Any, Any, None]:
        """Wait until `read_nowait`, which has just given None, has something to give or to raise.

        Who reads may ask `enough` whenever something has come, and wake the waiting task only when that gives True.
        """


class Asked:
    """A body of a stream that can only be asked for more; implements `Body`."""

    __slots__ = ("_ended", "_failure", "_piece", "_pieces")

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._pieces = aiter(stream)
        self._piece = b""
        self._ended = False
        self._failure: Exception | None = None

    def read_nowait(self) -> bytes | None:
        """See `Body`."""
        if self._failure is not None:
            raise self._failure
        piece, self._piece = self._piece, b""
        return piece if piece or self._ended else None

    async def wait(self, enough: Callable[[], bool] | None = None) -> None:  # noqa: ARG002  # see `Body`
        """See `Body`."""
        try:
            self._piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._ended = True
        except UPSTREAM_EXCEPTIONS as exc:
            self._failure = exc

    async def aclose(self) -> None:
        """Close what was left half way; a stream that is its own iterator needs nothing."""
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()
