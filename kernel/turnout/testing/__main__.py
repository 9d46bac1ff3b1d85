"""Play seeds of the simulation: `PYTHONHASHSEED=0 python -m turnout.testing FIRST [COUNT]`.

One seed prints its trace. Several print what went wrong and a line with totals; with `--digests`, a line for each seed.
The exit code is 1 when something did not hold.
"""

import gc
import logging
import multiprocessing
import sys
from multiprocessing.connection import Connection

import click

from turnout.testing._simulation import Simulated, simulate, simulate_all
from turnout.testing._variants import VARIANTS, variant

CHUNK = 250
"""Seeds that one process plays: it collects no garbage, some 170 KiB a seed, and is forked, which takes no time."""


@click.command()
@click.argument("first", type=int)
@click.argument("count", type=int, default=1)
@click.option("--digests", is_flag=True, help="Print the digest of each seed's trace.")
def main(first: int, count: int, *, digests: bool) -> None:
    """Play COUNT seeds of the kernel's simulation, beginning with FIRST."""
    logging.disable(logging.CRITICAL)  # faults are what it is about; the trace tells of them
    if count == 1:
        run = simulate(first)
        click.echo("\n".join((*run.trace, run.digest, str(run) if run.problems else "all held")))
        sys.exit(bool(run.problems))
    for number in range(VARIANTS):
        variant(number)
    simulate(first)  # what is made once per process is made before it is forked
    gc.freeze()
    seeds = range(first, first + count)
    chunks = [_played(seeds[at : at + CHUNK], digests=digests) for at in range(0, count, CHUNK)]
    failed, calls, attempts = map(sum, zip(*chunks, strict=True))
    click.echo(f"{count} seeds, {failed} failed, {calls} calls, {attempts} attempts")
    sys.exit(bool(failed))


def _played(seeds: range, *, digests: bool) -> tuple[int, int, int]:
    """Play seeds in a process of their own; gives how many failed, and how many calls and attempts there were."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_play, args=(seeds, digests, sender))
    process.start()
    sender.close()
    totals: tuple[int, int, int] = receiver.recv()
    process.join()
    return totals


def _play(seeds: range, digests: bool, told: "Connection[tuple[int, int, int], object]") -> None:
    gc.disable()
    failed = calls = attempts = 0
    for run in simulate_all(seeds):
        calls += run.calls
        attempts += run.attempts
        failed += bool(run.problems)
        _tell(run, digests=digests)
    told.send((failed, calls, attempts))


def _tell(run: Simulated, *, digests: bool) -> None:
    if digests:
        click.echo(f"{run.seed} {run.digest}")
    if run.problems:
        click.echo(str(run))


if __name__ == "__main__":
    main()
