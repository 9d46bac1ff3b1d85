"""One line when a credential begins to rest for what somebody may have to mend: refused, unpaid or forbidden.

Once per rest and model, however many calls meet it; not for rate limits and the like, which pass by themselves.
"""

from datetime import UTC, datetime
from logging import getLogger

from turnout._readings import ident, printable
from turnout._values import Credential, CredentialState, ModelState, Outcome
from turnout._verdicts import PaymentRequired, Unauthorized

log = getLogger("turnout.rests")


def log_rest(
    credential: Credential,
    outcome: Outcome,
    *,
    before: CredentialState,
    after: CredentialState,
    now: float,
    renewable: bool,
) -> None:
    """Write the line if such an outcome has begun a rest; `before` and `after` are the states around it.

    `renewable` says that the credential can be renewed. What the upstream said is left out: it may quote the key.
    """
    verdict, model = outcome.verdict, outcome.model
    if not isinstance(verdict, Unauthorized | PaymentRequired):
        return
    earlier, entry = _entry(before, model), _entry(after, model)
    if entry is None or entry.next_retry_after is None or _rests(earlier, verdict.code, now):
        return
    until = datetime.fromtimestamp(entry.next_retry_after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cure = ""
    if isinstance(verdict, Unauthorized):
        cure = " or until it is renewed" if renewable else " or until it has another key"
    which = f"model {printable(model)}" if model else "every model"
    log.warning("%s rests until %s%s, for %s: %s", ident(credential), until, cure, which, verdict.code)


def _entry(state: CredentialState, model: str) -> ModelState | CredentialState | None:
    return state.models.get(model) if model else state


def _rests(entry: ModelState | CredentialState | None, code: str, now: float) -> bool:
    """Whether it rests already for the same reason."""
    if entry is None or entry.last_error is None or entry.last_error.code != code:
        return False
    return entry.next_retry_after is not None and entry.next_retry_after > now
