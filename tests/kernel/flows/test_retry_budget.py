"""What upstreams see while they fail: hardly more than is asked, however often calls may be tried (B32, B33)."""

import random
from collections import Counter
from collections.abc import Collection, Sequence

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Call, Credential, Failure, Kernel, Protocol, Sent, Unreachable
from turnout.errors import Unavailable, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

ASK = Ask(model="m")


def pool(*names: str) -> str:
    """Credentials, each at the origin that its first letter stands for."""
    entries = (
        f'[[providers.p.credentials]]\nname = "{name}"\napi_key = "key-of-{name}-0123456789"\n'
        f'base_url = "https://{name[0]}.test:443"\n'
        for name in names
    )
    return '[providers.p]\nmodels = [{ name = "m" }]\n' + "".join(entries)


RESETS = [
    pytest.param(Unreachable(sent=Sent.NO), id="before the request"),
    pytest.param(Protocol(sent=Sent.MAYBE), id="after the request"),
]


class Flaky(ScriptedProvider):
    """Takes 50 ms for an answer; half of what `bad` credentials are asked fails, of `down` ones all."""

    def __init__(self, failure: Failure, *, bad: Collection[str] = (), down: Collection[str] = ()) -> None:
        super().__init__()
        self.failure, self.bad, self.down = failure, bad, down
        self.times: list[float] = []
        self._chance = random.Random(1)  # noqa: S311  # chance that can be replayed

    async def _begin(self, call: Call) -> Script:
        self.calls.append(call)
        self.times.append(trio.current_time())
        await trio.sleep(0.05)
        credential: Credential = call.credential
        fails = credential.id in self.down or (credential.id in self.bad and self._chance.random() < 0.5)
        return Script(failure=self.failure) if fails else Script()


@attrs.define
class Seen:
    """What clients saw: how calls ended, when each that succeeded did, and how long each that failed took.

    Attributes:
        failures: when it began and seconds it took.
    """

    ends: Counter[str] = attrs.field(factory=Counter)
    successes: list[float] = attrs.field(factory=list)
    failures: list[tuple[float, float]] = attrs.field(factory=list)
    rationed: int = 0

    def longest(self, since: float = 0.0) -> float:
        """Seconds that the slowest failure took of those that began at this time or later."""
        return max(took for began, took in self.failures if began >= since)

    async def ask(self, kernel: Kernel, number: int) -> None:
        began = trio.current_time()
        id = f"call-{number}"
        try:
            await kernel.execute(attrs.evolve(ASK, id=id))
            self.ends["ok"] += 1
            self.successes.append(trio.current_time())
        except (UpstreamFailed, Unavailable) as error:
            self.ends[error.code] += 1
            self.failures.append((began, trio.current_time() - began))
        decision = kernel.explain(id)
        assert decision is not None
        self.rationed += any("budget" in why for _, why in decision.skipped)


async def twenty_at_once(kernel: Kernel, requests: int) -> Seen:
    """So many requests, twenty of them in flight."""
    seen = Seen()
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            await seen.ask(kernel, number)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client)
    return seen


@pytest.mark.parametrize("failure", RESETS)
@pytest.mark.parametrize("requests", [1000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_an_upstream_that_resets_half_of_all_is_left_for_the_sound_one(
    requests: int, failure: Failure, autojump_clock: MockClock
) -> None:
    """B32, first part: ejected after a few, and what met it goes on elsewhere."""
    provider = Flaky(failure, bad="a")
    async with scripted_kernel(pool("a", "b"), {"p": provider}) as kernel:
        seen = await twenty_at_once(kernel, requests)

    assert seen.ends["ok"] >= 0.995 * requests
    assert len(provider.calls) <= 1.25 * requests
    assert Counter(provider.called())["a"] <= 0.05 * requests


class Overtaken(ScriptedProvider):
    """Its first call of `a` succeeds after a second, the next one fails at once; everything else succeeds."""

    async def _begin(self, call: Call) -> Script:
        self.calls.append(call)
        if self.called() == ["a"]:
            await trio.sleep(1)
        elif call.credential.id == "a" and self.called().count("a") == 2:
            return Script(failure=Protocol(sent=Sent.MAYBE))
        return Script()


@pytest.mark.parametrize(("more", "left_alone"), [("", True), ("[health]\nhalf_open = false\n", False)])
async def test_a_success_that_was_under_way_before_a_failure_does_not_end_the_bench(
    more: str, left_alone: bool, autojump_clock: MockClock
) -> None:
    """B32: with many in flight, any of them would bring a failing upstream back. Off, C10.3 holds to the letter."""
    provider = Overtaken()
    text = pool("a", "b").replace('name = "a"\n', 'name = "a"\npriority = 10\n')
    async with scripted_kernel(text + more, {"p": provider}) as kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.execute, ASK)
            await trio.sleep(0.5)
            await kernel.execute(ASK)
        await kernel.execute(ASK)

    assert provider.called() == ["a", "a", "b", "b" if left_alone else "a"]


@pytest.mark.parametrize("failure", RESETS)
@pytest.mark.parametrize("requests", [1000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_two_upstreams_that_reset_half_of_all_see_no_storm(
    requests: int, failure: Failure, autojump_clock: MockClock
) -> None:
    """B32, second part: the retry budget holds over passes, the rest fails fast, and records say why."""
    provider = Flaky(failure, bad="ab")
    async with scripted_kernel(pool("a", "b"), {"p": provider}) as kernel:
        seen = await twenty_at_once(kernel, requests)

    assert len(provider.calls) <= 1.25 * requests
    assert seen.ends["ok"] >= 0.4 * requests
    assert seen.longest() < 2
    assert seen.rationed > 0.2 * requests
    assert set(seen.ends) <= {"ok", "upstream_error"}


@pytest.mark.parametrize("names", [("a", "b"), ("a", "a-too", "b", "b-too")], ids=["one key each", "two keys each"])
@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.long)])
async def test_an_outage_sees_little_more_than_the_load_and_its_end_no_herd(
    seconds: int, names: Sequence[str], autojump_clock: MockClock
) -> None:
    """B33: a hundred calls a second while everything is down, then up again.

    Those who ask first may wait for the two shortest rests, of 1 and 2 s; later ones are answered at once. The last
    ready credential is kept, so the first call after the return succeeds, and in the first second nobody comes but
    those who ask then, and three probes at the most.
    """
    provider = Flaky(Unreachable(sent=Sent.NO), down=names)
    seen, began = Seen(), trio.current_time()
    async with scripted_kernel(pool(*names), {"p": provider}) as kernel, trio.open_nursery() as nursery:
        for number in range(100 * (seconds + 5)):
            if number == 100 * seconds:
                calls, failed = len(provider.calls), seen.ends.total()
                longest, late = seen.longest(), seen.longest(since=began + 4)
                provider.down, back = (), trio.current_time()
            nursery.start_soon(seen.ask, kernel, number)
            await trio.sleep(0.01)

    assert calls <= 1.2 * 100 * seconds
    assert failed >= 0.95 * 100 * seconds
    assert longest < 4
    assert late < 0.5
    assert min(seen.successes) < back + 2
    assert sum(back <= at < back + 1 for at in provider.times) <= 100 + 3
