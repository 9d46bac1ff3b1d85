"""What closing says of what the store did not take for the whole of its time."""

import logging
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Metadata, RateLimited
from turnout._aggregate import clear
from turnout._records import decode_state
from turnout.errors import StoreError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_kernel

TOML = '[retry]\npasses = 1\n[providers.scripted]\nmodels = [{ name = "m" }]\n'
CANARY = "canary-token"


class Renewing(ScriptedProvider):
    """Gives a new token, at which moment the store goes away."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = store

    def refresh_lead(self, credential: Credential) -> float | None:
        return 300

    async def refresh(self, credential: Credential, transport: object) -> Credential | None:
        self.store.broken = "away"
        ends = trio.current_time() + 1_900_000_000
        return attrs.evolve(credential, metadata=Metadata({"access_token": f"{CANARY}-new", "expires_at": ends}))


def login(id: str) -> Credential:
    ends = trio.current_time() + 1_900_000_000
    return Credential(id=id, provider="scripted", metadata=Metadata({"access_token": CANARY, "expires_at": ends}))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert CANARY not in caplog.text
    return errors


async def test_a_renewed_token_that_is_lost_is_named_with_what_to_do(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """G2, E4, S40: by the credential's id; what is less than a token is told apart from it."""
    store = MemoryStore()
    provider = Renewing(store)
    provider.script(Script(failure=RateLimited(retry_after=600)), credential="cooled")
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        for id in ("renewed", "edited", "gone", "cooled"):
            await kernel.credentials.register(login(id))
        with suppress(StoreError):
            await kernel.credentials.refresh("renewed")
        with suppress(StoreError):
            await kernel.credentials.update(attrs.evolve(login("edited"), label="work"))
        with suppress(StoreError):
            await kernel.credentials.remove("gone")
        with suppress(UpstreamFailed):
            await kernel.execute(Ask(model="m", pin="cooled", payload=b"{}"))

    first, token, change, removal, cooldown = told(caplog)
    assert "not everything could be saved" in first
    assert "the tokens that were renewed last of renewed." in token
    assert "`turnout credentials refresh ID`" in token
    assert "log in again" in token
    assert "the last changes of edited;" in change
    assert "not removed from the store: gone;" in removal
    assert "cooldowns and errors of" in cooldown
    assert b"-new" not in store.records["secret", "renewed"].data


async def test_what_reaches_the_store_before_the_end_is_not_lost(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """H6."""
    store = MemoryStore()
    async with scripted_kernel(TOML, {"scripted": Renewing(store)}, store=store) as kernel:
        await kernel.credentials.register(login("renewed"))
        with suppress(StoreError):
            await kernel.credentials.refresh("renewed")
        store.broken = ""

    assert told(caplog) == []
    assert b"-new" in store.records["secret", "renewed"].data


async def test_every_token_that_is_lost_is_named_however_many_there_are(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """I9: in one line, since a log lets sixty of a kind through."""
    store = MemoryStore()
    ids = [f"c{number:03}" for number in range(100)]
    async with scripted_kernel(TOML, {"scripted": Renewing(store)}, store=store) as kernel:
        for id in ids:
            await kernel.credentials.register(login(id))
        store.broken = "away"
        for id in ids:
            brought = attrs.evolve(login(id), metadata=Metadata({"access_token": f"{CANARY}-new"}))
            with suppress(StoreError):
                await kernel.credentials.update(attrs.evolve(brought, last_refreshed_at=1_800_000_000.0))

    (line,) = [line for line in told(caplog) if "tokens" in line]
    assert ", ".join(ids) + "." in line


async def test_what_could_not_be_removed_at_once_is_removed_when_the_store_is_back(autojump_clock: MockClock) -> None:
    """O18: a credential that was removed, and a cooldown that is over, do not come back with the next start."""
    store = MemoryStore()
    provider = Renewing(store)
    provider.script(Script(failure=RateLimited(retry_after=600)), credential="cooled")
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        for id in ("gone", "cooled"):
            await kernel.credentials.register(login(id))
        with suppress(UpstreamFailed):
            await kernel.execute(Ask(model="m", pin="cooled", payload=b"{}"))
        await trio.sleep(5)
        assert ("state", "cooled") in store.records
        store.broken = "away"
        with suppress(StoreError):
            await kernel.credentials.remove("gone")
        kernel.credentials.reset("cooled")
        await trio.sleep(5)
        store.broken = ""
        await trio.sleep(5)
        assert ("secret", "gone") not in store.records
        assert all(map(clear, decode_state(store.records["state", "cooled"].data).models.values()))
