"""Fields of a record that only a later version knows: an earlier one keeps them when it writes the record (G10). Pure.

While a rolling upgrade goes on, both versions share a store. What the later one has added to a credential, to its state
or to its state for one model must not be lost because the earlier one wrote a cooldown in between.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, final

import attrs

from turnout._records import MODEL_FIELDS, SECRET_FIELDS, STATE_FIELDS
from turnout._values import EMPTY, Record

_KNOWN: Final = {"secret": SECRET_FIELDS, "state": STATE_FIELDS}


@final
@attrs.frozen
class UnknownFields:
    """What we do not know of one record.

    Attributes:
        own: by name.
        models: of the states for one model: by model, then by name.
    """

    own: Mapping[str, Any] = attrs.field(default=EMPTY, repr=False)
    models: Mapping[str, Mapping[str, Any]] = attrs.field(default=EMPTY, repr=False)

    def __bool__(self) -> bool:
        return bool(self.own or self.models)

    def kept_in(self, data: bytes) -> bytes:
        """The bytes of the record with these fields again; of models that are not in it any more they go."""
        if not self:
            return data
        fields = json.loads(data)
        states = fields.get("model_states", {})
        for name, unknown in self.models.items():
            if name in states:
                states[name] = {**unknown, **states[name]}
        return json.dumps({**self.own, **fields}).encode()


NOTHING: Final = UnknownFields()


def unknown_fields(record: Record) -> UnknownFields:
    """What a record holds beside what this version knows; nothing of one that is damaged."""
    try:
        fields = json.loads(record.data)
    except (ValueError, RecursionError):
        return NOTHING
    known = _KNOWN.get(record.kind)
    if known is None or not isinstance(fields, dict):
        return NOTHING
    states = fields.get("model_states") if record.kind == "state" else None
    models = {
        name: unknown
        for name, entry in (states.items() if isinstance(states, dict) else ())
        if isinstance(entry, dict) and (unknown := _without(entry, MODEL_FIELDS))
    }
    own = _without(fields, known)
    return UnknownFields(own, models) if own or models else NOTHING


def _without(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in known}
