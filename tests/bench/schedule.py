"""What the schedule costs at 100 to 100,000 credentials of one provider and one model, in microseconds of CPU.

    python tests/bench/schedule.py [COUNT …]

`pick` is what a call pays: the ready view, round robin's choice, and the move of the rotation. `+ success` adds the
call's begin and end and the ledger's judgement; `+ rate limit + recovery` records a 429 and lets its time pass, so that
the credential leaves and comes back. `refusal` is a call that comes while everybody cools. The best of many short
runs counts. `plain loop` tells machines apart: a hundred turns of a loop that multiplies and adds. `contract` is the
compiled system that the contract comes from, measured on another machine.
"""

import gc
import sys
import time
from collections.abc import Callable, Sequence

from turnout import Ask, Credential, CredentialState, Done, Outcome, RateLimited
from turnout._ledger import Policy, record, settled
from turnout._quick import quick
from turnout._schedule import Schedule
from turnout._values import CLEAN
from turnout.abc import Candidate
from turnout_selectors import RoundRobin

SERVES = {"m": ("m",)}
PROVIDERS = ("p",)
NOW = 1_800_000_000.0
POLICY = Policy()
LIMIT = RateLimited(retry_after=1.0)  # made by the provider
SELECT = RoundRobin().select
ASK = Ask(model="m")
OUTCOME = quick(Outcome)  # made by the kernel in this way
CONTRACT = {100: (0.4, 3.2, 30.0), 1_000: (0.4, 3.2, 377.0), 10_000: (None, None, 5_500.0)}
TARGETS = (2.5, 8.0, 25.0)


def no_draw() -> float:
    raise AssertionError


class Bench:
    """A schedule of `count` clean credentials with its group built, and its states beside it."""

    def __init__(self, count: int) -> None:
        self.credentials = [Credential(id=f"credential-{number:07}", provider="p") for number in range(count)]
        self.states: dict[str, CredentialState] = {one.id: CLEAN for one in self.credentials}
        self.now = NOW
        self.schedule = Schedule()
        began = time.process_time()
        for one in self.credentials:
            self.schedule.upsert(one, CLEAN, SERVES, NOW)
        filled = time.process_time()
        self.schedule.ready(PROVIDERS, "m", NOW)
        self.fill = (filled - began) / count * 1e6
        self.build = (time.process_time() - filled) / count * 1e6

    def choose(self) -> Candidate:
        ready = self.schedule.ready(PROVIDERS, "m", self.now)
        assert ready is not None
        choice = SELECT(ready, ASK, no_draw)
        self.schedule.chosen(choice, ready)
        return choice

    def pick(self, times: int) -> None:
        for _ in range(times):
            self.choose()

    def succeed(self, times: int) -> None:
        schedule, states = self.schedule, self.states
        for _ in range(times):
            choice = self.choose()
            probe = schedule.begin(choice)
            schedule.end(choice, probe_over=probe, took=0.5)
            if not settled(states[choice.id], "m"):
                self.judge(choice, Done())

    def limit_and_recover(self, times: int) -> None:
        for _ in range(times):
            choice = self.choose()
            probe = self.schedule.begin(choice)
            self.judge(choice, LIMIT)
            self.schedule.end(choice, probe_over=probe)
            self.now += 1.0

    def judge(self, choice: Candidate, verdict: Done | RateLimited) -> None:
        outcome = OUTCOME(credential=choice.id, provider="p", model="m", verdict=verdict)
        change = record(self.states[choice.id], outcome, self.now, POLICY)
        self.states[choice.id] = change.state
        self.schedule.update(choice.id, change.state, "m", self.now)

    def register(self, times: int) -> None:
        for number in range(times):
            id = f"credential-{number * 7919 % len(self.credentials):07}-more"
            self.schedule.upsert(Credential(id=id, provider="p"), CLEAN, SERVES, self.now)

    def refuse(self, times: int) -> None:
        for _ in range(times):
            assert self.schedule.ready(PROVIDERS, "m", self.now) is None
            self.schedule.why_not(PROVIDERS, "m", self.now, model="m")

    def cool_everybody(self) -> None:
        for id in list(self.states):
            outcome = Outcome(credential=id, provider="p", model="m", verdict=RateLimited(retry_after=3600.0))
            self.schedule.update(id, record(CLEAN, outcome, self.now, POLICY).state, "m", self.now)


RUNS, ROUNDS = 300, 6


def best(run: Callable[[int], None], times: int = 200, runs: int = RUNS) -> float:
    """Microseconds of CPU for one step: the best of many short runs, some of which no neighbour disturbs."""
    found = float("inf")
    for _ in range(runs):
        began = time.process_time()
        run(times)
        found = min(found, (time.process_time() - began) / times * 1e6)
    return found


def bests(*steps: Callable[[int], None]) -> list[float]:
    """The best of each step over rounds in which all have their turn.

    One after the other, each takes a fifth of a second, and the first one that runs is measured while the machine, or
    its neighbours, still get up to speed: `pick` at 100 credentials came out at 1.6 times what it takes.
    """
    rounds = [[best(step, runs=RUNS // ROUNDS) for step in steps] for _ in range(ROUNDS)]
    return [min(figures) for figures in zip(*rounds, strict=True)]


def plain_loop(times: int) -> None:
    for _ in range(times):
        total = 0
        for number in range(100):
            total += number * number


def row(count: int) -> list[float]:
    bench = Bench(count)
    gc.collect()
    gc.freeze()
    figures = bests(bench.pick, bench.succeed, bench.limit_and_recover)
    one_more = best(bench.register, times=min(count // 10, 1_000), runs=1)
    for id in [id for id in bench.schedule._members if id not in bench.states]:
        bench.schedule.remove(id)
    bench.cool_everybody()
    figures += [bench.fill, bench.build, one_more, best(bench.refuse)]
    gc.unfreeze()
    return figures


def main(counts: Sequence[int]) -> None:
    print(f"plain loop: {best(plain_loop):.2f} µs")
    heads = ("pick", "+ success", "+ limit + recovery", "fill, each", "build, each", "register one more", "refusal")
    print(f"{'credentials':>12}", *(f"{head:>18}" for head in heads))
    rows = {}
    for count in counts:
        rows[count] = row(count)
        print(f"{count:>12,}", *(f"{figure:>18.2f}" for figure in rows[count]), flush=True)
    print(f"{'target':>12}", *(f"{figure:>18.2f}" for figure in TARGETS))
    for count, figures in CONTRACT.items():
        print(f"contract{count:>7,}"[-12:].rjust(12), *(f"{'-' if f is None else f:>18}" for f in figures))
    flat = [max(row[at] for row in rows.values()) / min(row[at] for row in rows.values()) for at in range(len(heads))]
    print(f"{'most / least':>12}", *(f"{ratio:>18.2f}" for ratio in flat))


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [100, 1_000, 10_000, 100_000])
