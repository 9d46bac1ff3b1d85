"""One call of a simulation, as it is seen by whoever stands at the upstreams."""

import math
from collections import Counter

import attrs
import trio

from turnout._attempts import Retry
from turnout._generation import Generation
from turnout._names import parse
from turnout._values import Ask, Call
from turnout._verdicts import Blame, Done, Failure, Sent


@attrs.define(eq=False)
class Attempt:
    """One call that reached the upstream.

    Attributes:
        again: a try at an origin that has failed in the same call.
        ends: what the kernel must record; None while nothing is certain, or when it ended in a bug.
        cut: the kernel cancelled it; after a payload that may be a limit of its own or the client's leaving.
        answered: the upstream has begun to answer.
        met: it failed at the very moment at which it was cancelled, so that nobody outside can tell which one counts.
    """

    ask: str
    credential: str
    origin: str
    again: bool
    ends: Done | Failure | None = None
    cut: bool = False
    answered: bool = False
    met: bool = False

    def end(self, verdict: Done | Failure | None) -> None:
        """This is how it ends, as far as is known."""
        self.ends = verdict
        self.met = isinstance(verdict, Failure) and trio.current_effective_deadline() == -math.inf

    @property
    def blames_origin(self) -> bool:
        """Whether it ended in a way that speaks against the origin; a limit of the kernel's own does."""
        if self.cut and self.ends is None:
            return True
        return isinstance(self.ends, Failure) and self.ends.blame is Blame.ORIGIN


class Case:
    """What one call has done so far.

    Attributes:
        began: when, on Trio's clock.
        retry: the budgets it has.
        hedged: another attempt of it may be under way at the same time.
        session: (base name, session) whose credential it prefers and will be remembered for; None without affinity.
        begun: attempts that have begun.
        open: attempts that are under way.
        committed: the kernel got a payload.
        unsafe: attempts that were sent and not answered.
        failed_at: origin -> attempts that spoke against it.
        last: (credential, model) of the latest attempt.
    """

    def __init__(self, ask: Ask, generation: Generation) -> None:
        self.ask = ask
        self.began = trio.current_time()
        self.retry: Retry = generation.retry
        self.hedged = generation.hedge is not None
        self.session = (parse(ask.model).key, ask.affinity) if ask.affinity and generation.affinity else None
        self.begun = self.open = self.unsafe = 0
        self.committed = False
        self.failed_at: Counter[str] = Counter()
        self.last = ("", "")

    def is_next_member(self, call: Call) -> bool:
        """Whether this is the next model of a pool on the same credential, for which no budget is asked (C7.7)."""
        return call.credential.id == self.last[0] and call.model != self.last[1]

    def begin(self, call: Call, *, again: bool) -> Attempt:
        """One more attempt begins."""
        self.begun += 1
        self.open += 1
        self.last = (call.credential.id, call.model)
        return Attempt(self.ask.id, call.credential.id, call.credential.origin, again)

    def over(self, attempt: Attempt) -> None:
        """One of them is over."""
        self.open -= 1
        self.failed_at[attempt.origin] += attempt.blames_origin
        if isinstance(attempt.ends, Failure):
            self.unsafe += attempt.ends.sent is Sent.MAYBE
        elif attempt.cut and not attempt.answered and not self.hedged:
            self.unsafe += 1  # if this call goes on, it was a limit that cut it off
