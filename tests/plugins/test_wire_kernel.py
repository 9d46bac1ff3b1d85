"""What a client of the whole kernel is told, through the tables of `turnout_wire`."""

import json

import pytest
import trio

from turnout import Ask, Failure, InvalidRequest, RateLimited, Transient
from turnout.errors import TurnoutError
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout_wire import HttpAnswer, answer

TWO = """
[turnout]
[retry]
max_wait = "0s"
[providers.p]
[[providers.p.credentials]]
name = "a"
api_key = "key-of-a"
[[providers.p.credentials]]
name = "b"
api_key = "key-of-b"
[[providers.p.models]]
name = "m"
"""


async def told(first: Failure, second: Failure) -> HttpAnswer:
    provider = ScriptedProvider()
    provider.script(Script(failure=first), credential="a")
    provider.script(Script(failure=second), credential="b")
    async with scripted_kernel(TWO, {"p": provider}) as kernel:
        with pytest.raises(TurnoutError) as caught:
            await kernel.execute(Ask(model="m"))
        return answer(caught.value, "openai.chat", now=1_800_000_000 + trio.current_time())


@pytest.mark.parametrize(("first", "second"), [(30.0, 50.0), (50.0, 30.0)])
async def test_when_all_are_rate_limited_the_client_is_told_the_soonest_recovery(
    first: float, second: float, autojump_clock: trio.testing.MockClock
) -> None:
    """B25, D9: not the hint of whoever came last."""
    made = await told(RateLimited(retry_after=first), RateLimited(retry_after=second))
    assert (made.status, made.headers["retry-after"]) == (429, "30")


async def test_the_clients_own_mistake_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """B27."""
    made = await told(InvalidRequest(), InvalidRequest())
    assert (made.status, json.loads(made.body)["error"]["code"]) == (400, "bad_request")


async def test_when_all_fail_the_last_failure_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """B26."""
    made = await told(Transient(), Transient())
    assert (made.status, json.loads(made.body)["error"]["code"]) == (502, "upstream_error")
