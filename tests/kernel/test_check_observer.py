"""`check_observer` catches observers that break its laws."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, ClassVar

import pytest
import trio
from kit_laws import laws_of, unproven
from trio.testing import MockClock

from turnout import CallDecided, OutcomeRecorded
from turnout.abc import Observer
from turnout.testing import _check_observer as rules
from turnout.testing import check_observer, open_plugin


class Counts:
    """Sound: counts events by their kind."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}

    async def hear(self, event: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.heard[type(event).__name__] = self.heard.get(type(event).__name__, 0) + 1

    def expose(self) -> Any:
        return {"text/plain": "".join(f"{kind} {count}\n" for kind, count in self.heard.items())}


async def test_a_sound_observer_passes(autojump_clock: MockClock) -> None:
    await check_observer(partial(open_plugin, "observers", Counts))


async def test_one_that_takes_batches_passes(autojump_clock: MockClock) -> None:
    await check_observer(partial(open_plugin, "observers", TakesBatches))


class Knows(Counts):
    async def hear(self, event: Any) -> None:
        {OutcomeRecorded: 1, CallDecided: 2}[type(event)]


class Hangs(Counts):
    async def hear(self, event: Any) -> None:
        await trio.sleep_forever()


class Synchronous(Counts):
    def hear(self, event: Any) -> Any:
        return None


class Writes(Counts):
    async def hear(self, event: Any) -> None:
        event.at = 0.0


class ShowsLater(Counts):
    async def expose(self) -> Any:
        return {}


class ShowsBytes(Counts):
    def expose(self) -> Any:
        return {"text/plain": b"x"}


class ShowsWhenItCan(Counts):
    def expose(self) -> Any:
        return {"text/plain": str(1 / len(self.heard))}


class CountsStrangers(Counts):
    async def hear(self, event: Any) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(event, CallDecided):
            self.heard[event.decision.model] = 1


class BreaksWhenCancelled(Counts):
    busy = False

    async def hear(self, event: Any) -> None:
        assert not self.busy
        self.busy = True
        await trio.lowlevel.checkpoint()
        self.busy = False


class Blocks(Counts):
    async def hear(self, event: Any) -> None:
        time.sleep(0.03)  # noqa: ASYNC251 # it breaks the law


class Exits(Counts):
    async def hear(self, event: Any) -> None:
        raise SystemExit(2)


class Swallows(Counts):
    async def hear(self, event: Any) -> None:
        with suppress(trio.Cancelled):
            await super().hear(event)


class RaisesInstead(Counts):
    async def hear(self, event: Any) -> None:
        try:
            await super().hear(event)
        except trio.Cancelled:
            raise OSError("the file is gone") from None


class TakesBatches(Counts):
    """Sound."""

    async def hear_batch(self, events: Any) -> None:
        for event in events:
            await self.hear(event)


class BatchesAtOnce(TakesBatches):
    def hear_batch(self, events: Any) -> Any:
        return None


class BatchesOfOutcomes(TakesBatches):
    async def hear_batch(self, events: Any) -> None:
        for event in events:
            event.outcome.verdict  # noqa: B018


class BatchesForEver(TakesBatches):
    async def hear_batch(self, events: Any) -> None:
        await trio.sleep_forever()


class SwallowsBatches(TakesBatches):
    async def hear_batch(self, events: Any) -> None:
        with suppress(trio.Cancelled):
            await super().hear_batch(events)


class ExitsFromBatches(TakesBatches):
    async def hear_batch(self, events: Any) -> None:
        raise SystemExit(2)


LETS_PASS = r"a cancellation is let pass: nothing is given or raised in its place \(`hear`, CredentialRegistered\)"
LEFT_BEHIND = "no task of an observer outlives"

BROKEN: tuple[tuple[type[Observer], str], ...] = (
    (Knows, "`hear` takes every event and passes over what it does not know: CredentialRegistered raised KeyError"),
    (Hangs, r"`hear` is done with an event within 5 s \(CredentialRegistered\)"),
    (Synchronous, "`hear` is an async function"),
    (Writes, "events are read only"),
    (ShowsLater, "`expose` is a plain function"),
    (ShowsBytes, "each with its text"),
    (ShowsWhenItCan, "`expose` raises nothing"),
    (BatchesAtOnce, "`hear_batch` is an async function"),
    (BatchesOfOutcomes, "`hear_batch` takes any events, as `hear` does; it raised AttributeError"),
    (BatchesForEver, "`hear_batch` is done with some events within 5 s"),
    (Blocks, r"`hear` does not block \(CredentialRegistered took"),
    (Exits, "`hear` takes every event and passes over what it does not know: CredentialRegistered raised SystemExit"),
    (Swallows, LETS_PASS),
    (RaisesInstead, LETS_PASS),
    (SwallowsBatches, "a cancellation of `hear_batch` is let pass: nothing is given or raised in its place"),
    (ExitsFromBatches, "`hear_batch` takes any events, as `hear` does; it raised SystemExit"),
    (CountsStrangers, "does not grow with what clients ask for"),
)
"""Each with the law that it breaks."""


@pytest.mark.parametrize(("broken", "law"), BROKEN)
async def test_an_observer_that_breaks_a_law_is_told_which(
    broken: type[Observer], law: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(AssertionError, match=rf"^broken: .*{law}.*\(turnout\.abc\.Observer; plugins\.md, Observers\)$"):
        await check_observer(partial(open_plugin, "observers", broken))


async def test_an_observer_that_a_cancelled_hearing_breaks_is_caught(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError):
        await check_observer(partial(open_plugin, "observers", BreaksWhenCancelled))


async def test_an_observer_whose_task_stays_is_caught(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        @asynccontextmanager
        async def leaking() -> AsyncIterator[Counts]:
            nursery.start_soon(trio.sleep_forever)
            yield Counts()

        with pytest.raises(AssertionError, match=LEFT_BEHIND):
            await check_observer(leaking)
        nursery.cancel_scope.cancel()


def test_every_law_of_an_observer_has_a_broken_one() -> None:
    assert not unproven(laws_of(rules), [LEFT_BEHIND, *(law for _, law in BROKEN)])
