"""Kill processes that save, again and again, and compare what is left with what was acknowledged (F-1).

Children are forked from a process that has imported everything and has no threads, so that one costs milliseconds.
"""

import hashlib
import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from turnout import Record
from turnout.abc import Store

Found = dict[tuple[str, str], tuple[int, str]]
"""Version and digest of records, by kind and id."""

Work = Callable[[int], object]
"""What a child does; it is given a pipe to tell of acknowledged saves."""


def found(records: Iterable[Record]) -> Found:
    return {(one.kind, one.id): (one.version, hashlib.sha256(one.data).hexdigest()) for one in records}


def spawn(work: Work) -> tuple[int, int]:
    """Fork a child; gives its id and the reading end of its pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(writing)
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def tell(pipe: int, record: Record) -> None:
    digest = hashlib.sha256(record.data).hexdigest()
    os.write(pipe, f"{record.kind} {record.id} {record.version} {digest}\n".encode())


def told(child: int, reading: int) -> tuple[int, Found]:
    """Wait for a child's end: its status, and the last records that it told of."""
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    whole = [line.split() for line in lines if line.endswith("\n")]
    return status, {(kind, id): (int(version), digest) for kind, id, version, digest in whole}


def check(before: Found, acked: Found, after: Found) -> None:
    """No acknowledged save is lost, no record has other bytes, and none went more than one beyond what was told."""
    for key, (version, digest) in {**before, **acked}.items():
        has = after.get(key, (0, ""))
        if not version <= has[0] <= version + 1 or (has[0] == version and has[1] != digest):
            raise SystemExit(f"{key}: version {version} was acknowledged, {has[0]} is there, or its bytes differ")


def writers(open_store: Callable[[], AbstractAsyncContextManager[Store]], ids: Sequence[str], seed: int) -> Work:
    """What a child does that saves records of these ids for ever, one writer each."""

    async def write(store: Store, pipe: int, id: str, draw: random.Random) -> None:
        while True:
            kind, data = draw.choice(["secret", "state"]), draw.randbytes(draw.choice([10, 600, 5000]))
            version = await store.save(kind, id, data, None)
            tell(pipe, Record(kind=kind, id=id, data=data, version=version))

    async def main(pipe: int) -> None:
        draw = random.Random(seed)  # noqa: S311 - a test's data
        async with open_store() as store, trio.open_nursery() as nursery:
            for id in ids:
                nursery.start_soon(write, store, pipe, id, draw)

    return lambda pipe: trio.run(main, pipe)


def kill_at_random(
    works: Callable[[int], Sequence[Work]],
    look: Callable[[], Found],
    *,
    kills: int,
    seed: int,
    also: Callable[[], object] = lambda: None,
) -> None:
    """Start children, kill all of them and `also` what they write to, and look, so many times; prints a summary."""
    draw = random.Random(seed)  # noqa: S311 - a test's moments
    before, records, idle = look(), 0, 0
    for turn in range(kills):
        children = [spawn(work) for work in works(seed + turn)]
        if turn % 2:  # every other time while they save for sure, else perhaps while they open the store
            select.select([reading for _, reading in children], [], [], 10)
        time.sleep(draw.uniform(0.001, 0.05))
        for child, _ in children:
            os.kill(child, signal.SIGKILL)
        also()
        acked: Found = {}
        for child, reading in children:
            status, of_one = told(child, reading)
            if not os.WIFSIGNALED(status):
                raise SystemExit("a writer ended by itself")
            acked |= of_one
        after = look()
        check(before, acked, after)
        records += len(acked)
        idle += not acked
        before = after
    print(f"{kills} kills, {records} acknowledged records checked, 0 corrupt, 0 lost; {idle} kills before a first save")
    if idle > kills / 2:
        raise SystemExit("hardly any save was under way")
