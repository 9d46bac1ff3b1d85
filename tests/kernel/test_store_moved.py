"""A reload to another store: what that has already is joined with what is known here, and nothing newer is lost."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Config, Credential, Kernel, Metadata, Plugins, RateLimited, Record, open_kernel, parse_config
from turnout._entries import OF_FILE
from turnout._records import decode_credential, encode_credential, encode_state
from turnout._values import CredentialState, ModelState, Status
from turnout.errors import CoolingDown, StoreError, UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, given
from turnout.testing._house import START, InTurn, NoTransport, wall

ASK = Ask(model="m")


class Hesitant:
    """A store that takes its time for each save, over a memory."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.delay = 0.0

    async def list(self) -> Iterable[Record]:
        return await self.memory.list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        await trio.sleep(self.delay)
        return await self.memory.save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        await self.memory.delete(kind, id)


def login(token: str, *, at: float | None = None, id: str = "a", **fields: Any) -> Credential:
    return Credential(
        id=id,
        provider="p",
        metadata=Metadata({"access_token": token}),
        last_refreshed_at=at,
        **({"updated_at": at} | fields),
    )


def config(store: str, entry: str = "") -> Config:
    return parse_config(
        f'[turnout]\nselector = "in-turn"\ntransport = "none"\nstore = "{store}"\n[retry]\nmax_wait = "0s"\n'
        f'[providers.p]\nmodels = [{{ name = "m" }}]\n{entry}'
    )


def gateway(
    old: object, new: object, provider: ScriptedProvider | None = None, entry: str = ""
) -> AbstractAsyncContextManager[Kernel]:
    plugins = Plugins.of(
        {
            "providers": {"p": given(provider or ScriptedProvider())},
            "selectors": {"in-turn": InTurn},
            "stores": {"old": given(old), "new": given(new)},
            "transports": {"none": NoTransport},
        }
    )
    return open_kernel(config("old", entry), plugins=plugins, wall=wall)


async def keep(store: MemoryStore, one: Credential) -> None:
    await store.save("secret", one.id, encode_credential(one), None)


async def move(kernel: Kernel, entry: str = "") -> None:
    await kernel.reload(config("new", entry))
    await trio.sleep(2)


def token(kernel: Kernel, id: str = "a") -> object:
    one = kernel.credentials.get(id)
    assert one is not None
    assert one.metadata is not None
    return one.metadata["access_token"]


def kept_token(store: MemoryStore, id: str = "a") -> object:
    metadata = decode_credential(store.records["secret", id].data).metadata
    assert metadata is not None
    return metadata["access_token"]


@pytest.mark.parametrize(("there", "stays"), [(9.0, "theirs"), (1.0, "ours")])
async def test_the_tokens_that_were_renewed_later_stay_whoever_has_them(
    autojump_clock: MockClock, there: float, stays: str
) -> None:
    """E2, E11: another node has moved before and renewed since, or what it left there is older."""
    old, new = MemoryStore(), MemoryStore()
    await keep(old, login("ours", at=5.0))
    await keep(new, login("theirs", at=there))
    async with gateway(old, new) as kernel:
        await move(kernel)

        assert token(kernel) == kept_token(new) == stays
        assert kept_token(old) == "ours"


async def test_an_operators_later_word_goes_with_the_tokens_that_were_renewed_later(autojump_clock: MockClock) -> None:
    """O23: `credentials disable` on this node, a renewal before that on the other."""
    old, new = MemoryStore(), MemoryStore()
    await keep(old, login("ours", at=5.0))
    await keep(new, login("theirs", at=9.0))
    async with gateway(old, new) as kernel:
        await kernel.credentials.disable("a")
        await move(kernel)
        one = kernel.credentials.get("a")
        assert one is not None

        assert (one.disabled, token(kernel)) == (True, "theirs")
        assert decode_credential(new.records["secret", "a"].data).disabled


async def test_newer_tokens_of_a_login_of_the_file_are_taken_from_there(autojump_clock: MockClock) -> None:
    """E9: those in the file may be spent."""
    old, new = MemoryStore(), MemoryStore()
    entry = '[[providers.p.credentials]]\nname = "a"\nmetadata = { access_token = "of the file" }\n'
    async with gateway(old, new, entry=entry) as kernel:
        listed = kernel.credentials.get("a")
        assert listed is not None
        await keep(new, attrs.evolve(listed, metadata=Metadata({"access_token": "theirs"}), last_refreshed_at=9.0))
        await move(kernel, entry)

        assert token(kernel) == kept_token(new) == "theirs"


async def test_who_is_only_there_serves_from_then_on(autojump_clock: MockClock) -> None:
    """C3.4: as after a start with that store."""
    old, new = MemoryStore(), MemoryStore()
    await keep(new, login("theirs", id="b"))
    async with gateway(old, new) as kernel:
        await kernel.credentials.register(login("ours"))
        await move(kernel)

        assert {(await kernel.execute(ASK)).decision.served_by for _ in range(2)} == {"a", "b"}
        assert kept_token(new) == "ours"


async def test_who_rests_here_or_there_rests(autojump_clock: MockClock) -> None:
    """O18: of both, the later word for each model."""
    old, new = MemoryStore(), MemoryStore()
    resting = ModelState(status=Status.ERROR, unavailable=True, next_retry_after=START + 500, updated_at=START)
    await keep(new, login("theirs", id="b"))
    await new.save("state", "b", encode_state(CredentialState(models={"m": resting}, updated_at=START)), None)
    async with gateway(old, new, ScriptedProvider(Script(failure=RateLimited(retry_after=500)))) as kernel:
        await kernel.credentials.register(login("ours"))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        await move(kernel)

        with pytest.raises(CoolingDown):
            await kernel.execute(ASK)
        assert {("state", "a"), ("secret", "b")} <= set(new.records)
        assert all(kernel.credentials.state(id).models["m"].unavailable for id in ("a", "b"))


async def test_who_was_removed_here_is_removed_there_although_the_old_store_was_not_told(
    autojump_clock: MockClock,
) -> None:
    """O18: an operator's removal is not undone by a reload."""
    old, new = MemoryStore(), MemoryStore()
    await keep(old, login("ours"))
    await keep(new, login("theirs"))
    async with gateway(old, new) as kernel:
        old.broken = "gone"
        with pytest.raises(StoreError):
            await kernel.credentials.remove("a")
        await move(kernel)

        assert kernel.credentials.list() == ()
        assert not new.records


@pytest.mark.parametrize("renewed_at", [9.0, None])
async def test_what_leaves_the_file_with_the_same_reload_keeps_its_record_there_if_it_was_renewed(
    autojump_clock: MockClock, renewed_at: float | None
) -> None:
    """E9: what another node renewed it to is nowhere else; without that the record goes, as with any reload."""
    old, new = MemoryStore(), MemoryStore()
    entry = '[[providers.p.credentials]]\nname = "a"\nmetadata = { access_token = "of the file" }\n'
    await keep(new, login("theirs", at=renewed_at, attributes={OF_FILE: "true"}))
    async with gateway(old, new, entry=entry) as kernel:
        await move(kernel)

        assert kernel.credentials.list() == ()
        assert [one.id for one in await new.list()] == (["a"] if renewed_at else [])


async def test_a_save_that_waits_for_the_old_store_is_in_the_new_one(autojump_clock: MockClock) -> None:
    """O20: who was told that it is durable must find it where the kernel looks from now on."""
    old, new = Hesitant(), MemoryStore()
    async with gateway(old, new) as kernel, trio.open_nursery() as nursery:
        old.delay = 1.0
        nursery.start_soon(kernel.credentials.register, login("ours"))
        await trio.sleep(0.9)
        await move(kernel)

        assert kept_token(new) == "ours"
