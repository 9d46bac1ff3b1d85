"""Outcomes that come late: after another key, or after a longer block than their own."""

import pytest
import trio
from trio.testing import MockClock

from turnout import (
    Ask,
    Config,
    Failure,
    Kernel,
    PaymentRequired,
    RateLimited,
    Transient,
    Unauthorized,
    open_kernel,
    parse_config,
)
from turnout._ledger import restore
from turnout._values import CLEAN, CredentialState, ErrorRecord, ModelState
from turnout.errors import TurnoutError
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_plugins


def config(key: str = "key-wrong-123456") -> Config:
    return parse_config(
        "[turnout]\nselector = 'in-turn'\nstore = 'memory'\ntransport = 'none'\n[retry]\nmax_wait = '0s'\n"
        "[providers.own]\nmodels = [{ name = 'm' }]\n"
        f"[[providers.own.credentials]]\nname = 'a'\napi_key = '{key}'\n"
    )


async def failing(kernel: Kernel) -> None:
    with pytest.raises(TurnoutError):
        await kernel.execute(Ask(model="m"))


async def test_a_key_that_was_corrected_while_the_gateway_was_stopped_serves_at_once(autojump_clock: MockClock) -> None:
    """The refusal was about another key."""
    provider = ScriptedProvider()
    plugins = scripted_plugins({"own": provider}, store=MemoryStore())
    provider.script(Script(failure=Unauthorized()))
    async with open_kernel(config(), plugins=plugins) as kernel:
        await failing(kernel)
    async with open_kernel(config("key-right-123456"), plugins=plugins) as kernel:
        await kernel.execute(Ask(model="m"))


@pytest.mark.parametrize("failure", [Unauthorized(), RateLimited(retry_after=3600), PaymentRequired()])
async def test_a_call_with_the_old_key_does_not_bench_the_new_one(failure: Failure, autojump_clock: MockClock) -> None:
    provider = ScriptedProvider(Script(failure=failure, wait=5))
    async with open_kernel(config(), plugins=scripted_plugins({"own": provider}, store=MemoryStore())) as kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing, kernel)
            await trio.sleep(1)
            await kernel.reload(config("key-right-123456"))
            provider.default = Script()
        assert kernel.credentials.state("a") is CLEAN


async def test_a_failure_that_was_under_way_does_not_end_a_longer_block(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider()
    provider.script(Script(failure=RateLimited(retry_after=3600), wait=1), Script(failure=Transient(), wait=2))
    async with open_kernel(config(), plugins=scripted_plugins({"own": provider}, store=MemoryStore())) as kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing, kernel)
            nursery.start_soon(failing, kernel)
        entry = kernel.credentials.state("a").models["m"]
        assert (entry.unavailable, entry.quota.exceeded) == (True, True)


def test_a_rate_limit_is_not_taken_back_with_the_faults_of_a_route_unless_it_counts_among_them() -> None:
    """Design 8: `route_429`."""
    limited = ModelState(unavailable=True, next_retry_after=9.0, last_error=ErrorRecord(code="rate_limited"))
    state = CredentialState(models={"m": limited})
    assert restore(CLEAN, state, "m") is state
    assert "m" not in restore(CLEAN, state, "m", route_429=True).models
