"""What the kernel writes to its logs, and what it never writes (C14, O62)."""

import logging
import re
from datetime import UTC, datetime

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import (
    Ask,
    Credential,
    Failed,
    Failure,
    Metadata,
    ModelMissing,
    PaymentRequired,
    RateLimited,
    Secret,
    Transient,
    Unauthorized,
)
from turnout.errors import UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout.testing._house import wall

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


@pytest.mark.parametrize(
    ("failure", "renewable", "cure"),
    [
        (Unauthorized(message=CANARY), False, " or until it has another key"),
        (Unauthorized(message=CANARY), True, " or until it is renewed"),
        (PaymentRequired(message=CANARY), False, ""),
    ],
    ids=["refused", "refused login", "unpaid or forbidden"],
)
async def test_a_rest_for_what_somebody_may_have_to_mend_is_one_line(
    failure: Failure, cure: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock, *, renewable: bool
) -> None:
    """However many calls meet it; the next rest is told again. What the upstream said is not: it may quote the key."""

    class Renewing(ScriptedProvider):
        def refresh_lead(self, credential: Credential) -> None:
            return None

        async def refresh(self, credential: Credential, transport: object) -> Credential | None:
            raise UpstreamFailed(Transient())

    async def fails() -> None:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m"))

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "turnout.rests"]

    provider = Renewing() if renewable else ScriptedProvider()
    provider.default = Script(failure=failure, wait=1)
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(KEY)
        until = datetime.fromtimestamp(wall() + 1801, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(fails)
        assert lines() == [f"provider=scripted auth_file=one rests until {until}{cure}, for model m: {failure.code}"]
        await trio.sleep(1805)
        await fails()
        assert len(lines()) == 2
    assert CANARY not in caplog.text


async def test_a_rest_that_passes_by_itself_is_no_line(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Nor is a failure that makes nobody rest."""
    provider = ScriptedProvider()
    provider.script(*(Script(failure=one) for one in (RateLimited(), ModelMissing(), Transient(), Failed())))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        for _ in range(4):
            await kernel.credentials.register(KEY)
            with pytest.raises(UpstreamFailed):
                await kernel.execute(Ask(model="m"))
    assert not [record for record in caplog.records if record.name == "turnout.rests"]


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
