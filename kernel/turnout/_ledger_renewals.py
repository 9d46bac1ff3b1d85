"""What a renewal does to a credential's state, or one that failed, or another secret (C11.2, O48, O57). Pure."""

from collections.abc import Iterator

import attrs

from turnout._aggregate import following, remaining_error, reset
from turnout._values import CredentialState, ErrorRecord, ModelState
from turnout._verdicts import Unauthorized


def refreshed(state: CredentialState, now: float) -> CredentialState:
    """The state after the credential was renewed: what a refused token had blocked is free again (O48)."""
    if state.last_error is not None and not state.last_error.code:  # of a refresh, as below
        state = attrs.evolve(state, last_error=remaining_error(state.models), updated_at=now)
    if not any(map(is_refusal, entries(state))):
        return attrs.evolve(state, needs_login="", refused="", updated_at=now) if state.needs_login else state
    models = {name: reset(entry, now) if is_refusal(entry) else entry for name, entry in state.models.items()}
    error = remaining_error(models)
    after = following(state, models, error, error.message if error else "", now)
    return attrs.evolve(after, needs_login="", refused="")


def refresh_failed(state: CredentialState, why: str) -> CredentialState:
    """The state after a refresh that failed: the last error is its message alone, nothing else changes (C11.2).

    `why` holds no secret. Unlike an outcome's it has no code, so that it goes with the next refresh that succeeds. The
    time of the last word stays: a refusal that another process met a moment before must not lose against this (E7).
    """
    return attrs.evolve(state, last_error=ErrorRecord(message=why))


def refused_for_good(state: CredentialState, why: str, now: float, *, secret: str = "") -> CredentialState:
    """The state of a credential that only a person can renew; `why` is shown and holds no secret.

    `secret` is the digest of what was refused: a new login, by whatever way it comes, is another one.
    """
    return attrs.evolve(state, needs_login=why, refused=secret, updated_at=now)


def freed(state: CredentialState, now: float) -> CredentialState:
    """The state once the secret is another one: what the old one had blocked is free again."""
    after = refreshed(state, now)
    return after if after.unusable_until is None else attrs.evolve(after, unusable_until=None)


def refused(state: CredentialState, now: float) -> bool:
    """Whether a 401 blocks this credential already, so that its refresh has been asked for."""
    return any(
        is_refusal(entry) and entry.next_retry_after is not None and entry.next_retry_after > now
        for entry in entries(state)
    )


def entries(state: CredentialState) -> Iterator[ModelState | CredentialState]:
    """The credential as a whole, then each of its models."""
    yield state
    yield from state.models.values()


def is_refusal(entry: ModelState | CredentialState) -> bool:
    """Whether what went wrong last is that the secret was refused (401)."""
    return entry.last_error is not None and entry.last_error.code == Unauthorized.code
