"""What times allow: who is ready, worked out anew from a state in the plainest way."""

from collections.abc import Mapping, Sequence

from turnout._values import Credential, CredentialState, ModelState


def is_ready(credential: Credential, state: CredentialState, names: Sequence[str], now: float) -> bool:
    """Whether times allow this credential to serve the model that is recorded under one of these names (C4).

    It says what `_standing.blocked` says, on purpose in words of its own: a judge that asked the accused would find
    nothing. It knows neither kinds of blocks nor probes.
    """
    return is_usable(credential, state, now) and serves_any(state.models, names, now)


def is_usable(credential: Credential, state: CredentialState, now: float) -> bool:
    """Whether times allow it to serve anything at all."""
    if credential.disabled or state.needs_login:
        return False
    return state.unusable_until is None or state.unusable_until <= now


def serves_any(models: Mapping[str, ModelState], names: Sequence[str], now: float) -> bool:
    """Whether one of these names is not blocked."""
    if not models:
        return bool(names)
    for name in names:
        known = models.get(name)
        if known is None or not known.unavailable or known.next_retry_after is None or known.next_retry_after <= now:
            return True
    return False
