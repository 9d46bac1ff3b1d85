"""Kernels with one mistake each, on purpose: the simulation finds every one of them within few seeds.

What a mistake is found by is named, so that a law which notices nothing any more is noticed itself.
"""

import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from turnout import Sent
from turnout._affinity import Affinity
from turnout._attempts import Step, Tries
from turnout._bootstrap import StreamAttempt
from turnout._conduct import Conductor
from turnout._custody import Custody
from turnout._judge import Judge
from turnout._kernel import Kernel
from turnout._origins import Origins
from turnout._schedule import Schedule
from turnout._shift import shifted
from turnout.testing import simulate

Mutant = Callable[[pytest.MonkeyPatch], Any]
MUTANTS: dict[str, tuple[Mutant, str, int]] = {}
"""By name: what makes it, words of a law that notices it, and seeds within which one does."""


def mutant(law: str, *, within: int) -> Callable[[Mutant], Mutant]:
    def entered(make: Mutant) -> Mutant:
        MUTANTS[make.__name__.replace("_", " ")] = make, law, within
        return make

    return entered


def around(patch: pytest.MonkeyPatch, cls: type, name: str, change: Callable[..., Any]) -> None:
    """Have `change(original, *args)` called in place of a method."""
    original = getattr(cls, name)
    patch.setattr(cls, name, lambda *args, **named: change(original, *args, **named))


@mutant("which served its session, for", within=200)
def a_session_is_looked_up_in_vain(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Affinity, "find", lambda *_: None)


@mutant("which served its session, for", within=200)
def a_session_is_not_remembered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Affinity, "learn", lambda *_: None)


@mutant("(C5.11)", within=300)
def a_pin_falls_back_in_a_later_pass(patch: pytest.MonkeyPatch) -> None:
    def pick(original: Any, self: Conductor, run: Any) -> Any:
        if run.tries.passes > 1:
            run.ask = attrs.evolve(run.ask, pin=None)
        return original(self, run)

    around(patch, Conductor, "_pick", pick)


@mutant("(D1)", within=200)
def the_purse_of_an_origin_is_never_empty(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Origins, "may_fail_over", lambda *_: True)
    patch.setattr(Origins, "blamed", lambda *_: None)


@mutant("(D1)", within=200)
def tries_again_ask_no_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Origins, "may_retry", lambda *_: True)


@mutant("tries without an answer (B6)", within=200)
def an_unsafe_request_is_sent_a_third_time(patch: pytest.MonkeyPatch) -> None:
    def failed(original: Any, self: Tries, failure: Any, origin: str) -> Step:
        answered = attrs.evolve(failure, sent=Sent.ANSWERED) if failure.sent is Sent.MAYBE else failure
        return original(self, answered, origin)  # type: ignore[no-any-return]  # a method of Tries

    around(patch, Tries, "failed", failed)


async def leave_later(original: Any, self: StreamAttempt, *error: Any) -> Any:
    """Leave a stream only when two more seconds are over."""
    with trio.CancelScope(shield=True):
        await trio.sleep(2)
    return await original(self, *error)


@mutant("attempts of it are open upstream (D2)", within=200)
def a_stream_is_left_open_by_a_client_that_has_gone(patch: pytest.MonkeyPatch) -> None:
    leave = StreamAttempt.__aexit__

    async def later(self: StreamAttempt, *_: Any) -> None:
        trio.lowlevel.spawn_system_task(leave_later, leave, self, None, None, None)

    patch.setattr(StreamAttempt, "__aexit__", later)


@mutant("failures of origins", within=200)
def failures_of_origins_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    def blame(original: Any, self: Tries, origin: str) -> Step:
        original(self, origin)
        return Step.WALK

    around(patch, Tries, "_blame_origin", blame)


@mutant("passes of", within=200)
def one_pass_more_is_made(patch: pytest.MonkeyPatch) -> None:
    around(patch, Tries, "may_begin_pass", lambda original, self, _=None: original(self, self._retry.passes))


@mutant("credentials", within=200)
def the_number_of_credentials_is_no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tries, "may_call_another", lambda _: True)


@mutant("recorded, not due", within=40)
def an_outcome_is_recorded_twice(patch: pytest.MonkeyPatch) -> None:
    def record(original: Any, self: Judge, *args: Any, **named: Any) -> None:
        original(self, *args, **named)
        original(self, *args, **named)

    around(patch, Judge, "record", record)


@mutant("is called while it is blocked", within=40)
def the_schedule_is_not_told_of_a_block(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Schedule, "update", lambda *_: None)


@mutant("and the schedule says", within=200)
def a_block_never_ends(patch: pytest.MonkeyPatch) -> None:
    """As a clock that the schedule reads stands still."""
    around(
        patch,
        Schedule,
        "ready_count",
        lambda original, self, provider, base, now: original(self, provider, base, now - 60),
    )


@mutant("(K1)", within=200)
def cooldowns_do_not_follow_a_jump(patch: pytest.MonkeyPatch) -> None:
    def shift(_: Any, self: Custody, by: float) -> None:
        self.moved += by
        for id, state in list(self.states.items()):
            self.settle(id, shifted(state, by / 2), None)

    around(patch, Custody, "shift", shift)


@mutant("tasks are left behind", within=3)
def a_task_is_left(patch: pytest.MonkeyPatch) -> None:
    def start(original: Any, self: Kernel, *rest: Any) -> Any:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)
        return original(self, *rest)

    around(patch, Kernel, "_start", start)


@mutant("after its first payload (D3)", within=200)
def a_stream_goes_on_with_somebody_else(patch: pytest.MonkeyPatch) -> None:
    """As one that is opened anew when it fails after its first payload."""

    again: dict[int, Any] = {}

    async def read_on(original: Any, self: StreamAttempt) -> Any:
        try:
            return await original(self)
        except Exception:
            if self.failure is not None:
                async with self._again():  # type: ignore[attr-defined]  # given below
                    pass
            raise

    def remembered(original: Any, self: StreamAttempt, provider: Any, call: Any, *rest: Any, **named: Any) -> None:
        original(self, provider, call, *rest, **named)
        again[id(self)] = lambda: provider.stream(call)

    patch.setattr(StreamAttempt, "_again", lambda self: again[id(self)](), raising=False)
    around(patch, StreamAttempt, "__init__", remembered)
    around(patch, StreamAttempt, "next_chunk", read_on)


@mutant("(D4)", within=200)
def a_deadline_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    around(
        patch,
        Conductor,
        "_begin",
        lambda original, self, ask, **named: original(self, attrs.evolve(ask, deadline=None), **named),
    )


def found(law: str, seed: int) -> bool:
    return any(law in problem for problem in simulate(seed).problems)


RARE = {
    "a session is looked up in vain",
    "the number of credentials is no limit",
    "cooldowns do not follow a jump",
    "a stream goes on with somebody else",
}
"""Found after some fifty seeds; another mistake of the same kind is found sooner, or another test knows of it."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in RARE else name for name in MUTANTS]
)
def test_a_mistake_in_the_kernel_is_found_within_few_seeds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """J6: the judge is worth something only as long as it notices."""
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)  # faults are what it is about
    make, law, within = MUTANTS[name]
    make(monkeypatch)

    assert any(found(law, seed) for seed in range(within))
