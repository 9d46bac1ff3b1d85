"""A streaming call as a context manager."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from turnout._lasting import LastingScope
from turnout._values import Ask
from turnout.abc import AnswerStream

Entered = AbstractAsyncContextManager[AnswerStream]


class Streaming:
    """Opens its stream when it is entered and leaves it when the block ends.

    A class: made from a generator it would cost 8 µs more, a tenth of what a stream costs in all.
    """

    __slots__ = ("_ask", "_open", "_opened", "_under")

    def __init__(
        self, open: Callable[[Ask, LastingScope | None], Awaitable[Entered]], ask: Ask, under: LastingScope | None
    ) -> None:
        self._open = open
        self._ask = ask
        self._under = under
        self._opened: Entered

    async def __aenter__(self) -> AnswerStream:
        self._opened = await self._open(self._ask, self._under)
        return await self._opened.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._opened.__aexit__(kind, error, trace)
