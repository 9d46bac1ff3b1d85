"""Recorded histories of nodes that save, read and lease at once, with faults on their way: each record is one register
with compare and set, each lease one holder's at a time (G6)."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random as Chance

import pytest
import trio
from coredis_marks import COREDIS
from cut_wire import Wire, wire_to
from histories import NODES, History, Thing, chance_of, play, redises, sqlites
from trio.testing import MockClock
from valkey_server import Valkey, running

from turnout import Record
from turnout.abc import Lease
from turnout.errors import StoreConflict
from turnout.testing import MemoryStore

pytestmark = COREDIS


# --- a store that is wrong is found ----------------------------------------------------------------------------------


class Careless:
    """A store in memory that makes one mistake."""

    def __init__(self, mistake: str) -> None:
        self._mistake = mistake
        self._memory = MemoryStore()
        self._seen: dict[Thing, Record | None] = {}
        self._fence = 0
        self._held = False

    async def read(self, kind: str, id: str) -> Record | None:
        await trio.sleep(0.001)
        found = self._memory.records.get((kind, id))
        before = self._seen.get((kind, id), found)
        self._seen[kind, id] = found
        return before if self._mistake == "reads what was there" else found

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        if self._mistake != "looks first and writes then":
            return await self._memory.save(kind, id, data, if_version)
        found = self._memory.records.get((kind, id))
        current = 0 if found is None else found.version
        if if_version not in {None, current}:
            raise StoreConflict("somebody else", current=current)
        await trio.sleep(0.001)
        self._memory.records[kind, id] = Record(kind=kind, id=id, data=data, version=current + 1)
        return current + 1

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        if self._held and self._mistake != "leases twice":
            yield None
            return
        self._held, self._fence = True, self._fence + 1
        yield Lease(id=id, fence=self._fence, until=seconds)
        self._held = self._mistake == "keeps what was given back"


@pytest.mark.parametrize(
    "mistake",
    ["", "looks first and writes then", "reads what was there", "leases twice", "keeps what was given back"],
)
async def test_the_history_of_a_store_that_is_wrong_is_found_out(mistake: str, autojump_clock: MockClock) -> None:
    history = await play([Careless(mistake)] * NODES, seed=1, calls=25)
    if not mistake:
        history.check()
        return
    with pytest.raises(AssertionError):
        history.check()


# --- ours ------------------------------------------------------------------------------------------------------------


async def play_until_meant(words: tuple[str, ...], one: Callable[[int], Awaitable[History]]) -> None:
    """Play history after history, each checked, until together they were told each of these words three times: enough
    to be wrong about. How often a save loses or a lease is given depends on how quick the machine and its disk are."""
    seen = Counter[str]()
    for seed in range(1, 20):
        history = await one(seed)
        history.check()
        seen.update(dict(zip(words, history.count(*words), strict=True)))
        if min(seen[word] for word in words) >= 3:
            return
    pytest.fail(f"too little was said in nineteen histories to be wrong: {seen}")


def folder_for(seed: int, place: Path) -> Path:
    folder = place / str(seed)
    folder.mkdir()
    return folder


async def test_nodes_on_one_database_are_one_register_for_each_record(tmp_path: Path) -> None:
    """G6, in its short form: with callers that leave in the middle."""

    async def one(seed: int) -> History:
        async with sqlites(folder_for(seed, tmp_path)) as stores:
            return await play(stores, seed, calls=12)

    await play_until_meant(("saved", "conflict", "lease"), one)


async def test_nodes_on_one_server_are_one_register_for_each_record(tmp_path: Path) -> None:
    """G6, in its short form: with callers that leave in the middle."""

    async def one(seed: int) -> History:
        folder = folder_for(seed, tmp_path)
        with running(folder) as server:
            async with redises([server.port] * NODES, folder) as stores:
                return await play(stores, seed, calls=40)

    await play_until_meant(("saved", "conflict", "lease"), one)


async def fail_now_and_then(wires: list[Wire], chance: Chance, most: float) -> None:
    """Cut or block the way of one node, heal it, and so on, for ever."""
    while True:
        await trio.sleep(chance.random() * most / 4)
        wire = chance.choice(wires)
        wire.fail(chance.choice(("cut", "stalled")))
        await trio.sleep(chance.random() * most)
        wire.heal()


async def play_with_cut_wires(server: Valkey, folder: Path, seed: int, calls: int, most: float) -> History:
    """Each node has a wire of its own, which fails for so many seconds at most, again and again."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(wire_to(server.port)) for _ in range(NODES)]
        stores = await stack.enter_async_context(redises([wire.port for wire in wires], folder))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(fail_now_and_then, wires, chance_of(f"{seed}"), most)
        history = await play(stores, seed, calls, sure=False)
        nursery.cancel_scope.cancel()
        for wire in wires:
            wire.heal()
    return history


async def test_nodes_whose_ways_to_the_server_fail_see_one_register(tmp_path: Path) -> None:
    """G6, in its short form: what was held up on a wire arrives late, when others have written."""

    async def one(seed: int) -> History:
        folder = folder_for(seed, tmp_path)
        with running(folder) as server:
            return await play_with_cut_wires(server, folder, seed, calls=40, most=0.3)

    await play_until_meant(("saved", "conflict", "lease", "unheard"), one)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(50))
async def test_nodes_whose_ways_to_the_server_fail_see_one_register_whatever_comes(
    seed: int, server: Valkey, tmp_path: Path
) -> None:
    """G6: fifty runs."""
    history = await play_with_cut_wires(server, tmp_path, seed, calls=100, most=0.5)
    history.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_processes_that_are_killed_and_stopped_see_one_register(
    kind: str, seed: int, server: Valkey, tmp_path: Path
) -> None:
    """G6: ten times half a minute for each store."""
    script = Path(__file__).with_name("histories.py")
    place = str(tmp_path / "store") if kind == "sqlite" else server.url.reveal()
    done = subprocess.run(
        [sys.executable, str(script), place, "30", str(seed)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"KEY_FILE": str(tmp_path / "key")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "in one order" in done.stdout
