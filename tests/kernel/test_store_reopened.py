"""A store that fails while it is open: the kernel goes on with the instance that is opened in its place (H8, G2)."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import attrs
import trio
from trio.testing import MockClock

from turnout import Credential, Kernel, Metadata, Plugins, Record, open_kernel
from turnout._records import decode_credential, encode_credential
from turnout.abc import Allotment, Change, Claim
from turnout.errors import StoreError
from turnout.testing import MemoryStore, ScriptedProvider, given
from turnout.testing._house import InTurn, NoTransport, scripted_config


class Failing:
    """A store over a memory that others write to as well; answers nobody once it has failed."""

    api: ClassVar[int] = 1

    def __init__(self, memory: MemoryStore) -> None:
        self._memory = memory
        self.well = True
        self.fail = trio.Event()
        self.news, self._heard = trio.open_memory_channel[Change](10)
        self.claims = 0

    async def list(self) -> Iterable[Record]:
        return await (await self._reach()).list()

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        return await (await self._reach()).save(kind, id, data, if_version)

    async def delete(self, kind: str, id: str) -> None:
        await (await self._reach()).delete(kind, id)

    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        await self._reach()
        self.claims += 1
        return [Allotment(granted=claim.wanted, others=()) for claim in claims]

    def watch(self) -> "Failing":
        return self

    def __aiter__(self) -> "Failing":
        return self

    async def __anext__(self) -> Sequence[Change]:
        await self._reach()
        return [await self._heard.receive()]

    async def _reach(self) -> MemoryStore:
        await trio.lowlevel.checkpoint()
        if not self.well:
            raise StoreError("closed")
        return self._memory


class Opening(Failing):
    """Opens one instance after the other over the same memory."""

    memory: ClassVar[MemoryStore]
    instances: ClassVar[list[Failing]]

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: object, context: object) -> AsyncIterator[Failing]:
        one = Failing(cls.memory)
        cls.instances.append(one)

        async def crash() -> None:
            await one.fail.wait()
            one.well = False
            raise ZeroDivisionError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            yield one
            nursery.cancel_scope.cancel()


def login(number: int, label: str = "") -> Credential:
    return Credential(id="a", provider="p", label=label, metadata=Metadata({"n": number}))


class Slow(ScriptedProvider):
    """Takes its time to open, or to list; the first store has failed by then, and is open again."""

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: object, context: object) -> AsyncIterator["Slow"]:
        Opening.instances[0].fail.set()
        await trio.sleep(5)
        yield cls()


def plugins_with(provider: type[ScriptedProvider]) -> Plugins:
    Opening.memory, Opening.instances = MemoryStore(), []
    return Plugins.of(
        {
            "providers": {"p": provider},
            "selectors": {"in-turn": InTurn},
            "stores": {"memory": Opening},
            "transports": {"none": NoTransport},
        }
    )


@asynccontextmanager
async def reopened() -> AsyncIterator[Kernel]:
    """A kernel whose store has failed, and is open again; somebody else has written to it meanwhile."""
    plugins = plugins_with(given(ScriptedProvider()))
    async with open_kernel(scripted_config("[providers.p]\n"), plugins=plugins) as kernel:
        await kernel.credentials.register(login(0))
        await kernel._storing.limits.enter("a limit", 10)
        Opening.instances[0].fail.set()
        await trio.sleep(0.5)
        await Opening.memory.save("secret", "a", encode_credential(login(0, label="changed meanwhile")), None)
        await trio.sleep(5)
        assert len(Opening.instances) == 2
        yield kernel


def label(kernel: Kernel) -> str:
    credential = kernel.credentials.get("a")
    assert credential is not None
    return credential.label


async def test_what_is_saved_reaches_the_store_that_was_opened_again(autojump_clock: MockClock) -> None:
    async with reopened() as kernel:
        await kernel.credentials.update(login(1))
        assert decode_credential(Opening.memory.records["secret", "a"].data).metadata == Metadata({"n": 1})


async def test_what_others_wrote_while_it_was_closed_and_since_is_heard_of(autojump_clock: MockClock) -> None:
    async with reopened() as kernel:
        assert label(kernel) == "changed meanwhile"
        version = await Opening.memory.save("secret", "a", encode_credential(login(0, label="changed since")), None)
        record = attrs.evolve(Opening.memory.records["secret", "a"], version=version)
        await Opening.instances[1].news.send(Change(kind="secret", id="a", record=record))
        await trio.sleep(1)
        assert label(kernel) == "changed since"


async def test_limits_are_divided_by_the_store_that_was_opened_again(autojump_clock: MockClock) -> None:
    """G11."""
    async with reopened():
        before = Opening.instances[1].claims
        await trio.sleep(5)
        assert Opening.instances[1].claims > before > 0


async def test_a_store_that_fails_while_others_are_still_being_opened_is_used_as_it_was_opened_again(
    autojump_clock: MockClock,
) -> None:
    """H8: the start goes on, and what changes is saved."""
    async with open_kernel(scripted_config("[providers.p]\n"), plugins=plugins_with(Slow)) as kernel:
        await kernel.credentials.register(login(0))

        assert len(Opening.instances) == 2
        assert [record.id for record in await Opening.memory.list()] == ["a"]
