"""What upstreams say is left of a credential's limits reaches the selectors' view."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio

from turnout import Ask, Kernel, RateLimited, Remaining
from turnout.abc import Candidate, Ready
from turnout.errors import InvalidAsk
from turnout.testing import Script, ScriptedProvider, scripted_kernel

TOML = """
[providers.p]
models = [{ name = "m" }, { name = "n" }]
[[providers.p.credentials]]
name = "a"
api_key = "key-of-a-0123"
[[providers.p.credentials]]
name = "b"
api_key = "key-of-b-0123"
"""
MUCH, LITTLE = Remaining(share=0.9, until=2e9), Remaining(share=0.1, until=2e9)


class Looks:
    """Takes whoever is first, and keeps what it saw of everybody."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.seen: dict[str, Remaining | None] = {}

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate:
        self.seen = {candidate.id: candidate.remaining for candidate in ready.best}
        return ready.best.first()


async def execute(kernel: Kernel, model: str = "m") -> None:
    await kernel.execute(Ask(model=model))


async def stream(kernel: Kernel, model: str = "m") -> None:
    async with kernel.stream(Ask(model=model)) as chunks:
        async for _ in chunks:
            pass


@pytest.mark.parametrize("way", [execute, stream])
async def test_the_newest_word_of_an_upstream_is_seen_by_the_next_pick(
    way: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """Of this credential and this model alone; an answer that says nothing takes nothing back, nor does a refusal."""
    selector, provider = Looks(), ScriptedProvider()
    provider.script(Script(remaining=MUCH), Script(remaining=LITTLE), Script(), credential="a")
    async with scripted_kernel(TOML, {"p": provider}, selector=selector) as kernel:
        for seen in (None, MUCH, LITTLE, LITTLE):
            await way(kernel)
            assert selector.seen == {"a": seen, "b": None}
        provider.script(Script(failure=RateLimited(retry_after=1.0)), credential="a")
        await way(kernel)
        await trio.sleep(5)
        await way(kernel)
        assert selector.seen == {"a": LITTLE, "b": None}
        await way(kernel, "n")
        assert selector.seen == {"a": None, "b": None}


@pytest.mark.parametrize("way", [execute, stream])
async def test_what_is_no_such_value_is_not_shown(way: Any, autojump_clock: trio.testing.MockClock) -> None:
    """A provider's mistake here costs nobody a call."""
    selector, provider = Looks(), ScriptedProvider(Script(remaining=0.5))  # type: ignore[arg-type]  # the mistake
    async with scripted_kernel(TOML, {"p": provider}, selector=selector) as kernel:
        await way(kernel)
        await way(kernel)
        assert selector.seen == {"a": None, "b": None}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_nothing_and_all(share: float) -> None:
    with pytest.raises(InvalidAsk, match="between 0 and 1"):
        Remaining(share=share, until=0.0)
