"""What a second process costs: CPU per call of `turnout run --processes N` against one process, in one run.

    python tests/bench/processes.py                    two minutes on a quiet machine
    python tests/bench/processes.py --processes 4 --rounds 9 --json FILE

Each round starts both gateways anew, because two starts of the same code differ by up to a tenth, and both take turns
within each row; figures are medians of the rounds, ratios the median of the ratios of neighbouring runs. CPU is user
and system time of all the processes that serve, without the supervisor, which is told apart: it has nothing to do. On
fewer than four cores both sides share one core and the load has another, so calls per second say nothing about scaling
and are not shown; with four or more each process may use any core but the load's.
Several processes share the clients, so that fewer requests are found at each look for what has come. What that costs
is told apart: the single process at as many clients as each of several has (`spread`), and the ratio to that.
`share` is the part of the calls' CPU time that the busiest process took. Processes that take turns on one core also
find its caches full of each other's; so in a further run the first one has a core to itself, the others are beside the
load and are not counted, and `own core` is what a call of the first one's own clients costs it, with both ratios again.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import sides
from gateway import APART, SMALL
from load import Case, Load, Loop, Upstream
from sides import KEY, Side, running

CASES = {SMALL: 2000, APART: 40}
COUNTS = (8, 32, 200)
SERVES = re.compile(r"process \d+ serves, with the process id (\d+)")
SCALES_FROM = 4
"""Cores: two for the processes, one for the load, one for the machine."""


@attrs.frozen
class Gateway:
    """A running gateway: who serves, and who supervises."""

    url: str
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
def gateway(count: int, upstream: str, folder: Path, cores: Sequence[int]) -> Iterator[Gateway]:
    def command(upstream: str, own: Path) -> Sequence[str]:
        arguments = sides.turnout(upstream, own)
        return [*arguments, "--processes", str(count)] if count > 1 else arguments

    name = f"{count} processes"
    with running(name, command, upstream, folder, cores[0]) as side:
        pids = [int(pid) for pid in SERVES.findall((folder / name / "errors").read_text(encoding="utf-8"))]
        for pid in pids:
            os.sched_setaffinity(pid, cores)
        serving = [Side(name, side.url, pid) for pid in pids]
        yield Gateway(side.url, serving or [side], side if serving else None)


def measure(loop: Loop, upstream: Upstream, side: Gateway, case: Case, clients: int, calls: int) -> Figures:
    """One run: warm up, then so many calls in closed loop."""
    load = Load(loop, upstream, side.url, KEY, case, clients)
    try:
        load.call(clients + 5)
        before, began = [one.cpu() for one in side.serving], time.perf_counter()
        idle = side.supervisor.cpu() if side.supervisor else 0.0
        load.call(calls)
        took = time.perf_counter() - began
        used = [one.cpu() - earlier for one, earlier in zip(side.serving, before, strict=True)]
        idle = side.supervisor.cpu() - idle if side.supervisor else 0.0
    finally:
        load.close()
        load.settle(0.02)
    return Figures(sum(used) / calls, calls / took, max(used) / sum(used), idle)


def measure_on_own_core(
    loop: Loop, upstream: Upstream, side: Gateway, case: Case, clients: int, calls: int, cores: Sequence[int]
) -> float:
    """Seconds of CPU that a call costs the first process where nobody shares its core."""
    first = side.serving[0]
    load = Load(loop, upstream, side.url, KEY, case, clients)
    try:
        for one in side.serving:
            os.sched_setaffinity(one.pid, {cores[0]} if one is first else os.sched_getaffinity(0))
        load.call(clients + 5)
        ports = accepted_by(first)
        own = [client for client in load.clients if client.sock.getsockname()[1] in ports]
        before, used = sum(client.calls for client in own), first.cpu()
        load.call(calls * len(side.serving))
        return (first.cpu() - used) / (sum(client.calls for client in own) - before)
    finally:
        load.close()
        load.settle(0.02)
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


@attrs.frozen
class Round:
    """What was measured of one row in one round: seconds of CPU a call, but for the figures of whole runs."""

    one: Figures
    several: Figures
    spread: Figures
    own_core: float


@attrs.define
class Measured:
    """All rounds of all rows, and what the processes held in the last one, in MiB."""

    rows: dict[tuple[Case, int], list[Round]] = attrs.field(factory=dict)
    memory: list[float] = attrs.field(factory=list)
    supervisor_memory: float = 0.0


def play(measured: Measured, many: int, loop: Loop, upstream: Upstream, folder: Path, cores: Sequence[int]) -> None:
    """One round: both gateways, from their start to their end."""
    with (
        gateway(1, upstream.address, folder, cores) as one,
        gateway(many, upstream.address, folder, cores) as several,
    ):
        for case, usual in CASES.items():
            for clients in COUNTS:
                calls = max(usual, 2 * clients)
                turns = ((one, clients), (several, clients), (one, clients // many))
                first, second, third = (measure(loop, upstream, side, case, at, calls) for side, at in turns)
                own_core = measure_on_own_core(loop, upstream, several, case, clients, calls, cores)
                measured.rows.setdefault((case, clients), []).append(Round(first, second, third, own_core))
        measured.memory = [round(side.memory() / 1024, 1) for side in (*one.serving, *several.serving)]
        measured.supervisor_memory = several.supervisor.memory() / 1024 if several.supervisor else 0.0


def middle(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(figure(round) for round in rounds)


def row_of(case: Case, clients: int, rounds: Sequence[Round]) -> dict[str, float | str]:
    return {
        "case": case.name,
        "clients": clients,
        "one_us": middle(rounds, lambda found: found.one.cpu) * 1e6,
        "several_us": middle(rounds, lambda found: found.several.cpu) * 1e6,
        "cpu_ratio": middle(rounds, lambda found: found.several.cpu / found.one.cpu),
        "spread_us": middle(rounds, lambda found: found.spread.cpu) * 1e6,
        "cpu_ratio_spread": middle(rounds, lambda found: found.several.cpu / found.spread.cpu),
        "own_core_us": middle(rounds, lambda found: found.own_core) * 1e6,
        "cpu_ratio_own_core": middle(rounds, lambda found: found.own_core / found.one.cpu),
        "cpu_ratio_own_core_spread": middle(rounds, lambda found: found.own_core / found.spread.cpu),
        "share": middle(rounds, lambda found: found.several.share),
        "rate_ratio": middle(rounds, lambda found: found.several.rate / found.one.rate),
        "supervisor_s": sum(found.several.supervisor for found in rounds),
    }


HEAD = (
    "{case:20}{clients:>8}{one_us:>16}{several_us:>6}{cpu_ratio:>8}{spread_us:>8}{cpu_ratio_spread:>8}"
    "{own_core_us:>10}{cpu_ratio_own_core:>7}{cpu_ratio_own_core_spread:>7}{share:>7}{rate_ratio:>15}"
)
ROW = (
    "{case:20}{clients:>8}{one_us:16.1f}{several_us:6.1f}{cpu_ratio:8.2f}{spread_us:8.1f}{cpu_ratio_spread:8.2f}"
    "{own_core_us:10.1f}{cpu_ratio_own_core:7.2f}{cpu_ratio_own_core_spread:7.2f}{share:7.2f}{rate_ratio:>15.2f}"
)


def show(measured: Measured, many: int, *, scales: bool) -> list[dict[str, float | str]]:
    """Print the table, and give its rows."""
    heads = {"case": "case", "clients": "clients", "one_us": "µs CPU/call: 1", "several_us": many, "cpu_ratio": "ratio"}
    heads |= {"spread_us": "spread", "cpu_ratio_spread": "ratio", "own_core_us": "own core"}
    heads |= {"cpu_ratio_own_core": "ratio", "cpu_ratio_own_core_spread": "ratio", "share": "share"}
    print(HEAD.format(**heads, rate_ratio="calls/s ratio" if scales else ""))
    rows = [row_of(case, clients, rounds) for (case, clients), rounds in measured.rows.items()]
    for row in rows:
        line = ROW.format(**row)
        print(line if scales else line[:-15])
    print(f"\nMiB of memory: {measured.memory[0]} alone, {measured.memory[1:]} together", end="")
    print(f", {measured.supervisor_memory:.1f} the supervisor")
    print(f"CPU of the supervisor in all: {sum(float(row['supervisor_s']) for row in rows) * 1e3:.1f} ms")
    return rows


def compare(arguments: argparse.Namespace, folder: Path, cores: Sequence[int]) -> list[dict[str, float | str]]:
    loop = Loop()
    upstream = Upstream(loop)
    measured = Measured()
    for number in range(arguments.rounds):
        own = folder / str(number)
        own.mkdir()
        play(measured, arguments.processes, loop, upstream, own, cores)
    return show(measured, arguments.processes, scales=len(cores) + 1 >= SCALES_FROM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the sides that are measured, one for the load")
    os.sched_setaffinity(0, {cores[-1]})
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(arguments, Path(folder), cores[:-1])
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
