"""A check ends by itself and names the place when a plugin keeps it by a shielded scope without a deadline."""

from functools import partial
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from turnout.testing import check_observer, open_plugin
from turnout.testing._hung import GRACE, watching
from turnout.testing._law import Laws

HANGS = r"^broken: what is cancelled ends; a scope without a deadline shields kernel/test_check_hanging\.py:\d+ "
law = Laws("Thing", "Things")


class Shields:
    """Hears nothing any more after its first event."""

    api: ClassVar[int] = 1

    async def hear(self, event: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


async def test_an_observer_that_hangs_shielded_is_told_with_its_place(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=rf"{HANGS}\(`hear`\) \(turnout\.abc\.Observer; plugins\.md, Observers\)$"):
        await check_observer(partial(open_plugin, "observers", Shields))


async def hang(times: int = 1) -> None:
    for _ in range(times):
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


async def test_one_shield_after_the_other_is_cut(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=rf"{HANGS}\(it all\)"):
        async with watching(law) as hanging:
            with hanging.ended(5, "it all"), trio.move_on_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hang, 3)
                    nursery.start_soon(hang)

    assert trio.current_time() == pytest.approx(5 + 3 * GRACE, abs=0.1)


async def test_what_was_broken_before_is_the_cause_of_what_hangs(autojump_clock: MockClock) -> None:
    async with watching(law) as hanging:
        with pytest.raises(AssertionError, match=HANGS) as caught, hanging.ended(5, "it all"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hang)
                await trio.lowlevel.checkpoint()
                raise ValueError

    assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_what_ends_in_time_is_let_be(autojump_clock: MockClock) -> None:
    async with watching(law) as hanging:
        for _ in range(3):
            with hanging.ended(5, "it all"), trio.move_on_after(5), trio.CancelScope(shield=True):
                await trio.sleep(5 + GRACE / 2)
        with trio.CancelScope(shield=True) as later:
            await trio.sleep(1000)

    assert not later.cancel_called


async def test_what_was_shielded_before_the_check_is_let_be(autojump_clock: MockClock) -> None:
    with trio.CancelScope(shield=True) as own:
        with pytest.raises(AssertionError, match=HANGS):
            async with watching(law) as hanging:
                with hanging.ended(5, "it all"):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(hang)

        assert not own.cancel_called


async def test_nothing_of_the_watch_is_left(autojump_clock: MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with watching(law):
        pass

    assert trio.lowlevel.current_statistics().tasks_living == before
