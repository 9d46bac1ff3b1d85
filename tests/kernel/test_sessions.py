"""Long-lived sessions of a client: they stay with the credential they first got, and are closed at their end."""

import pytest
from trio.testing import MockClock

from turnout import Ask, Call, RateLimited, Reply
from turnout.errors import UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

TOML = """
[retry]
max_wait = "0s"
[providers.scripted]
models = [{ name = "m" }]
credentials = [
    { name = "a", api_key = "key-a-0123456789" },
    { name = "b", api_key = "key-b-0123456789" },
    { name = "c", api_key = "key-c-0123456789" },
]
"""


class WithSessions(ScriptedProvider):
    """Keeps something per session."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, set[str]] = {}

    async def execute(self, call: Call) -> Reply:
        if call.ask.session:
            self.sessions.setdefault(call.ask.session, set()).add(call.credential.id)
        return await super().execute(call)

    async def close_session(self, session: str) -> None:
        if session == "__all_execution_sessions__":
            self.sessions.clear()
        else:
            self.sessions.pop(session, None)


async def test_a_session_pins_the_credential_it_first_got_and_is_closed_at_its_end(autojump_clock: MockClock) -> None:
    """C17.3, C3.6.4, O42: the pin is taken from the answer; other calls go on rotating."""
    provider = WithSessions()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        first = await kernel.execute(Ask(model="m", session="s1"))
        pin = first.decision.served_by
        for _ in range(5):
            await kernel.execute(Ask(model="m"))
            await kernel.execute(Ask(model="m", session="s1", pin=pin))
        assert provider.sessions == {"s1": {pin}}
        await kernel.credentials.close_session("s1")
        assert provider.sessions == {}


async def test_a_session_whose_credential_rests_is_told_and_not_moved(autojump_clock: MockClock) -> None:
    """C5.11, C17.3: what the upstream keeps for it is with that credential only."""
    provider = WithSessions()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        pin = (await kernel.execute(Ask(model="m", session="s1"))).decision.served_by
        provider.script(Script(failure=RateLimited(retry_after=60)), credential=pin)
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m", session="s1", pin=pin))
        assert provider.called() == [pin, pin]


async def test_all_sessions_can_be_closed_at_once(autojump_clock: MockClock) -> None:
    """C2.2."""
    provider = WithSessions()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for name in ("s1", "s2"):
            await kernel.execute(Ask(model="m", session=name))
        await kernel.credentials.close_session("__all_execution_sessions__")
        assert provider.sessions == {}
