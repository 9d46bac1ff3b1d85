"""What the kernel writes to its logs, and what it never writes (C14, O62)."""

import logging
import re

import attrs
import pytest
from trio.testing import MockClock

from turnout import Ask, Credential, Metadata, Secret, Transient, Unauthorized
from turnout.errors import UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel

TOML = '[retry]\nmax_wait = "0s"\n[providers.scripted]\nmodels = [{ name = "m" }]\n'
CANARY = "sk-canary-0123456789abcdef-canary"

KEY = Credential(id="dir/one", provider="scripted", api_key=Secret(CANARY))
LOGIN = Credential(
    id="private/path/who.json",
    provider="scripted",
    file_name="private/path/who.json",
    proxy_url=Secret("http://user:proxy-canary@host.test:3128"),
    metadata=Metadata({"email": "who@example.test", "access_token": CANARY}),
)


@pytest.mark.parametrize(
    ("credential", "line"),
    [
        (KEY, "Use API key sk-c...nary for model m(high)"),
        (attrs.evolve(KEY, api_key=Secret("short-key")), "Use API key *** for model m(high)"),
        (LOGIN, "Use OAuth provider=scripted auth_file=who.json for model m(high) via http proxy"),
        (Credential(id="none", provider="scripted"), None),
    ],
)
async def test_a_pick_is_one_debug_line_with_the_request_id(
    credential: Credential, line: str | None, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """C14.1, C14.2, C14.3."""
    caplog.set_level(logging.DEBUG, "turnout.pick")
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        await kernel.credentials.register(credential)
        await kernel.execute(Ask(model="m(high)", id="req-1"))
    picks = [record for record in caplog.records if record.name == "turnout.pick"]
    assert [record.getMessage() for record in picks] == ([line] if line else [])
    assert all(record.__dict__["request_id"] == "req-1" for record in picks)


async def test_a_pick_stays_one_line_whatever_the_client_calls_its_model(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """C14.1, S51: no name forges a line, and neither does a key."""
    caplog.set_level(logging.DEBUG, "turnout.pick")
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        await kernel.credentials.register(attrs.evolve(KEY, api_key=Secret(f"a\nbc{CANARY}")))
        await kernel.execute(Ask(model="m(\nUse\r\x1b[2J\u2028gr\u00fc\u00df)"))
    picks = [record.getMessage() for record in caplog.records if record.name == "turnout.pick"]
    assert picks == ["Use API key a?bc...nary for model m(?Use??[2J?gr\u00fc\u00df)"]


async def test_no_level_shows_a_secret_a_payload_or_a_directory(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """C14.4 with O62, S40, S44: affinity, refreshes, failures and bugs included."""

    class Renewing(ScriptedProvider):
        def refresh_lead(self, credential: Credential) -> float:
            return 300

        async def refresh(self, credential: Credential, transport: object) -> Credential | None:
            if credential.id == LOGIN.id:
                raise ValueError(CANARY)
            return None

    caplog.set_level(logging.DEBUG, "turnout")
    provider = Renewing()
    ask = Ask(model="m", payload=b"prompt-canary", affinity="session-canary")
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(KEY)
        await kernel.credentials.register(LOGIN)
        provider.script(Script(failure=Unauthorized(message="refused")), Script(failure=Transient(message="ill")))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ask)
        for _ in range(3):
            await kernel.execute(ask)
    text = "\n".join(record.getMessage() + repr(record.__dict__) for record in caplog.records)
    assert "Use API key" in text
    for secret in (CANARY, "prompt-canary", "session-canary", "proxy-canary", "who@example.test", "host.test"):
        assert secret not in text
    lines = [record.getMessage() for record in caplog.records]
    assert any("is refreshed" in line for line in lines)
    assert any("its session stays with provider=scripted auth_file=" in line for line in lines)
    assert not [line for line in lines if re.search(r"private/path", line)]
