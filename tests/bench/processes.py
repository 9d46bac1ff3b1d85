"""What a second process costs: CPU per call of `turnout run --processes N` against one process, in one run.

    python tests/bench/processes.py                    six minutes on a quiet machine
    python tests/bench/processes.py --processes 4 --rounds 9 --json FILE

Each round starts everything anew, because two starts of the same code differ by up to a tenth, and the sides take turns
within each row; figures are medians of the rounds, ratios the median of the ratios of neighbouring runs. CPU is user
and system time of all the processes that serve, without the supervisor, which is told apart: it has nothing to do. On
fewer than four cores both sides share one core and the load has another, so calls per second say nothing about scaling
and are not shown; with four or more each process may use any core but the load's.

The first ratios are those of a closed loop, in which each client asks again as soon as it is answered: several
processes share the clients, so that fewer requests are found at each look for what has come. What that costs is told
apart: the single process at as many clients as each of several has (`spread`), and the ratio to that; and it costs any
forwarder something: `floors` is the same ratio of so many bare ones to a single one, and `apart` that of so many
gateways that know nothing of each other to one. `half` is the ratio at a fixed rate of calls, at which one process
takes half a core, as a gateway has them that is not at its end; behind it the same of those that are `apart`.
`share` is the part of the calls' CPU time that the busiest process took. Processes that take turns on one core also
find its caches full of each other's; so in a further run the first one has a core to itself, the others are beside the
load and are not counted, and `own core` is what a call of the first one's own clients costs it, with both ratios again.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from gateway import APART, SMALL, Bench
from load import Case, Loop, Upstream
from several import Figures, apart, floor, gateway, measure, measure_at_rate, measure_on_own_core

CASES = {SMALL: 2000, APART: 40}
COUNTS = (8, 32, 200)
SCALES_FROM = 4
"""Cores: two for the processes, one for the load, one for the machine."""


@attrs.frozen
class Round:
    """What was measured of one row in one round: figures of whole runs, ratios, and seconds of CPU a call."""

    one: Figures
    several: Figures
    spread: Figures
    floors: float
    apart: float
    half: float
    half_apart: float
    own_core: float


@attrs.define
class Measured:
    """All rounds of all rows, and what the processes held in the last one, in MiB."""

    rows: dict[tuple[Case, int], list[Round]] = attrs.field(factory=dict)
    memory: list[float] = attrs.field(factory=list)
    supervisor_memory: float = 0.0


def play(measured: Measured, many: int, bench: Bench, folder: Path, cores: Sequence[int]) -> None:
    """One round: everything, from its start to its end."""
    upstream = bench.upstream.address
    (folder / "apart").mkdir()
    with (
        gateway(1, upstream, folder, cores) as one,
        gateway(many, upstream, folder, cores) as several,
        apart(many, upstream, folder / "apart", cores) as strangers,
        floor(1, upstream, folder, cores) as bare,
        floor(many, upstream, folder, cores) as floors,
    ):
        for case, usual in CASES.items():
            rate = bench.half_core(one.serving[0], case)
            for clients in COUNTS:
                calls = max(usual, 2 * clients)
                turns = ((one, clients), (several, clients), (one, clients // many))
                first, second, third = (measure(bench, side, case, at, calls) for side, at in turns)
                least, most = (measure(bench, side, case, clients, 2 * calls).cpu for side in (bare, floors))
                other = measure(bench, strangers, case, clients, calls)
                paced, shared, both = (
                    measure_at_rate(bench, side, case, clients, rate) for side in (one, several, strangers)
                )
                own = measure_on_own_core(bench, several, case, clients, calls, cores)
                ratios = (most / least, other.cpu / first.cpu, shared / paced, both / paced)
                found = Round(first, second, third, *ratios, own)
                measured.rows.setdefault((case, clients), []).append(found)
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
        "cpu_ratio_floors": middle(rounds, lambda found: found.floors),
        "cpu_ratio_apart": middle(rounds, lambda found: found.apart),
        "cpu_ratio_half_core": middle(rounds, lambda found: found.half),
        "cpu_ratio_half_core_apart": middle(rounds, lambda found: found.half_apart),
        "own_core_us": middle(rounds, lambda found: found.own_core) * 1e6,
        "cpu_ratio_own_core": middle(rounds, lambda found: found.own_core / found.one.cpu),
        "cpu_ratio_own_core_spread": middle(rounds, lambda found: found.own_core / found.spread.cpu),
        "share": middle(rounds, lambda found: found.several.share),
        "rate_ratio": middle(rounds, lambda found: found.several.rate / found.one.rate),
        "supervisor_s": sum(found.several.supervisor for found in rounds),
    }


HEAD = (
    "{case:20}{clients:>8}{one_us:>16}{several_us:>8}{cpu_ratio:>8}{spread_us:>8}{cpu_ratio_spread:>8}"
    "{cpu_ratio_floors:>8}{cpu_ratio_apart:>7}{cpu_ratio_half_core:>6}{cpu_ratio_half_core_apart:>7}{own_core_us:>10}"
    "{cpu_ratio_own_core:>7}{cpu_ratio_own_core_spread:>7}{share:>7}{rate_ratio:>15}"
)
ROW = (
    "{case:20}{clients:>8}{one_us:16.1f}{several_us:8.1f}{cpu_ratio:8.2f}{spread_us:8.1f}{cpu_ratio_spread:8.2f}"
    "{cpu_ratio_floors:8.2f}{cpu_ratio_apart:7.2f}{cpu_ratio_half_core:6.2f}{cpu_ratio_half_core_apart:7.2f}"
    "{own_core_us:10.1f}"
    "{cpu_ratio_own_core:7.2f}{cpu_ratio_own_core_spread:7.2f}{share:7.2f}{rate_ratio:>15.2f}"
)


def show(measured: Measured, many: int, *, scales: bool) -> list[dict[str, float | str]]:
    """Print the table, and give its rows."""
    heads = {"case": "case", "clients": "clients", "one_us": "µs CPU/call: 1", "several_us": many, "cpu_ratio": "ratio"}
    heads |= {"spread_us": "spread", "cpu_ratio_spread": "ratio", "own_core_us": "own core"}
    heads |= {"cpu_ratio_floors": "floors", "cpu_ratio_apart": "apart"}
    heads |= {"cpu_ratio_half_core": "half", "cpu_ratio_half_core_apart": "apart"}
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
    bench = Bench(loop, Upstream(loop))
    measured = Measured()
    for number in range(arguments.rounds):
        own = folder / str(number)
        own.mkdir()
        play(measured, arguments.processes, bench, own, cores)
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
