"""Play seeds of the simulation: `PYTHONHASHSEED=0 python -m turnout.testing FIRST [COUNT]`.

One seed prints its trace. Several print what went wrong and a line with totals; with `--digests`, a line for each seed.
The exit code is 1 when something did not hold.
"""

import gc
import logging
import sys

import click

from turnout.testing._simulation import Simulated, simulate


@click.command()
@click.argument("first", type=int)
@click.argument("count", type=int, default=1)
@click.option("--digests", is_flag=True, help="Print the digest of each seed's trace.")
def main(first: int, count: int, *, digests: bool) -> None:
    """Play COUNT seeds of the kernel's simulation, beginning with FIRST."""
    logging.disable(logging.CRITICAL)  # faults are what it is about; the trace tells of them
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # a fifth faster: nothing here is long-lived garbage
    if count == 1:
        run = simulate(first)
        click.echo("\n".join((*run.trace, run.digest, str(run) if run.problems else "all held")))
        sys.exit(bool(run.problems))
    failed = calls = attempts = 0
    for seed in range(first, first + count):
        run = simulate(seed)
        calls += run.calls
        attempts += run.attempts
        failed += bool(run.problems)
        _tell(run, digests=digests)
    click.echo(f"{count} seeds, {failed} failed, {calls} calls, {attempts} attempts")
    sys.exit(bool(failed))


def _tell(run: Simulated, *, digests: bool) -> None:
    if digests:
        click.echo(f"{run.seed} {run.digest}")
    if run.problems:
        click.echo(str(run))


if __name__ == "__main__":
    main()
