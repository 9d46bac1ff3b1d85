"""The budgets of a call, held against the record that the kernel gives of it (design 8, D1)."""

from collections import Counter
from collections.abc import Iterator

from turnout._attempts import Retry
from turnout._hedge import LOST
from turnout._values import Decision
from turnout._verdicts import Blame, Failure, InvalidRequest, Sent


def overdrawn(decision: Decision, retry: Retry, *, hedged: bool) -> Iterator[str]:
    """What a call did beyond its budgets; `hedged`: one more attempt may be under way when a budget is used up."""
    id, beside = decision.id, hedged
    attempts = [one for one in decision.attempts if one.verdict is not LOST]
    failures = [one.verdict for one in attempts if isinstance(one.verdict, Failure)]
    if decision.passes > retry.passes:
        yield f"{id} took {decision.passes} passes of {retry.passes}"
    most = Counter((one.credential, one.model) for one in decision.attempts).most_common(1)
    if most and most[0][1] > decision.passes:
        yield f"{id} called {most} in {decision.passes} passes"
    called = len({one.credential for one in attempts})
    if retry.max_credentials and called > retry.max_credentials * decision.passes:
        yield f"{id} called {called} credentials"
    blamed = sum(one.blame is Blame.ORIGIN for one in failures)
    if retry.upstream_failures and blamed > retry.upstream_failures + beside:
        yield f"{id} met {blamed} failures of origins"
    unsafe = sum(one.sent is Sent.MAYBE for one in failures)
    if unsafe > retry.retry_unsafe + 1 + beside:
        yield f"{id} was sent {unsafe} times without an answer"
    if any(isinstance(one.verdict, InvalidRequest) for one in attempts[:-1]):
        yield f"{id} was tried again after the client's own mistake (C6.3.4)"
