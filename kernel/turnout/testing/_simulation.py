"""A seeded simulation of the whole kernel: clients, an operator, and faults everywhere, on a clock that takes no time.

    run = simulate(4711)
    assert not run.problems, run

The same seed gives the same run, to the line of its trace. What must hold is in `_referee`, what goes wrong in
`_faults`; here is who does what.
"""
# ruff: noqa: SLF001  # it looks into the kernel's rooms to know when everybody must serve again

import math
from collections.abc import Sequence
from random import Random

import attrs
import trio

from turnout._kernel import Kernel, open_kernel
from turnout._observers import GATHER
from turnout._plugins import Plugins
from turnout._values import Ask, Credential
from turnout.errors import TurnoutError
from turnout.testing._client import HABITS, Client
from turnout.testing._determinism import SkippingClock, begin_anew, run_deterministically
from turnout.testing._faults import FaultyRenewals
from turnout.testing._faulty_store import FaultyStore
from turnout.testing._house import scripted_plugins
from turnout.testing._operator import Operator
from turnout.testing._over_restarts import LONGEST_BLOCK, Left
from turnout.testing._readiness import is_ready
from turnout.testing._referee import Referee
from turnout.testing._stage import Ear
from turnout.testing._variants import VARIANTS, variant

RESTARTS = 0.15
"""Share of the simulations in which the kernel is closed and opened again on the same store."""

ENDS = (math.inf, 0.1, 2.0, 30.0)
"""Seconds after which a kernel that is opened again is closed, with calls and changes under way; infinity for none."""

PATIENT = 0.02
"""Share of the simulations that wait until the last block is over."""


@attrs.frozen(kw_only=True)
class Simulated:
    """How a simulation went.

    Attributes:
        seed: `simulate` gives the same again for the same one.
        problems: what did not hold; empty is good.
        calls: that clients made.
        attempts: that reached an upstream.
        digest: of the trace; equal for equal runs.
        trace: what happened, line by line, with the seconds since the start.
    """

    seed: int
    problems: tuple[str, ...]
    calls: int
    attempts: int
    digest: str
    trace: tuple[str, ...] = attrs.field(repr=False)

    def __str__(self) -> str:
        again = f"PYTHONHASHSEED=0 python -m turnout.testing {self.seed}"
        return "\n".join((f"seed {self.seed}; to see it again: {again}", *self.problems))


def simulate(seed: int) -> Simulated:
    """Play one seed. Takes some milliseconds; must not be called inside of a Trio run.

    Sets of texts are iterated in an order that `PYTHONHASHSEED` decides: fix it where digests are compared.
    """
    return simulate_all([seed])[0]


def simulate_all(seeds: Sequence[int]) -> list[Simulated]:
    """Play seeds one after the other, each as if it were alone; in one run of Trio, which takes long to begin."""
    played: list[Simulated] = []

    async def play() -> None:
        for seed in seeds[len(played) :]:
            await world.play(seed)
            played.append(world.result())

    while len(played) < len(seeds):
        world = _World(SkippingClock())
        try:
            run_deterministically(play, 0, clock=world.clock)
        except Exception as error:  # noqa: BLE001 # one that even Trio cannot go on after
            world.died(error)
            played.append(world.result())
    return played


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _World:
    """Everything that one seed makes, one seed after the other."""

    def __init__(self, clock: SkippingClock) -> None:
        self.clock = clock

    def _begin(self, seed: int) -> None:
        self._seed = seed
        self.chance = Random(seed)  # noqa: S311 # chance that can be replayed
        self.referee = Referee()
        share = self.chance.choice((0.0, 0.3, 0.6, 0.9))
        self._upstreams = FaultyRenewals(self.chance, self.referee, share, self.clock.sleep)
        self._store = FaultyStore(self.chance, self.chance.choice((0.0, 0.0, 0.2)))
        self._ear = Ear()
        self._habits = self.chance.choice(HABITS)
        self._kernel: Kernel
        self._left: Left | None = None

    async def play(self, seed: int) -> None:
        """Play this seed to its end, whatever that is."""
        self._begin(seed)
        before = trio.lowlevel.current_statistics().tasks_living
        begin_anew(seed, self.clock)
        try:
            await self.clock.run(self._live_and_die)
        except Exception as error:  # noqa: BLE001 # a kernel that dies is what we look for
            self.died(error)
        else:
            left = trio.lowlevel.current_statistics().tasks_living - before
            self.referee.law(not left, "%s tasks are left behind", left)

    def died(self, error: Exception) -> None:
        """The kernel did not survive."""
        self.referee.problems.append(f"the kernel died: {_innermost(error)!r}")

    def result(self) -> Simulated:
        """How the seed went that was played last."""
        referee = self.referee
        return Simulated(
            seed=self._seed,
            problems=tuple(referee.problems),
            calls=referee.calls,
            attempts=len(referee.attempts),
            digest=referee.digest(),
            trace=tuple(referee.trace),
        )

    async def _live_and_die(self) -> None:
        """Open a kernel, perhaps twice, let everybody act, and judge."""
        plugins = scripted_plugins(
            dict.fromkeys(("p", "q"), self._upstreams),  # type: ignore[arg-type]  # as good as scripted
            store=self._store,
            observers={"ear": self._ear},
        )
        self.referee.store = self._store
        if self.chance.random() < RESTARTS:
            await self._live(plugins, "1")
            await self.clock.sleep(self.chance.choice((0, 5, 600)))
        await self._live(plugins, "2", last=True)

    async def _live(self, plugins: Plugins, name: str, *, last: bool = False) -> None:
        """A kernel from its opening to its closing."""
        config = variant(self.chance.randrange(VARIANTS))
        self.referee.opening = self._left is not None
        async with open_kernel(config, plugins=plugins, wall=self.referee.wall, draw=self.chance.random) as kernel:
            self._kernel = kernel
            await self._take_over(kernel)
            operator = Operator(self.chance, self.referee, kernel, self.clock.sleep)
            for number in range(self.chance.randint(0, 2)):
                await operator.register(number)
            ends = math.inf if last else self.chance.choice(ENDS)
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = trio.current_time() + ends
                client = Client(self.chance, self.referee, kernel, self.clock.sleep, self._habits)
                for number in range(self.chance.randint(1, 5)):
                    nursery.start_soon(client.act, f"{name}.{number}")
                nursery.start_soon(operator.act)
            await self._come_to_rest()
            if last:
                await self._all_must_serve()
        self._left = Left.of(kernel)  # now that it is closed: a renewal under way was let finish, and may end a block

    async def _take_over(self, kernel: Kernel) -> None:
        """Nothing is lost by a restart, and no storm of refreshes follows it."""
        self.referee.restarted(kernel)
        if self._left is not None:
            self.referee.note("restart")
            self._left.must_be_back(kernel, self.referee, self._store)
            await self.clock.wait_blocked()
            self.referee.opening = False

    # --- the end -----------------------------------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Everybody is gone, and nothing is left over."""
        referee = self.referee
        referee.at_rest()
        await self.clock.sleep(GATHER)
        await self.clock.wait_blocked()
        referee.recorded(self._ear.outcomes())
        for decision in self._ear.decisions():
            referee.decided(decision)
        referee.law(not self._upstreams.open_streams, "an upstream's stream is never closed")

    async def _all_must_serve(self) -> None:
        """In the end everybody serves again."""
        referee = self.referee
        self._upstreams.share = self._store.share = 0.0
        self._upstreams.slow = False
        await self._wait_for_recoveries()
        referee.look()
        for credential in self._kernel.credentials.list():
            await self._must_serve(credential)
        referee.at_rest()

    async def _wait_for_recoveries(self) -> None:
        """Wait a while; now and then until the last block is over, which may take a day."""
        kernel = self._kernel
        now = kernel._clock.now()
        origins = [one.state.until for one in kernel._origins._ill.values()]
        models = [one.next_retry_after for state in kernel._custody.states.values() for one in state.models.values()]
        last = max((time for time in (*origins, *models) if time is not None), default=now)
        self.referee.law(last <= now + LONGEST_BLOCK, "somebody is blocked for more than a day (design 16)")
        await self.clock.sleep(max(0.0, last - now) if self.chance.random() < PATIENT else 60)

    async def _must_serve(self, credential: Credential) -> None:
        """No credential stays benched past its time (design 10)."""
        kernel = self._kernel
        await kernel._refresh.wait_refreshed(credential.id)  # it may have begun while upstreams still failed
        if kernel._origins.skipped((), kernel._clock.now()):
            return
        for base, names in sorted(kernel._custody._serves[credential.id].items())[:1]:
            state = kernel.credentials.state(credential.id)
            if not is_ready(credential, state, names, kernel._clock.now()):
                return
            try:
                await kernel.execute(Ask(id=f"last-{credential.id}", model=base, pin=credential.id))
            except TurnoutError as error:
                self.referee.law(False, f"{credential.id} is benched past its time: {error!r}")
