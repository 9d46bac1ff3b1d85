"""Nodes that save, read and lease at once, and the histories of it (G6): what test_histories plays.

    histories.py STORE SECONDS SEED          three processes that are killed and stopped on their way

STORE is the URL of a Redis, or a directory for SQLite. Children are forked from this process, which has imported
everything and has no threads; each writes what it asks before it asks it, and what it was told, into a file.
"""

import itertools
import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random as Chance
from typing import Any

import attrs
import trio
from linear import EMPTY, FREE, Called, is_linearizable, lease, register
from store_setup import store_context

from turnout import Record, Secret
from turnout.errors import StoreConflict, StoreError
from turnout_redis import Redis, RedisSettings
from turnout_sqlite import Sqlite

RECORDS = (("secret", "a"), ("state", "b"))
NODES = 3
CALLERS = 2
"""At once, on each node."""

Thing = tuple[str, str]
Words = tuple[Any, ...]


def chance_of(seed: str) -> Chance:
    """The same draws again for the same seed."""
    return Chance(seed)  # noqa: S311  # no secret comes of it


class History:
    """What every caller asked and was told, by the thing that it was about; one clock for all.

    Attributes:
        sure: a lease that was given back has arrived: nothing is on the way that would fail to bring it, untold.
    """

    def __init__(self, *, sure: bool) -> None:
        self.calls: dict[Thing, list[Called]] = defaultdict(list)
        self.sure = sure
        self._clock = itertools.count()

    def tick(self) -> int:
        return next(self._clock)

    def begin(self, thing: Thing, asked: Words) -> int:
        """Say that this is asked now; gives when."""
        return self.tick()

    def end(self, thing: Thing, asked: Words, told: Words | None, began: int) -> None:
        """Say what came of it, None for nothing."""
        if told is not None:
            self.calls[thing].append(Called(asked, told, began, self.tick()))
        elif asked[0] != "read":  # one that was not answered says nothing
            self.calls[thing].append(Called(asked, None, began))

    async def note(
        self, thing: Thing, asked: Words, work: Callable[[], Awaitable[Words]], limit: float
    ) -> Words | None:
        """Do it, for so many seconds at most, and write down what came of it; None when nothing did."""
        began, told = self.begin(thing, asked), None
        with trio.move_on_after(limit):
            try:
                told = await work()
            except StoreConflict as conflict:
                told = ("conflict", conflict.current)
            except StoreError:
                pass  # it may have been done, or may be done yet
        self.end(thing, asked, told, began)
        return told

    def check(self) -> None:
        """Each thing for itself: that is as good as all together (Herlihy and Wing, 1990)."""
        for thing, calls in self.calls.items():
            ok = is_linearizable(calls, FREE, lease) if thing[0] == "lease" else is_linearizable(calls, EMPTY, register)
            assert ok, (thing, *sorted(calls, key=lambda call: call.began))

    def count(self, *words: str) -> list[int]:
        """How often each of these was told, or `unheard` for what nothing came back of."""
        told = [call.told[0] if call.told else "unheard" for calls in self.calls.values() for call in calls]
        return [told.count(word) for word in words]


@attrs.define
class Caller:
    """One task on a node: what it does next is drawn, and each save expects what it was last told, or not."""

    name: str
    store: Any
    history: History
    chance: Chance
    hasty: float = 0.0
    pause: float = 0.0
    known: dict[Thing, int] = attrs.field(factory=lambda: defaultdict(int))

    async def run(self, count: int) -> None:
        for number in range(count):
            await trio.sleep(self.chance.random() * self.pause)
            what = self.chance.choice(("save", "save", "read", "lease"))
            if what == "lease":
                await self.hold()
            elif what == "read":
                await self.read(self.chance.choice(RECORDS))
            else:
                await self.save(self.chance.choice(RECORDS), f"{self.name}.{number}")

    @property
    def limit(self) -> float:
        """Seconds that it waits: now and then it leaves in the middle."""
        return self.chance.random() / 200 if self.chance.random() < self.hasty else 10.0

    async def read(self, thing: Thing) -> None:
        async def work() -> tuple[int, str]:
            found: Record | None = await self.store.read(*thing)
            return EMPTY if found is None else (found.version, found.data.decode())

        told = await self.history.note(thing, ("read",), work, self.limit)
        self.known[thing] = told[0] if told is not None else self.known[thing]

    async def save(self, thing: Thing, data: str) -> None:
        expected = self.chance.choice((self.known[thing], self.known[thing], self.chance.randint(0, 9), None))

        async def work() -> tuple[str, int]:
            return "saved", await self.store.save(*thing, data.encode(), expected)

        told = await self.history.note(thing, ("save", data, expected), work, self.limit)
        self.known[thing] = told[1] if told is not None else self.known[thing]

    async def hold(self) -> None:
        """Take the lease for a moment. That it is given back is told only where nothing can fail on its way."""
        thing, asked, began = ("lease", "a lease"), ("give", 0), 0
        async with AsyncExitStack() as stack:

            async def work() -> Words:
                found = await stack.enter_async_context(self.store.lease("a lease", 600))
                return ("taken",) if found is None else ("lease", found.fence)

            told = await self.history.note(thing, ("take",), work, 10.0)
            if told is None or told[0] == "taken":
                return
            await trio.sleep(self.chance.random() / 100)
            asked = ("give", told[1])
            began = self.history.begin(thing, asked)
        self.history.end(thing, asked, ("done",) if self.history.sure else None, began)


async def play(stores: list[Any], seed: int, calls: int, *, hasty: float = 0.1, sure: bool = True) -> History:
    """So many calls by each caller of each node."""
    history = History(sure=sure)
    async with trio.open_nursery() as nursery:
        for number, store in enumerate(stores):
            for letter in "xyz"[:CALLERS]:
                caller = Caller(f"{number}{letter}", store, history, chance_of(f"{seed} {number}{letter}"), hasty)
                nursery.start_soon(caller.run, calls)
    return history


@asynccontextmanager
async def sqlites(folder: Path) -> AsyncIterator[list[Sqlite]]:
    async with AsyncExitStack() as stack:
        settings, context = Sqlite.Settings(path=str(folder / "store")), store_context("sqlite")
        yield [await stack.enter_async_context(Sqlite.open(settings, context)) for _ in range(NODES)]


@asynccontextmanager
async def redises(ports: list[int], folder: Path) -> AsyncIterator[list[Redis]]:
    async with AsyncExitStack() as stack:
        found = []
        for port in ports:
            settings = RedisSettings(url=Secret(f"redis://127.0.0.1:{port}/0"), key_file=str(folder / "key"))
            found.append(await stack.enter_async_context(Redis.open(settings, store_context("redis"))))
        yield found


# --- processes -------------------------------------------------------------------------------------------------------

PAUSE = 0.05
"""Seconds between two calls of a caller, at most: the longer a history, the longer the search."""


class Written(History):
    """A history in a file, for who may be killed."""

    def __init__(self, file: Path, name: str) -> None:
        super().__init__(sure=False)
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._name = name

    def tick(self) -> int:
        """The monotonic clock, which all processes share."""
        return time.monotonic_ns()

    def begin(self, thing: Thing, asked: Words) -> int:
        began = self.tick()
        self._write("began", thing, asked, began)
        return began

    def end(self, thing: Thing, asked: Words, told: Words | None, began: int) -> None:
        if told is not None:
            self._write("told", thing, asked, began, told, self.tick())

    def _write(self, *what: object) -> None:
        os.write(self._fd, json.dumps([self._name, *what]).encode() + b"\n")


def read_written(file: Path) -> History:
    """The history of all who wrote to a file."""
    found: dict[object, tuple[Thing, Called]] = {}
    for line in file.read_text().splitlines():
        name, what, thing, asked, began, *more = json.loads(line)
        words = tuple(asked)
        called = Called(words, None, began) if what == "began" else Called(words, tuple(more[0]), began, more[1])
        found[name, began, words] = tuple(thing), called
    history = History(sure=False)
    for thing, called in found.values():
        if called.told is not None or called.asked[0] != "read":
            history.calls[thing].append(called)
    return history


@asynccontextmanager
async def one(place: str) -> AsyncIterator[Any]:
    """A store of this place, as one process has it."""
    if place.startswith("redis:"):
        settings = RedisSettings(url=Secret(place), key_file=os.environ["KEY_FILE"])
        async with Redis.open(settings, store_context("redis")) as redis:
            yield redis
    else:
        async with Sqlite.open(Sqlite.Settings(path=place), store_context("sqlite")) as sqlite:
            yield sqlite


async def work(place: str, file: Path, name: str) -> None:
    history = Written(file, name)
    async with one(place) as store, trio.open_nursery() as nursery:
        for letter in "xyz"[:CALLERS]:
            caller = Caller(f"{name}{letter}", store, history, chance_of(f"{name}{letter}"), 0.1, PAUSE)
            nursery.start_soon(caller.run, 1 << 30)


def forked(place: str, file: Path, name: str) -> int:
    """The id of a process that goes on until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            trio.run(work, place, file, name)
        except BaseException:  # noqa: BLE001  # whatever ends a child is told
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid


def ended(pid: int) -> None:
    """Kill a process; it must not have ended before."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"a process ended by itself: {status}")


def disturbed(place: str, file: Path, seconds: float, seed: str) -> tuple[int, int]:
    """Let three processes run for so long, and kill and stop them; gives how often that was."""
    chance, names = chance_of(seed), (f"{seed}-{number}." for number in itertools.count())
    pids = [forked(place, file, next(names)) for _ in range(NODES)]
    kills = stops = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(chance.random())
        number = chance.randrange(NODES)
        if chance.random() < 0.5:
            ended(pids[number])
            pids[number] = forked(place, file, next(names))
            kills += 1
        else:
            os.kill(pids[number], signal.SIGSTOP)
            time.sleep(chance.random())
            os.kill(pids[number], signal.SIGCONT)
            stops += 1
    for pid in pids:
        ended(pid)
    return kills, stops


def main() -> None:
    place, seconds, seed = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history"
        kills, stops = disturbed(place, file, float(seconds), seed)
        history = read_written(file)
    history.check()
    saved, lost, unheard = history.count("saved", "conflict", "unheard")
    print(f"{kills} kills, {stops} stops: {saved} saved, {lost} lost, {unheard} unheard, in one order")


if __name__ == "__main__":
    main()
