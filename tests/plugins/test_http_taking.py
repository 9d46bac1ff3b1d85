"""Clients that take what is sent, slowly, and clients that take nothing (C-3, C-4)."""

from itertools import count

import pytest
import trio
import trio.testing

from turnout_http._taking import acknowledged, while_taking


async def test_waiting_goes_on_as_long_as_something_is_taken(autojump_clock: trio.testing.MockClock) -> None:
    """C-4."""
    calls = count()

    async def room() -> str:
        await trio.sleep(0 if next(calls) == 5 else 60)
        return "room"

    began = trio.current_time()
    assert await while_taking(room, lambda: int(trio.current_time()), 10) == "room"
    assert trio.current_time() - began == pytest.approx(50)


@pytest.mark.parametrize("told", [0, 7, None])
async def test_waiting_ends_when_nothing_is_taken_or_nobody_can_tell(
    told: int | None, autojump_clock: trio.testing.MockClock
) -> None:
    """C-3."""
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await while_taking(trio.sleep_forever, lambda: told, 10)
    assert trio.current_time() - began == pytest.approx(10)


async def test_a_client_that_takes_something_once_gets_the_whole_limit_from_then_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    taken = iter([0, 1, 1])
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await while_taking(trio.sleep_forever, lambda: next(taken), 10)
    assert trio.current_time() - began == pytest.approx(20)


async def test_what_no_system_counts_is_none() -> None:
    one, other = trio.socket.socketpair()
    with one, other:
        assert acknowledged(one) is None
