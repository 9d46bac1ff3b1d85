"""Turnout as a process against the floor, and against the stock stack and nginx where asked for and installed.

    python tests/bench/gateway.py                      half a minute on a quiet machine
    python tests/bench/gateway.py --json FILE --stock --many --rounds 5
    python tests/bench/gateway.py --before FOLDER      beside the version that is installed in another environment
    python tests/bench/gateway.py --split              where a call's CPU time goes, by part of the house

Each side is a process on one core; clients and upstream are this process on another (see `load.py`). Sides take turns
within each row, so that what else the machine does hits all of them; figures are medians of the rounds, ratios the
median of the ratios of neighbouring runs. CPU is user and system time of the side's process. `calls/s` is what came
through in closed loop, and a call that streams has 100 events. Client keys, routing, the whole attempt loop, outcome
recording, decision records and metrics are on, the pool has 100 credentials, and admission limits are raised.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs
import sides
import trend
from load import Case, Load, Loop, Upstream, Wrong
from sides import KEY, Side, running

SMALL = Case("1 KB")
LARGE = Case("300 KB", size=300 * 1024)
APART = Case("100 events apart", events=100, apart=True)
COALESCED = Case("100 events at once", events=100)
SHORT = Case("stream of 2 events", events=2)
HELD = Case("idle stream", events=100, holds=True)

CALLS = {SMALL: 1000, LARGE: 120, APART: 30, COALESCED: 400}
COUNTS = (1, 32, 200)

PACED = 2000
"""Calls where latency is measured, or as many as come in two seconds: p99 is then what 20 of them exceed."""

LATENCIES = ((SMALL, "reply of 1 KB", None), (SHORT, "first event", None), (SMALL, "reply of 1 KB", 50.0))
"""Cases of which latency is measured, and calls a second; None is the rate at which Turnout uses half the core."""


@attrs.frozen
class Figures:
    """What one run of one side used, per call."""

    cpu: float
    rate: float
    p50: float
    p99: float


class Place(Protocol):
    """Where a load is put: its clients take these addresses in turn."""

    @property
    def urls(self) -> Sequence[str]: ...


class Bench:
    """The load of this process, and the sides it can be put on."""

    def __init__(self, loop: Loop, upstream: Upstream) -> None:
        self.loop, self.upstream = loop, upstream

    @contextmanager
    def load(self, place: Place, case: Case, clients: int) -> Iterator[Load]:
        load = Load(self.loop, self.upstream, place.urls, KEY, case, clients)
        try:
            yield load
        finally:
            load.close()
            load.settle(0.02)

    def measure(self, side: Side, case: Case, clients: int, calls: int) -> Figures:
        """One run: warm up, then so many calls in closed loop."""
        with self.load(side, case, clients) as load:
            load.call(clients + 5)
            load.waits.clear()
            began, used = time.perf_counter(), side.cpu()
            load.call(calls)
            used, took = side.cpu() - used, time.perf_counter() - began
            waits = sorted(load.waits)
        return Figures(used / calls * 1e6, calls / took, _part(waits, 0.5) * 1e6, _part(waits, 0.99) * 1e6)

    def latency(self, side: Side, case: Case, rate: float) -> tuple[float, float]:
        """p50 and p99 in µs at so many calls a second: of the whole reply, or of the first event of a stream."""
        with self.load(side, case, 32) as load:
            load.call(40)
            load.waits.clear()
            load.firsts.clear()
            load.call_at(rate, min(PACED, int(2 * rate)))
            times = sorted(load.firsts if case.events else load.waits)
        return _part(times, 0.5) * 1e6, _part(times, 0.99) * 1e6

    def half_core(self, side: Side, case: Case) -> float:
        """Calls a second at which a side uses half the core: calls that come apart cost more than those of a crowd."""
        rate = 0.5e6 / self.measure(side, case, 1, 200).cpu
        for _ in range(4):
            with self.load(side, case, 32) as load:
                load.call(40)
                began, used = time.perf_counter(), side.cpu()
                load.call_at(rate, int(rate))
                rate *= 0.5 * (time.perf_counter() - began) / (side.cpu() - used)
        return rate

    def idle_stream(self, side: Side, streams: int, seconds: float) -> tuple[float, float]:
        """KiB of memory for each stream that is open and silent, and by how much that grows in so many seconds."""
        for case in (SMALL, SHORT):  # whatever is made once, or imported late, is there
            with self.load(side, case, 5) as load:
                load.call(200)
        before = side.memory()
        with self.load(side, HELD, streams) as load:
            load.call(streams)
            load.settle(0.2)
            opened = side.memory()
            load.settle(seconds)
            return (opened - before) / streams, (side.memory() - opened) / streams


def _part(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def ratio(ours: Sequence[Figures], floors: Sequence[Figures]) -> float:
    return statistics.median(one.cpu / floor.cpu for one, floor in zip(ours, floors, strict=True))


def table(bench: Bench, found: Sequence[Side], counts: Sequence[int], rounds: int) -> list[dict[str, object]]:
    """CPU and throughput for each case and number of clients."""
    rows: list[dict[str, object]] = []
    print(f"{'case':20}{'clients':>8}  {'side':8}{'µs CPU/call':>12}{'per event':>10}{'calls/s':>9}{'to floor':>9}")
    for case, usual in CALLS.items():
        for clients in counts:
            calls = max(usual, clients if case.events else 2 * clients)
            runs: dict[str, list[Figures]] = {side.name: [] for side in found}
            for _ in range(rounds):
                for side in found:
                    with outlived(side, case, clients):
                        runs[side.name].append(bench.measure(side, case, clients, calls))
            for name, figures in runs.items():
                if len(figures) < rounds:
                    rows.append({"case": case.name, "clients": clients, "side": name, "failed": True})
                    continue
                cpu = statistics.median(one.cpu for one in figures)
                row = {
                    "case": case.name,
                    "clients": clients,
                    "side": name,
                    "cpu_us": cpu,
                    "event_us": cpu / case.events if case.events else None,
                    "calls_per_s": statistics.median(one.rate for one in figures),
                    "ratio": ratio(figures, runs["floor"]),
                    "runs_cpu_us": [one.cpu for one in figures],
                }
                rows.append(row)
                event = f"{cpu / case.events:10.1f}" if case.events else " " * 10
                figures_shown = f"{cpu:12.1f}{event}{row['calls_per_s']:9.0f}{row['ratio']:9.2f}"
                print(f"{case.name:20}{clients:8}  {name:8}{figures_shown}", flush=True)
    return rows


@contextmanager
def outlived(side: Side, case: Case, clients: int) -> Iterator[None]:
    """What the stock stack does to many clients is a result, and no end of the run."""
    try:
        yield
    except Wrong as error:
        if side.name != "stock":
            raise
        print(f"{case.name:20}{clients:8}  {side.name:8}  failed: {str(error)[:60]}", flush=True)


def latencies(bench: Bench, found: Sequence[Side], direct: Side, rounds: int) -> list[dict[str, object]]:
    """What each side adds to the time of a call, over asking the upstream itself; all at the same rate.

    The last columns are that to what the floor adds (I7), which is a microsecond at the least.
    """
    print(f"\nadded latency, µs{'':15}calls/s{'p50':>12}{'p99':>9}{'to floor: p50':>15}{'p99':>7}")
    rows: list[dict[str, object]] = []
    turnout = next(side for side in found if side.name == "turnout")
    for case, what, fixed in LATENCIES:
        rate = fixed or bench.half_core(turnout, case)
        runs = {side.name: [bench.latency(side, case, rate) for _ in range(rounds)] for side in (direct, *found)}
        middle = {name: [statistics.median(column) for column in zip(*run, strict=True)] for name, run in runs.items()}
        added = {
            side.name: [ours - theirs for ours, theirs in zip(middle[side.name], middle["direct"], strict=True)]
            for side in found
        }
        for name, (p50, p99) in added.items():
            to_floor = [ours / max(1.0, floor) for ours, floor in zip((p50, p99), added["floor"], strict=True)]
            row = {"case": what, "side": name, "calls_per_s": rate, "p50_us": p50, "p99_us": p99}
            rows.append(row | {"p50_ratio": to_floor[0], "p99_ratio": to_floor[1]})
            ratios = f"{to_floor[0]:15.2f}{to_floor[1]:7.2f}"
            print(f"{what:20}{name:12}{rate:7.0f}{p50:12.0f}{p99:9.0f}{ratios}", flush=True)
    return rows


def peaks(found: Sequence[Side]) -> dict[str, float]:
    """MiB that each side held at its peak, over everything it was asked until now."""
    peak = {side.name: side.memory("VmHWM") / 1024 for side in found}
    print(f"\n{'memory at peak, MiB':38}" + "".join(f"  {name} {mib:.1f}" for name, mib in peak.items()), flush=True)
    return peak


def memory(arguments: argparse.Namespace, bench: Bench, folder: Path, core: int) -> list[dict[str, object]]:
    """Of fresh processes, because what earlier runs have left free would hide what a stream takes."""
    streams, seconds = (1000, 60.0) if arguments.many else (200, 0.0)
    grown_in = f"grown in {seconds:.0f} s"
    print(f"\nmemory{'KiB per idle stream':>38}{grown_in:>15}{'MiB with all open':>19}   ({streams} streams)")
    rows: list[dict[str, object]] = []
    for name, command in sides_of(arguments).items():
        with running(f"{name}-idle", command, bench.upstream.address, folder, core) as side:
            each, grown = bench.idle_stream(side, streams, seconds)
            open_mib = side.memory("VmHWM") / 1024
        row = {"side": name, "streams": streams, "idle_stream_kib": each, "grown_kib": grown, "open_mib": open_mib}
        rows.append(row)
        print(f"{name:20}{each:24.1f}{grown:15.2f}{open_mib:19.1f}", flush=True)
    return rows


def sides_of(arguments: argparse.Namespace) -> Mapping[str, sides.Command]:
    asked: dict[str, sides.Command] = {"floor": sides.floor, "turnout": sides.turnout}
    if sides.has_nginx():
        asked["nginx"] = sides.nginx
    if arguments.stock:
        asked["stock"] = sides.stock
    if arguments.before is not None:
        asked["before"] = partial(sides.turnout, environment=arguments.before)
    return asked


def compare(arguments: argparse.Namespace, bench: Bench, folder: Path, core: int) -> None:
    counts = tuple(arguments.clients) if arguments.clients else (*COUNTS, 1000) if arguments.many else COUNTS
    with ExitStack() as stack:
        found = [
            stack.enter_context(running(name, command, bench.upstream.address, folder, core))
            for name, command in sides_of(arguments).items()
        ]
        direct = Side("direct", f"http://{bench.upstream.address}", os.getpid())
        result: dict[str, Any] = {"cpu": table(bench, found, counts, arguments.rounds)}
        if not arguments.cpu_only:
            result["latency"] = latencies(bench, found, direct, arguments.rounds)
            result["peak_mib"] = peaks(found)
    if not arguments.cpu_only:
        result["memory"] = memory(arguments, bench, folder, core)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.trend:
        trend.add(result)


def split(arguments: argparse.Namespace, bench: Bench, folder: Path, core: int) -> None:
    """Sample the gateway's stack while it serves, and share out its CPU time."""
    clients = arguments.clients[0] if arguments.clients else 32
    for case, calls in ((SMALL, 12000), (APART, 300), (COALESCED, 4000)):
        place = folder / case.name
        place.mkdir()

        def sampled(upstream: str, own: Path) -> Sequence[str]:
            file = sides.turnout_file(upstream, own)
            return [sys.executable, str(sides.HERE / "sampled.py"), str(own / "samples"), str(file)]

        with running("sampled", sampled, bench.upstream.address, place, core) as side:
            with bench.load(side, case, clients) as load:  # what is imported late is no part of a call
                load.call(clients + 200)
            side.signal(signal.SIGUSR1)
            figures = bench.measure(side, case, clients, calls)
        shares: dict[str, int] = json.loads((place / "sampled" / "samples").read_text(encoding="ascii"))
        total = sum(shares.values())
        print(f"\n{case.name}, {clients} clients: {figures.cpu:.0f} µs a call, {total} samples")
        for part, count in sorted(shares.items(), key=lambda pair: -pair[1]):
            print(f"  {part:24}{100 * count / total:6.1f} %{figures.cpu * count / total:9.1f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--trend", action="store_true", help="keep the ratios: a line in trend.jsonl (see trend.py)")
    parser.add_argument("--stock", action="store_true", help="the stock stack too, which is slow")
    parser.add_argument("--before", type=Path, help="an environment with another version of Turnout to compare with")
    parser.add_argument("--many", action="store_true", help="1,000 clients too, and idle streams for a minute")
    parser.add_argument("--clients", type=int, nargs="+", help="these numbers of clients instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-only", action="store_true", help="no latency, no memory")
    parser.add_argument("--split", action="store_true", help="show where a call's CPU time goes instead")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the side that is measured, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    loop = Loop()
    bench = Bench(loop, Upstream(loop))
    with tempfile.TemporaryDirectory() as folder:
        (split if arguments.split else compare)(arguments, bench, Path(folder), cores[0])


if __name__ == "__main__":
    main()
