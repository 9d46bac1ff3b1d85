"""What one call knows about itself while it is conducted: never shared, gone when the call is over."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from turnout._attempts import Tries
from turnout._generation import Generation
from turnout._lasting import LastingScope
from turnout._names import ModelName
from turnout._quick import quick
from turnout._values import Ask, Attempt, Credential, CredentialState, Decision, Operation
from turnout._verdicts import CountUnsupported, Failed, Inexpressible, Sent, Verdict
from turnout.errors import TurnoutError, UpstreamFailed

NOBODY: Final[frozenset[str]] = frozenset()

ENDED: Final = Failed(message="the call ended first", sent=Sent.MAYBE)
"""How an attempt stands in the decision record that was under way when its call ended.

By the call's deadline, in a drain, by a plugin's mistake, or because its caller left.
"""

_Attempt, _Decision = quick(Attempt), quick(Decision)


class Taken(NamedTuple):
    """A failure that may be taken back, because the origin was to blame: the state before it.

    `moved` is by how much the clock had jumped until then (`Custody.moved`).
    """

    credential: str
    model: str
    before: CredentialState
    moved: float


class Run:
    """One call on its way.

    Attributes:
        began: when, on Trio's clock.
        total: seconds that the whole call may take.
        deadline: when they are over, on Trio's clock.
        last: the last upstream failure; it is the call's answer when nobody is left.
        unanswered: id of who was sent the request last and did not answer, until that has been told.
        under: the lasting scope of the task that calls, if it has one.
        unsaid: that an upstream cannot say this request; the answer when nobody else could be asked.
        kept: ids that failed and may be tried again at once: the last ones left (design 16), or renewed meanwhile.
        refreshing: ids whose refresh this call has brought about.
        blamed: origin -> failures of this call that its credentials may share.
    """

    __slots__ = (
        "_cut",
        "affinity",
        "ask",
        "attempts",
        "began",
        "blamed",
        "deadline",
        "generation",
        "id",
        "kept",
        "last",
        "name",
        "operation",
        "providers",
        "refreshing",
        "served_by",
        "stream",
        "total",
        "tries",
        "unanswered",
        "under",
        "unsaid",
        "upstream_model",
        "waited",
    )

    def __init__(
        self,
        ask: Ask,
        name: ModelName,
        generation: Generation,
        *,
        id: str,
        stream: bool,
        began: float,
    ) -> None:
        self.ask = ask
        self.id = id
        self.name = name
        self.providers: Sequence[str] = ()
        self.generation = generation
        self.operation: Operation = ask.operation
        self.stream = stream
        self.began = began
        total = generation.limits.total
        self.total = total if ask.deadline is None else min(ask.deadline, total)
        self.deadline = self.began + self.total
        self.tries = Tries(generation.retry)
        self.affinity: bytes | None = None
        self.attempts: list[Attempt] = []
        self._cut: dict[tuple[str, str], int] = {}  # lines of those that were told while they were under way
        self.blamed: dict[str, list[Taken]] = {}
        self.kept = NOBODY
        self.refreshing = NOBODY
        self.last: UpstreamFailed | None = None
        self.unanswered = ""
        self.under: LastingScope | None = None
        self.unsaid: UpstreamFailed | None = None
        self.served_by = ""
        self.upstream_model = ""
        self.waited = 0.0

    def noted(self, failure: UpstreamFailed, provider: str) -> bool:
        """Keep a failure that may become the call's answer; gives whether it speaks for the whole provider.

        That an upstream cannot say or count a request is the call's answer only when there is no other.
        """
        if isinstance(failure.verdict, Inexpressible):
            self.providers = [key for key in self.providers if key != provider]
            self.unsaid = failure
            return True
        if self.last is None or not isinstance(failure.verdict, CountUnsupported):
            self.last = failure
        return False

    def note(self, credential: Credential, model: str, began: float, now: float, verdict: Verdict) -> float:
        """Add a line to the decision record; gives the seconds that the attempt took. Times are on Trio's clock.

        How an attempt ended that was cut off in the same moment takes the place of that: each is told once.
        """
        attempt = _Attempt(
            credential=credential.id,
            provider=credential.provider,
            model=model,
            began=began - self.began,
            ended=now - self.began,
            verdict=verdict,
        )
        line = self._cut.pop((credential.id, model), None) if self._cut else None
        if line is None:
            self.attempts.append(attempt)
        else:
            self.attempts[line] = attempt
        return now - began

    def note_cut(self, credential: Credential, model: str, began: float, now: float, verdict: Verdict) -> float:
        """The same for an attempt that is under way still, and is cut off now."""
        took = self.note(credential, model, began, now, verdict)
        self._cut[credential.id, model] = len(self.attempts) - 1
        return took

    def note_ended(self, credential: Credential, model: str, began: float, now: float) -> None:
        """The same for an attempt that the end of its call has ended, unless it was told when it was cut off."""
        if (credential.id, model) not in self._cut:
            self.note(credential, model, began, now, ENDED)

    def decision(
        self, error: BaseException | None, took: float, now: float, skipped: tuple[tuple[str, str], ...]
    ) -> Decision:
        """The record of this call as it stands, after so many seconds; `now` in POSIX seconds."""
        code = "" if error is None else error.code if isinstance(error, TurnoutError) else "cancelled"
        return _Decision(
            id=self.id,
            model=self.ask.model,
            operation=self.operation,
            stream=self.stream,
            began=now - took,
            took=took,
            passes=self.tries.passes,
            waited=self.waited,
            attempts=tuple(self.attempts),
            skipped=skipped,
            served_by=self.served_by,
            upstream_model=self.upstream_model,
            error=code,
            client=self.ask.client,
        )
