"""The seeded simulation: many seeds hold, the same seed plays the same, and its judge notices what is broken."""

import os
import subprocess
import sys
from collections import Counter
from random import Random

import attrs
import pytest
import trio
from trio._core import _run as scheduler

from turnout import (
    Ask,
    Attempt,
    Credential,
    CredentialState,
    Decision,
    Done,
    Failed,
    InvalidRequest,
    Metadata,
    ModelState,
    Operation,
    Outcome,
    Sent,
    Transient,
    Verdict,
)
from turnout._attempts import Retry
from turnout._values import CLEAN
from turnout.testing import ScriptedProvider, scripted_kernel, simulate
from turnout.testing._case import Attempt as Called
from turnout.testing._decided import overdrawn
from turnout.testing._determinism import HOOKS, SkippingClock, Stuck, run_deterministically
from turnout.testing._faulty_store import FaultyStore
from turnout.testing._over_restarts import Left
from turnout.testing._referee import Referee
from turnout.testing._simulation import _World, simulate_all
from turnout.testing._tally import miscounted

SEEDS = int(os.environ.get("TURNOUT_SEEDS", "2000"))
"""`.ci/run` says how many it plays; a nightly run may play a million."""

PARTS = 2
"""So that two who test at the same time share the seeds; each part is a process, which takes a second to begin."""

FIRST = int(os.environ.get("TURNOUT_FIRST_SEED", "0"))


def played(first: int, count: int, *options: str) -> subprocess.Popen[str]:
    """A process of its own that plays these seeds; the order of sets is fixed in it."""
    command = [sys.executable, "-m", "turnout.testing", str(first), str(count), *options]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("part", range(PARTS))
def test_everything_holds_in_every_seed(part: int) -> None:
    """J6, D1, D3, D4, E4, E10, H3, K1, O18: no pick of the blocked, nobody benched past its time, no budget exceeded.

    Cooldowns keep their length when the wall clock jumps, and are back with every token when a kernel is opened again.
    """
    first, end = (FIRST + SEEDS * number // PARTS for number in (part, part + 1))
    process = played(first, end - first)
    told = process.communicate()[0]
    assert process.returncode == 0, told
    assert f"{end - first} seeds, 0 failed" in told


def test_the_same_seed_plays_the_same_to_the_line() -> None:
    """J7: in another process as well, or a failing seed could not be looked at."""
    one, two = played(0, 100, "--digests"), played(0, 100, "--digests")
    first, second = one.communicate()[0], two.communicate()[0]
    assert first == second
    digests = {line.split()[1] for line in first.splitlines()[:-1]}
    assert len(digests) > 90


def test_seeds_that_share_one_run_play_as_each_does_alone() -> None:
    """J7: or a seed that failed among others would hold when it is looked at."""
    assert simulate_all(range(20)) == [simulate(seed) for seed in range(20)]


def test_a_seed_that_breaks_the_run_fails_and_the_others_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    play = _World.play

    async def broken(world: _World, seed: int) -> None:
        if seed == 1:
            world._begin(seed)
            raise trio.TrioInternalError("nothing can end it")
        await play(world, seed)

    monkeypatch.setattr(_World, "play", broken)
    runs = simulate_all(range(3))

    assert [(run.seed, bool(run.problems)) for run in runs] == [(0, False), (1, True), (2, False)]
    assert runs[1].problems == ("the kernel died: TrioInternalError('nothing can end it')",)


def test_one_seed_prints_its_trace() -> None:
    process = played(7, 1)
    told = process.communicate()[0]
    assert process.returncode == 0
    assert "call " in told
    assert told.endswith("all held\n")


def test_a_simulation_makes_every_kind_of_trouble() -> None:
    """It would prove nothing if it went well."""
    lines: Counter[str] = Counter()
    for seed in range(60):
        for line in simulate(seed).trace:
            _, what, *words = line.split()
            lines[what if what != "over" else f"over {words[2]}"] += 1
    for what in (
        "refresh",
        "reload",
        "disable",
        "remove",
        "update",
        "register",
        "reset",
        "jump",
        "restart",
        "over Done",
        "over Transient",
    ):
        assert lines[what], (what, lines)


# --- the private hooks of Trio ---------------------------------------------------------------------------------------


def test_trio_still_has_the_hooks_that_make_its_order_follow_a_seed() -> None:
    """Pitfalls, deterministic simulation: private names; when they go, this is where it is noticed."""
    assert [name for name in HOOKS if not hasattr(scheduler, name)] == []


def order(seed: int) -> tuple[int, ...]:
    came: list[int] = []

    async def step(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        came.append(number)

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(step, number)

    run_deterministically(program, seed)
    return tuple(came)


def test_the_order_of_steps_follows_the_seed_and_nothing_else() -> None:
    assert all(order(seed) == order(seed) for seed in range(20))
    assert len({order(seed) for seed in range(50)}) == 50


def test_the_hooks_are_given_back() -> None:
    generator = scheduler._r
    before = generator.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    order(1)
    assert (generator.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING) == before


# --- the clock that skips --------------------------------------------------------------------------------------------


def log_of_sleepers(seed: int, clock: SkippingClock | None) -> tuple[tuple[float, int], ...]:
    came: list[tuple[float, int]] = []

    async def sleeper(number: int) -> None:
        for seconds in (0, number % 3, 0.5, 0):
            with trio.move_on_after(1.5):
                await trio.sleep(seconds)
            came.append((trio.current_time(), number))

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(sleeper, number)

    run_deterministically(program, seed, clock=clock)
    start = came[0][0]
    return tuple((time - start, number) for time, number in came)


def test_the_clock_that_skips_gives_the_same_order_and_times_as_the_mock_clock_of_trio() -> None:
    for seed in range(30):
        assert log_of_sleepers(seed, SkippingClock()) == log_of_sleepers(seed, None)


def test_whoever_sleeps_by_that_clock_wakes_when_trio_would_wake_them_and_can_be_cancelled() -> None:
    clock = SkippingClock()
    woke: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float, patience: float) -> None:
        with trio.move_on_after(patience) as scope:
            await clock.sleep(seconds)
        woke.append((name + " was cancelled" * scope.cancelled_caught, trio.current_time()))

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, "late", 5, 9)
            nursery.start_soon(sleeper, "early", 2, 9)
            nursery.start_soon(sleeper, "impatient", 4, 3)
            await trio.sleep(6)
            await clock.sleep(0)
            woke.append(("main", trio.current_time()))

    run_deterministically(program, 0, clock=clock)
    assert woke == [("early", 2), ("impatient was cancelled", 3), ("late", 5), ("main", 6)]


def test_whoever_waits_for_all_others_to_be_blocked_is_woken_before_time_passes() -> None:
    clock = SkippingClock()
    came: list[str] = []

    async def step() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        came.append("stepped")
        await trio.sleep(1)
        came.append("slept")

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step)
            await clock.wait_blocked()
            came.append(f"blocked at {trio.current_time()}")

    run_deterministically(program, 0, clock=clock)
    assert came == ["stepped", "blocked at 0.0", "slept"]


def test_a_run_in_which_nobody_will_ever_wake_ends() -> None:
    """It would take a nightly run with it; a simulation tells its seed."""
    with pytest.raises(Stuck):
        run_deterministically(trio.sleep_forever, 0, clock=SkippingClock())


# --- the judge -------------------------------------------------------------------------------------------------------

RETRY = Retry(passes=2, max_credentials=2, upstream_failures=2, retry_unsafe=0)


def decision(*attempts: tuple[str, Verdict], passes: int = 1) -> Decision:
    lines = tuple(
        Attempt(credential=id, provider="p", model="m", began=0, ended=0, verdict=verdict) for id, verdict in attempts
    )
    return Decision(
        id="x",
        model="m",
        operation=Operation.GENERATE,
        stream=False,
        began=0,
        took=0,
        passes=passes,
        waited=0,
        attempts=lines,
    )


SOUND = decision(("a", Failed()), ("b", Done()))


@pytest.mark.parametrize(
    "broken",
    [
        decision(passes=3),
        decision(("a", Failed()), ("a", Done())),
        decision(("a", Failed()), ("b", Failed()), ("c", Done())),
        decision(("a", Transient()), ("b", Transient()), ("c", Transient()), passes=2),
        decision(("a", Failed(sent=Sent.MAYBE)), ("b", Failed(sent=Sent.MAYBE))),
        decision(("a", InvalidRequest()), ("b", Done())),
    ],
    ids=["passes", "twice in a pass", "credentials", "origins", "unsafe", "the client's mistake"],
)
def test_the_judge_notices_a_broken_budget(broken: Decision) -> None:
    assert list(overdrawn(SOUND, RETRY, hedged=False)) == []
    assert list(overdrawn(broken, RETRY, hedged=False))


def outcome(verdict: Verdict) -> Outcome:
    return Outcome(credential="a", provider="p", model="m", verdict=verdict)


NUMBERED = Transient(message="#1")


@pytest.mark.parametrize(
    "told",
    [(), (Done(), NUMBERED, NUMBERED), (Done(),), (Done(), Done(), NUMBERED), (NUMBERED,)],
    ids=["nothing", "a failure twice", "no failure", "a success twice", "no success"],
)
def test_the_judge_notices_what_is_not_recorded_exactly_once(told: tuple[Verdict, ...]) -> None:
    """C10, C9.4.2: an attempt is recorded once."""
    ended = [Called("x", "a", "o", again=False, ends=ends) for ends in (Done(), NUMBERED, None)]
    assert list(miscounted(ended, [outcome(Done()), outcome(NUMBERED)])) == []
    assert list(miscounted(ended, [outcome(verdict) for verdict in told]))


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_failure_that_meets_the_cancellation_of_its_call_is_recorded_once_or_never(times: int) -> None:
    """C8.3.5, C9.3: which of the two comes first nobody outside can tell."""

    async def judge() -> None:
        attempts = []
        for number, cancelled in enumerate((True, False)):
            attempt = Called("x", "a", "o", again=False)
            attempts.append(attempt)
            with trio.CancelScope() as scope:  # noqa: ASYNC100 # asked whether it is cancelled
                if cancelled:
                    scope.cancel()
                attempt.end(Transient(message=f"#{number}"))
        met, failed = (outcome(Transient(message=f"#{number}")) for number in (0, 1))
        assert bool(list(miscounted(attempts, [met] * times + [failed]))) is (times == 2)
        (problem,) = miscounted(attempts, [met] * times)
        assert "due, not recorded: Counter({('a', '#1'): 1})" in problem

    run_deterministically(judge, 0)


CREDENTIAL = Credential(id="t", provider="p", metadata=Metadata({"generation": 2, "expires_at": 9e9}))
COOLING = CredentialState(models={"m": ModelState(unavailable=True, next_retry_after=2_000_000_000.0)})
SOUND_STORE = FaultyStore(Random(0), 0.0)  # noqa: S311 # nothing of it is left to chance
KERNEL = """
[providers.p]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }]
"""


@pytest.mark.parametrize("before", [(CREDENTIAL, CLEAN), (attrs.evolve(CREDENTIAL, id="a", metadata=None), COOLING)])
def test_the_judge_notices_what_a_restart_loses(before: tuple[Credential, CredentialState]) -> None:
    """O18: a token that is not back, and a cooldown that is not."""
    referee = Referee()
    credential, state = before

    async def judge() -> None:
        async with scripted_kernel(KERNEL, {"p": ScriptedProvider()}) as kernel:
            Left.of(kernel).must_be_back(kernel, referee, SOUND_STORE)
            assert referee.problems == []
            left = Left({credential.id: credential}, {credential.id: state})
            left.must_be_back(kernel, referee, SOUND_STORE)

    run_deterministically(judge, 0)
    assert len(referee.problems) == 1


def test_the_judge_notices_a_cooldown_that_the_wall_clock_has_moved() -> None:
    """K1: a block that ends at another moment than it was to end."""
    referee = Referee()

    async def judge() -> None:
        async with scripted_kernel(KERNEL, {"p": ScriptedProvider()}) as kernel:
            referee.restarted(kernel)
            for later in (0.0, 3600.0):
                assert referee.problems == []
                entry = ModelState(unavailable=True, next_retry_after=kernel._clock.now() + 60 + later, updated_at=1.0)
                kernel._custody.settle("a", CredentialState(models={"m": entry}), None)
                referee.look()

    run_deterministically(judge, 0)
    assert len(referee.problems) == 1
    assert "K1" in referee.problems[0]


def test_the_judge_notices_a_call_that_outlasts_its_deadline() -> None:
    referee = Referee()

    async def judge() -> None:
        await trio.sleep(10)
        referee.answered(Ask(model="m", id="x"), 0.0, 9.95, None, gone=False)
        assert referee.problems == []
        referee.answered(Ask(model="m", id="x"), 0.0, 9.8, None, gone=False)

    run_deterministically(judge, 0)
    assert len(referee.problems) == 1


def test_a_failing_seed_says_how_to_see_it_again() -> None:
    """J6: each failure prints its seed."""
    run = attrs.evolve(simulate(3), problems=("it broke",))
    assert "PYTHONHASHSEED=0 python -m turnout.testing 3" in str(run)
    assert "it broke" in str(run)
