"""A stream of events whose bytes another task reads: who is asked, and who is woken."""

from collections.abc import Callable
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout import Failure, Protocol
from turnout.errors import UpstreamFailed
from turnout_openai._chat_events import CHAT_EVENTS
from turnout_wire._passing import PassedEvents
from turnout_wire.exchange import Exchange
from turnout_wire.stream import PassedStream

WORD = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
FAILURE = b'data: {"error":{"message":"no more"}}\n\n'


class Fed:
    """An exchange that asks what is enough before it wakes the task that waits."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._woken: trio.Event | None = None
        self._enough: Callable[[], bool] | None = None

    def more_nowait(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else None

    async def read_more(self) -> bytes:
        while (piece := self.more_nowait()) is None:
            await self.wait()
        return piece

    async def wait(self, enough: Callable[[], bool] | None = None) -> None:
        self._woken, self._enough = trio.Event(), enough
        await self._woken.wait()

    def come(self, piece: bytes) -> None:
        self.pieces.append(piece)
        if self._woken is not None and (self._enough is None or self._enough()):
            self._woken.set()


class Reading:
    """What is handed on of a stream, and how it ended."""

    def __init__(self, fed: Fed) -> None:
        events = PassedEvents(CHAT_EVENTS, lambda _status, _body: cast(Failure, Protocol(message="told")))
        self.stream = PassedStream(cast(Exchange, fed), {}, events)
        self.got: list[bytes] = []
        self.ended = False
        self.failed = False

    def enough(self) -> bool:
        """Whether the task has something to do; as the kernel says it."""
        try:
            while (chunk := self.stream.take_nowait()) is not None:
                self.got.append(chunk.data)
        except StopAsyncIteration:
            self.ended = True
        except UpstreamFailed:
            self.failed = True
        return self.ended or self.failed

    async def run(self) -> None:
        with trio.fail_after(60):
            while not self.enough():
                await self.stream.wait(self.enough)


@pytest.mark.parametrize("tail", [None, b""], ids=["never", "in time"])
async def test_the_end_of_the_body_is_waited_for_a_little_once_the_answer_is_complete(
    tail: bytes | None, autojump_clock: MockClock
) -> None:
    fed = Fed()
    reading = Reading(fed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        for piece in (WORD, WORD, DONE):
            await wait_all_tasks_blocked()
            fed.come(piece)
        began = trio.current_time()
        await wait_all_tasks_blocked()
        if tail is not None:
            fed.come(tail)
    assert (reading.got, reading.ended) == ([WORD, WORD, DONE], True)
    assert trio.current_time() - began == pytest.approx(0.25 if tail is None else 0.0)


async def test_an_error_among_the_events_wakes_whoever_waits_for_them() -> None:
    """B22."""
    fed = Fed()
    reading = Reading(fed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        for piece in (WORD, WORD + FAILURE):
            await wait_all_tasks_blocked()
            fed.come(piece)
    assert (reading.got, reading.failed) == ([WORD, WORD], True)
