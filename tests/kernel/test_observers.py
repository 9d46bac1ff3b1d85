"""One observer's queue: each event has its own limit, and none is lost to the lateness of another."""

from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout import CredentialRegistered, Event
from turnout._observers import HEAR_LIMIT, QUEUE, Observers


def event(number: int) -> Event:
    return CredentialRegistered(at=0.0, credential=str(number), provider="p")


class Ear:
    """Takes a while for each event, and a stubborn one lets nobody cancel what takes too long."""

    api: ClassVar[int] = 1

    def __init__(self, takes: list[float], *, stubborn: bool = False) -> None:
        self.takes = takes
        self.stubborn = stubborn
        self.heard: list[str] = []

    async def hear(self, event: Event) -> None:
        assert isinstance(event, CredentialRegistered)
        takes = self.takes.pop(0)
        with trio.CancelScope(shield=self.stubborn and takes > HEAR_LIMIT):
            await trio.sleep(takes)
        self.heard.append(event.credential)


async def heard_by(ear: Ear, count: int) -> Observers:
    observers = Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        for number in range(count):
            observers.tell(event(number))
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    return observers


async def test_every_event_has_its_own_limit(autojump_clock: MockClock) -> None:
    """H9: many that are a little slow are all heard, however long they take together."""
    ear = Ear([HEAR_LIMIT - 1] * 50)
    observers = await heard_by(ear, 50)
    assert ear.heard == [str(number) for number in range(50)]
    assert observers.lost() == {"ear": 0}


async def test_only_the_event_that_took_too_long_is_lost(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H9, O25: told with its limit; those before and behind it are heard."""
    ear = Ear([0, 1, HEAR_LIMIT + 1, 1, 0])
    observers = await heard_by(ear, 5)
    assert ear.heard == ["0", "1", "3", "4"]
    assert observers.lost() == {"ear": 1}
    assert "lost CredentialRegistered: took longer than 5 s" in caplog.text


async def test_an_observer_that_cannot_be_cancelled_costs_no_event_behind_the_slow_one(
    autojump_clock: MockClock,
) -> None:
    ear = Ear([HEAR_LIMIT + 1, 1, 1], stubborn=True)
    observers = await heard_by(ear, 3)
    assert ear.heard == ["0", "1", "2"]
    assert observers.lost() == {"ear": 0}


async def test_an_observer_that_never_waits_lets_others_have_their_turn(autojump_clock: MockClock) -> None:
    """A8: a full queue is not heard in one step."""

    class Quick(Ear):
        async def hear(self, event: Event) -> None:
            self.heard.append("")

    ear, observers = Quick([]), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        await wait_all_tasks_blocked()
        for number in range(QUEUE):
            observers.tell(event(number))
        before = 0
        while before < QUEUE:
            await trio.lowlevel.checkpoint()
            assert len(ear.heard) - before <= 64
            before = len(ear.heard)
        nursery.cancel_scope.cancel()
