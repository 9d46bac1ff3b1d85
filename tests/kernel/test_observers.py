"""One observer's queue: each event has its own limit, and none is lost to the lateness of another."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnout import CredentialRegistered, Event
from turnout._observers import BATCH, FAREWELL, GATHER, HEAR_LIMIT, LARGE_BATCH, QUEUE, Observers


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
        for _ in range(QUEUE):
            await trio.lowlevel.checkpoint()
            assert len(ear.heard) - before <= 2 * BATCH
            before = len(ear.heard)
        assert before == QUEUE
        nursery.cancel_scope.cancel()


async def test_a_crowd_of_events_is_heard_before_there_is_no_room_for_more(autojump_clock: MockClock) -> None:
    """H9: none is lost to the time in which others may join."""
    ear, observers = Ear([0] * (QUEUE - 1)), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        for number in range(QUEUE - 1):
            observers.tell(event(number))
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert len(ear.heard) == QUEUE - 1
        nursery.cancel_scope.cancel()


async def test_events_that_come_together_wake_an_observer_once(autojump_clock: MockClock) -> None:
    """The first of a crowd waits for the rest, for no longer than `GATHER`."""
    ear, observers = Ear([0] * 3), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        await wait_all_tasks_blocked()
        for number in range(3):
            await trio.sleep(GATHER / 4)
            observers.tell(event(number))
            await wait_all_tasks_blocked()
            assert not ear.heard
        await trio.sleep(GATHER / 2)
        await wait_all_tasks_blocked()
        assert ear.heard == ["0", "1", "2"]
        nursery.cancel_scope.cancel()


async def test_what_waits_at_the_end_is_heard_at_once(autojump_clock: MockClock) -> None:
    ear, observers = Ear([0] * 40), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        await wait_all_tasks_blocked()
        for number in range(40):
            observers.tell(event(number))
        began = trio.current_time()
        await observers.end()
        assert (len(ear.heard), trio.current_time()) == (40, began)
    assert trio.current_time() == began  # and nobody had to end the observer's task


async def test_a_single_event_without_room_is_told_as_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ear, observers = Ear([0] * QUEUE), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        for number in range(QUEUE + 1):
            observers.tell(event(number))
        await observers.end()
    why = f"it is too slow, and {QUEUE} others waited already"
    assert [record.getMessage() for record in caplog.records] == [f"observer 'ear' lost one event: {why}"]


async def test_what_finds_no_room_is_lost_counted_and_told_once_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H9: who runs it learns that an observer is too slow, however much it loses."""
    ear, observers = Ear([1] * (QUEUE + 200)), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        for number in range(QUEUE + 3):
            observers.tell(event(number))
        await trio.sleep(0.5)  # between two events that are heard
        observers.tell(event(-1))
        for _ in range(100):
            await trio.sleep(1)
            for _ in range(3):  # one of which has room
                observers.tell(event(-1))
        assert observers.lost() == {"ear": 3 + 2 * 100}
        nursery.cancel_scope.cancel()
    assert ear.heard == [str(number) for number in range(100)]
    told = [record.getMessage() for record in caplog.records]
    why = f"events: it is too slow, and {QUEUE} others waited already"
    assert told[0] == f"observer 'ear' lost 3 {why}"
    assert [line.endswith(why) for line in told] == [True, True, True, False]
    assert told[3].endswith(" events: they still waited when it was closed")
    assert sum(int(line.split()[3]) for line in told) == observers.lost()["ear"]
    assert observers.lost()["ear"] == QUEUE + 3 + 1 + 3 * 100 - 100 - 1  # the one that was being heard


async def test_an_observer_that_has_nothing_to_hear_ends_at_once(autojump_clock: MockClock) -> None:
    observers = Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": Ear([])}, nursery)
        await trio.sleep(1)
        began = trio.current_time()
        await observers.end()
        assert trio.current_time() == began


async def test_the_end_does_not_wait_for_an_observer_that_is_slow(autojump_clock: MockClock) -> None:
    observers = Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": Ear([0.3] * 9), "idle": Ear([])}, nursery)
        for number in range(9):
            observers.tell(event(number))
        began = trio.current_time()
        await observers.end()
        assert trio.current_time() == began + FAREWELL
        nursery.cancel_scope.cancel()


class Crowd(Ear):
    """Takes batches, each in a while of its own."""

    def __init__(self, takes: list[float]) -> None:
        super().__init__(takes)
        self.batches: list[int] = []

    async def hear_batch(self, events: Sequence[Event]) -> None:
        self.batches.append(len(events))
        await trio.sleep(self.takes.pop(0))
        for event in events:
            assert isinstance(event, CredentialRegistered)
            self.heard.append(event.credential)
            assert event.credential != "bad"


async def test_one_that_takes_batches_gets_what_waits_in_one_go_and_in_order(autojump_clock: MockClock) -> None:
    ear = Crowd([0, 0])
    observers = await heard_by(ear, LARGE_BATCH + 2)
    assert ear.heard == [str(number) for number in range(LARGE_BATCH + 2)]
    assert (ear.batches, observers.lost()) == ([LARGE_BATCH, 2], {"ear": 0})


async def test_a_batch_that_takes_too_long_is_lost_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H9: the next batch has a limit of its own."""
    ear = Crowd([HEAR_LIMIT + 1, HEAR_LIMIT - 1])
    observers = await heard_by(ear, LARGE_BATCH + 2)
    assert ear.heard == [str(number) for number in range(LARGE_BATCH, LARGE_BATCH + 2)]
    assert observers.lost() == {"ear": LARGE_BATCH}
    assert f"observer 'ear' lost {LARGE_BATCH} events: took longer than 5 s" in caplog.text


async def test_what_a_batch_raises_is_told_once_for_all_of_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H8, O25."""
    ear, observers = Crowd([0, 0]), Observers()
    async with trio.open_nursery() as nursery:
        observers.follow({"ear": ear}, nursery)
        for name in ("good", "bad", "behind"):
            observers.tell(CredentialRegistered(at=0.0, credential=name, provider="p"))
        await trio.sleep(1)
        observers.tell(event(4))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert ear.heard == ["good", "bad", "4"]
    assert observers.lost() == {"ear": 3}
    assert caplog.text.count("lost 3 events: ") == 1


@pytest.mark.parametrize("name", ["hear", "hear_batch"])
async def test_one_that_raises_before_it_gives_something_to_wait_for_harms_nobody(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H8: a plain function where an async one is due."""

    def raising(_self: object, _what: object) -> None:
        raise ValueError("a bug")

    broken: type[Ear] = type("Broken", (Ear,), {name: raising})
    observers = await heard_by(broken([]), 3)
    assert observers.lost() == {"ear": 3}
    assert "raised ValueError" in caplog.text
