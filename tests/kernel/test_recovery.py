"""Between two passes of a call: what it waits for, and for how long (design 8, C8.5, O39, O40, O48)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, RateLimited, Transient, Unauthorized
from turnout.errors import UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

ASK = Ask(model="m")
MODELS = '[providers.scripted]\nmodels = [{ name = "m" }]\n'
REFUSED = Script(failure=Unauthorized())


class Renewing(ScriptedProvider):
    """Renews tokens when it is asked to; by credential, how many seconds that takes, negative ones where it fails."""

    def __init__(self, **takes: float) -> None:
        super().__init__()
        self.takes: Mapping[str, float] = takes

    def refresh_lead(self, credential: Credential) -> None:
        return None

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        await trio.sleep(abs(self.takes[credential.id]))
        if self.takes[credential.id] < 0:
            raise UpstreamFailed(Transient(message="busy"))
        return attrs.evolve(credential, metadata=Metadata({"access_token": "new"}))


def login(id: str) -> Credential:
    return Credential(id=id, provider="scripted", metadata=Metadata({"access_token": "old"}))


@asynccontextmanager
async def both(provider: Renewing, toml: str = MODELS) -> AsyncIterator[Kernel]:
    """A kernel with the logins a and b."""
    async with scripted_kernel(toml, {"scripted": provider}) as kernel:
        for id in "ab":
            await kernel.credentials.register(login(id))
        yield kernel


@pytest.mark.parametrize("hangs", ["a", "b"])
async def test_of_two_refreshes_the_one_that_is_done_first_ends_the_wait(hangs: str, autojump_clock: MockClock) -> None:
    """O48: whichever of them hangs."""
    provider = Renewing(**{"a": 1, "b": 1, hangs: 50})
    for id in "ab":
        provider.script(REFUSED, credential=id)
    async with both(provider) as kernel:
        answer = await kernel.execute(ASK)
        assert answer.decision.served_by != hangs
        assert trio.current_time() == answer.decision.waited == 1


async def test_a_refresh_that_hangs_keeps_a_call_from_nobody_who_recovers(autojump_clock: MockClock) -> None:
    """O39, O48."""
    provider = Renewing(a=50)
    provider.script(REFUSED, credential="a")
    provider.script(Script(failure=RateLimited(retry_after=2)), credential="b")
    async with both(provider) as kernel:
        answer = await kernel.execute(ASK)
        assert answer.decision.served_by == "b"
        assert 2 <= trio.current_time() <= 2.2


async def test_a_refresh_is_waited_for_again_after_a_pass_that_somebody_else_failed(autojump_clock: MockClock) -> None:
    """O48: the second pass finds nobody but b, which is limited anew."""
    provider = Renewing(a=10)
    provider.script(REFUSED, credential="a")
    provider.script(*[Script(failure=RateLimited(retry_after=seconds)) for seconds in (2, 3600)], credential="b")
    async with both(provider) as kernel:
        answer = await kernel.execute(ASK)
        assert provider.called() == ["a", "b", "b", "a"]
        assert trio.current_time() == answer.decision.waited == 10


async def test_a_refresh_that_failed_before_the_wait_costs_no_pass(autojump_clock: MockClock) -> None:
    """C8.5: there are two, and the second one is for b."""
    provider = Renewing(a=-0.5)
    provider.script(REFUSED, credential="a")
    provider.script(Script(wait=1, failure=RateLimited(retry_after=2)), credential="b")
    async with both(provider, "[retry]\npasses = 2\n" + MODELS) as kernel:
        answer = await kernel.execute(ASK)
        assert (answer.decision.served_by, answer.decision.passes) == ("b", 2)


async def test_a_refresh_that_fails_while_it_is_waited_for_leaves_the_others_to_be_waited_for(
    autojump_clock: MockClock,
) -> None:
    provider = Renewing(a=-1)
    provider.script(REFUSED, credential="a")
    provider.script(Script(failure=RateLimited(retry_after=2)), credential="b")
    async with both(provider) as kernel:
        answer = await kernel.execute(ASK)
        assert (answer.decision.served_by, answer.decision.passes) == ("b", 2)
        assert 2 <= trio.current_time() <= 2.2


async def test_while_somebody_else_is_probed_a_refresh_is_waited_for_and_no_pass_is_spent(
    autojump_clock: MockClock,
) -> None:
    """Design 8: who is probed counts as recovering in a second, and after it in another one."""
    provider = Renewing(a=10)
    provider.script(Script(failure=RateLimited(retry_after=5)), Script(wait=60), credential="b")
    async with scripted_kernel(MODELS, {"scripted": provider}) as kernel, trio.open_nursery() as nursery:
        await kernel.credentials.register(login("b"))
        nursery.start_soon(kernel.execute, ASK)
        await trio.sleep(8)
        provider.script(REFUSED, credential="a")
        await kernel.credentials.register(login("a"))
        answer = await kernel.execute(ASK)
        assert (answer.decision.served_by, answer.decision.passes) == ("a", 2)
        assert answer.decision.waited == 10


async def test_the_jitter_of_a_wait_leaves_time_for_the_call(autojump_clock: MockClock) -> None:
    """O40, D4: the recovery is half a second before the deadline."""
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=9.5)))
    async with scripted_kernel(MODELS, {"scripted": provider}, draw=lambda: 0.99) as kernel:
        await kernel.credentials.register(login("a"))
        answer = await kernel.execute(attrs.evolve(ASK, deadline=10))
        assert 9.5 <= answer.decision.waited < 10
