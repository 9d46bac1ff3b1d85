"""What two processes know about one credential, made one: neither loses what the other changed. Pure.

Of a credential, what ours changed since both agreed is kept, and everything else is theirs; of the metadata, key by
key, where the later refresh wins, since it is the one whose tokens still work. Of states, the later word wins for each
model.

Which refresh is the later one, the clocks of its writers say where there is nothing better. Where there are leases,
tokens that somebody else brought to the store are later than ours, which nobody had seen there: its owner had the lease
after us. Unless they are tokens of our own that we have replaced since, and whose save we were not told of, or have not
met in this store before.
"""

from collections.abc import Collection
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from turnout._aggregate import following, remaining_error
from turnout._due import merged_metadata
from turnout._renewal import mark_of_tokens, moved
from turnout._values import Credential, CredentialState, ModelState

S = TypeVar("S", ModelState, CredentialState)

_TIMES = ("updated_at", "last_refreshed_at")


def reconciled(
    base: Credential | None, ours: Credential, theirs: Credential, *, spent: Collection[str] | None = None
) -> Credential:
    """Both in one; `base` is what both agreed on last, None when that is not known: then the later update wins.

    Of the metadata, that is the later refresh, and all of its metadata. `spent` as in `ours_are_later`. Origin, index
    and runtime companion are this process's own.
    """
    early, late = (theirs, ours) if ours_are_later(base, ours, theirs, spent=spent) else (ours, theirs)
    metadata = late.metadata if base is None else merged_metadata(early.metadata, late.metadata, base.metadata)
    if base is None:
        base = theirs if _at(ours.updated_at) > _at(theirs.updated_at) else ours
    fields = [field.name for field in attrs.fields(Credential) if field.name not in {*_TIMES, "metadata"}]
    values: dict[str, Any] = {
        name: getattr(ours if getattr(ours, name) != getattr(base, name) else theirs, name) for name in fields
    }
    for name in _TIMES:
        values[name] = max((getattr(one, name) for one in (ours, theirs)), key=_at)
    values |= {"metadata": metadata, "origin": ours.origin, "index": ours.index, "runtime": ours.runtime}
    return Credential(**values)


def ours_are_later(
    base: Credential | None, ours: Credential, theirs: Credential, *, spent: Collection[str] | None
) -> bool:
    """Whether ours are the later tokens, which work.

    `spent` has the marks of tokens that this process replaced, where there are leases; None where there are none. With
    no `base` no lease tells: the tokens have not met in one store before, and the clocks of their writers decide.
    """
    if spent is not None and mark_of_tokens(theirs) in spent:
        return True
    if base is None:
        return _renewed_at(ours) >= _renewed_at(theirs)
    if spent is None:
        return _at(ours.last_refreshed_at) >= _at(theirs.last_refreshed_at)
    return not moved(base, theirs)


def _renewed_at(one: Credential) -> tuple[float, float]:
    """When it was refreshed, and of those that were not, or at one time, when it was changed."""
    return _at(one.last_refreshed_at), _at(one.updated_at)


def joined(ours: CredentialState, theirs: CredentialState) -> CredentialState:
    """Both in one: for each model, and for the credential as a whole, what was said last, and since the last reset.

    That only a person can renew it is not unsaid by a later word about something else (E7): it was told under the
    lease. `theirs` must be about the secret that the credential has.
    """
    reset_at = max(ours.reset_at, theirs.reset_at, key=_at)
    ours, theirs = _since(ours, reset_at), _since(theirs, reset_at)
    models = dict(theirs.models)
    for name, entry in ours.models.items():
        models[name] = _later(entry, models.get(name, entry))
    later = _later(ours, theirs)
    if theirs.needs_login and not later.needs_login:
        later = attrs.evolve(later, needs_login=theirs.needs_login, refused=theirs.refused)
    refused = later.refused or ours.refused or theirs.refused  # a model's 401 may be the other one's word
    return attrs.evolve(later, models=MappingProxyType(models), refused=refused)


def _since(state: CredentialState, reset_at: float | None) -> CredentialState:
    """The state less what was said of the time before a reset of which it does not know."""
    if reset_at is None or _at(state.reset_at) >= reset_at:
        return state
    if _at(state.updated_at) <= reset_at:
        return CredentialState(reset_at=reset_at)
    models = {name: entry for name, entry in state.models.items() if _at(entry.updated_at) > reset_at}
    if len(models) != len(state.models):
        error = remaining_error(models)
        state = following(state, models, error, error.message if error else "", state.updated_at or 0.0)
    return attrs.evolve(state, reset_at=reset_at, unusable_until=None)


def _later(ours: S, theirs: S) -> S:
    return theirs if _at(theirs.updated_at) > _at(ours.updated_at) else ours


def _at(time: float | None) -> float:
    return float("-inf") if time is None else time
