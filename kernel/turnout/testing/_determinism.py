"""Run a Trio program so that the same seed gives the same order of steps.

Trio shuffles the tasks that are ready, with a generator of its own. Seeding that generator, and switching on the sort
that it does under Hypothesis, makes the order a function of the seed. Both are private names of Trio: `HOOKS` lists
them, and a test fails loudly on a Trio that has them no more.
"""
# ruff: noqa: SLF001  # that is what this is about

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import trio
import trio.testing
from trio._core import _run as scheduler

T = TypeVar("T")

HOOKS = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING")
"""Trio's own names that this leans on (trio 0.35)."""


def run_deterministically(
    program: Callable[[], Awaitable[T]], seed: int, instruments: Sequence[trio.abc.Instrument] = ()
) -> T:
    """`trio.run` on a mock clock that jumps over every wait; the order of steps follows from `seed` alone.

    Only programs that wait for nothing but Trio are deterministic: no sockets, no threads, no processes. What iterates
    over sets of texts depends on `PYTHONHASHSEED` as well.
    """
    with _seeded(seed):
        return trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0), instruments=instruments)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    hooks: Any = scheduler
    for name in HOOKS:
        if not hasattr(hooks, name):
            raise RuntimeError(f"this Trio has no trio._core._run.{name}: its order of steps cannot be seeded")
    generator: random.Random = hooks._r
    before, sorted_before = generator.getstate(), hooks._ALLOW_DETERMINISTIC_SCHEDULING
    generator.seed(seed)
    hooks._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        generator.setstate(before)
        hooks._ALLOW_DETERMINISTIC_SCHEDULING = sorted_before
