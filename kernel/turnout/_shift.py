"""What a jump of the clock does to kept times: cooldowns keep their remaining length (design 10, K1). Pure."""

import attrs

from turnout._values import CredentialState, ModelState, Quota


def shifted(state: CredentialState, by: float) -> CredentialState:
    """The state with every block moved by so many seconds; the same object when nothing in it waits for a time."""
    models = {name: _entry(entry, by) for name, entry in state.models.items()}
    own = attrs.evolve(
        state,
        next_retry_after=_moved(state.next_retry_after, by),
        unusable_until=_moved(state.unusable_until, by),
        quota=_quota(state.quota, by),
    )
    changed = own != state or any(models[name] is not entry for name, entry in state.models.items())
    return attrs.evolve(own, models=models) if changed else state


def _entry(entry: ModelState, by: float) -> ModelState:
    if entry.next_retry_after is None and entry.quota.next_recover_at is None:
        return entry
    return attrs.evolve(entry, next_retry_after=_moved(entry.next_retry_after, by), quota=_quota(entry.quota, by))


def _quota(quota: Quota, by: float) -> Quota:
    if quota.next_recover_at is None:
        return quota
    return attrs.evolve(quota, next_recover_at=_moved(quota.next_recover_at, by))


def _moved(at: float | None, by: float) -> float | None:
    return None if at is None else at + by
