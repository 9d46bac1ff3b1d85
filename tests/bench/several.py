"""A gateway, or a floor, that serves with one process or several, and what a call costs them."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs
import sides
from gateway import Bench
from load import Case
from sides import Side, running

SERVES = re.compile(r"process \d+ serves, with the process id (\d+)")
PACED = 0.5
"""Seconds of a run at a fixed rate."""


@attrs.frozen
class Several:
    """Who serves at these addresses, and who supervises them."""

    urls: Sequence[str]
    serving: Sequence[Side]
    supervisor: Side | None


@attrs.frozen
class Figures:
    """Of one run: seconds of CPU a call, calls a second, the busiest process's share, the supervisor's CPU in all."""

    cpu: float
    rate: float
    share: float
    supervisor: float


@contextmanager
def _started(name: str, command: sides.Command, upstream: str, folder: Path, cores: Sequence[int]) -> Iterator[Several]:
    with running(name, command, upstream, folder, cores[0]) as side:
        pids = [int(pid) for pid in SERVES.findall((folder / name / "errors").read_text(encoding="utf-8"))]
        for pid in pids:
            os.sched_setaffinity(pid, cores)
        serving = [Side(name, side.url, pid) for pid in pids] or [side]
        yield Several(side.urls, serving, None if side.pid in {one.pid for one in serving} else side)


@contextmanager
def gateway(count: int, upstream: str, folder: Path, cores: Sequence[int]) -> Iterator[Several]:
    """`turnout run` with so many processes."""

    def command(upstream: str, own: Path) -> Sequence[str]:
        arguments = sides.turnout(upstream, own)
        return [*arguments, "--processes", str(count)] if count > 1 else arguments

    with _started(f"{count} processes", command, upstream, folder, cores) as found:
        yield found


@contextmanager
def apart(count: int, upstream: str, folder: Path, cores: Sequence[int]) -> Iterator[Several]:
    """So many gateways of one process that know nothing of each other, each at an address of its own."""
    with ExitStack() as stack:
        found = []
        for number in range(count):
            own = folder / str(number)
            own.mkdir()
            found.append(stack.enter_context(gateway(1, upstream, own, cores)))
        yield Several([url for one in found for url in one.urls], [side for one in found for side in one.serving], None)


@contextmanager
def floor(count: int, upstream: str, folder: Path, cores: Sequence[int]) -> Iterator[Several]:
    """The floor with so many processes."""

    def command(upstream: str, own: Path) -> Sequence[str]:
        return [*sides.floor(upstream, own), "--processes", str(count)]

    with _started(f"{count} floors", command, upstream, folder, cores) as found:
        yield found


def measure(bench: Bench, side: Several, case: Case, clients: int, calls: int) -> Figures:
    """One run: warm up, then so many calls in closed loop."""
    with bench.load(side, case, clients) as load:
        load.call(clients + 5)
        before, began = [one.cpu() for one in side.serving], time.perf_counter()
        idle = side.supervisor.cpu() if side.supervisor else 0.0
        load.call(calls)
        took = time.perf_counter() - began
        used = [one.cpu() - earlier for one, earlier in zip(side.serving, before, strict=True)]
        idle = side.supervisor.cpu() - idle if side.supervisor else 0.0
    return Figures(sum(used) / calls, calls / took, max(used) / sum(used), idle)


def measure_at_rate(bench: Bench, side: Several, case: Case, clients: int, rate: float) -> float:
    """Seconds of CPU a call, at so many calls a second whatever has ended."""
    calls = max(10, int(rate * PACED))
    with bench.load(side, case, clients) as load:
        load.call(clients + 5)
        used = sum(one.cpu() for one in side.serving)
        load.call_at(rate, calls)
        return (sum(one.cpu() for one in side.serving) - used) / calls


def measure_on_own_core(
    bench: Bench, side: Several, case: Case, clients: int, calls: int, cores: Sequence[int]
) -> float:
    """Seconds of CPU that a call costs the first process where nobody shares its core."""
    first = side.serving[0]
    try:
        for one in side.serving:
            os.sched_setaffinity(one.pid, {cores[0]} if one is first else os.sched_getaffinity(0))
        with bench.load(side, case, clients) as load:
            load.call(clients + 5)
            ports = accepted_by(first)
            own = [client for client in load.clients if client.sock.getsockname()[1] in ports]
            before, used = sum(client.calls for client in own), first.cpu()
            load.call(calls * len(side.serving))
            return (first.cpu() - used) / (sum(client.calls for client in own) - before)
    finally:
        for one in side.serving:
            os.sched_setaffinity(one.pid, cores)


def accepted_by(side: Side) -> set[int]:
    """The ports of the clients whose connections a process has (proc(5): /proc/PID/fd, /proc/net/tcp)."""
    found: set[str] = set()
    for descriptor in Path(f"/proc/{side.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    own = int(side.url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    places = [(row[1].partition(":")[2], row[2].partition(":")[2], row[9]) for row in rows]
    return {int(peer, 16) for here, peer, inode in places if int(here, 16) == own and f"socket:[{inode}]" in found}
