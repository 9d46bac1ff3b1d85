"""A stream's chunks on their way to who takes them without waiting, past the task that waits for the stream.

To wake a task for each chunk costs a pass of Trio's loop, and a walk down every coroutine from the server's to the
transport's. So whoever has read something from an upstream hands it on at once (`HandingOn.more`), and wakes the task
that waits only at the end, after a failure, and when the client does not take any more.
"""

from collections.abc import Awaitable, Callable
from typing import final

from turnout._values import Chunk

Take = Callable[[bytes], bool]


@final
class HandingOn:
    """Hands on what has come of one stream, until there is something that its own task has to do.

    Attributes:
        refused: who takes the chunks wants no more for now.
        last: the bytes that came together with the end; None while there is no end.
        fault: what reading or taking has raised.
    """

    __slots__ = ("_progressed", "_read", "_take", "_unread", "fault", "last", "refused")

    def __init__(
        self,
        take: Take,
        read: Callable[[], Chunk | None],
        unread: Callable[[Chunk], None],
        progressed: Callable[[], None],
    ) -> None:
        """Keep what it needs.

        Args:
            take: see `abc.AnswerStream.hand_on`.
            read: gives the next chunk, None when it has not come; raises StopAsyncIteration and failures.
            unread: takes a chunk back, which will be the next one.
            progressed: whatever had come has gone, and the next chunk is waited for.
        """
        self.refused = False
        self.last: bytes | None = None
        self.fault: BaseException | None = None
        self._take = take
        self._read = read
        self._unread = unread
        self._progressed = progressed

    def more(self) -> bool:
        """Hand on what has come; whether there is something for the task to do. Raises nothing.

        A chunk goes when it is known whether another one or the end has come with it: what comes with the end can go
        out with it.
        """
        if self.refused or self.last is not None or self.fault is not None:
            return True
        chunk = None
        try:
            while (following := self._read()) is not None:
                if chunk is not None and self._is_refused(chunk):
                    self._unread(following)
                    return True
                chunk = following
        except StopAsyncIteration:
            self.last = b"" if chunk is None else chunk.data
            return True
        except BaseException as error:  # noqa: BLE001  # raised in the task that waits
            self.fault = error
        if chunk is None:
            return self.fault is not None
        if self._is_refused(chunk) or self.fault is not None:
            return True
        self._progressed()
        return False

    def _is_refused(self, chunk: Chunk) -> bool:
        try:
            self.refused = not self._take(chunk.data)
        except BaseException as error:  # noqa: BLE001  # as above
            self.fault = error
            return True
        return self.refused


async def hand_on_each(next_chunk: Callable[[], Awaitable[Chunk]], take: Take) -> bytes | None:
    """`abc.AnswerStream.hand_on` of a stream that can only be asked for its next chunk."""
    while True:
        try:
            chunk = await next_chunk()
        except StopAsyncIteration:
            return b""
        if not take(chunk.data):
            return None
