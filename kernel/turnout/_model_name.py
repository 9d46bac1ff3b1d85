"""A model name as a value: parsed once, then asked (C7.1 to C7.3, O32).

What clients ask for and what the catalogue announces is compared exactly, case included: that is the one rule (O6).
"""

import re
from functools import lru_cache
from typing import NamedTuple, final

LEVELS = frozenset({"minimal", "low", "medium", "high", "xhigh", "max"})
_SPECIAL = {"none": "none", "auto": "auto", "-1": "auto"}
_NUMBER = re.compile(r"\+?0*([0-9]{1,19})")
_LARGEST_NUMBER = 2**63 - 1


@final
class ModelName(NamedTuple):
    """A model name, taken apart.

    Attributes:
        full: as it was written.
        base: everything before the thinking suffix; the whole name when there is none (C7.1).
        suffix: what stands between the parentheses, may be empty; None when there is no suffix.
        key: the name under which schedule and catalogue know the model (C7.2).
    """

    full: str
    base: str
    suffix: str | None
    key: str

    def without(self, prefix: str) -> "ModelName":
        """The same name without `prefix/`, cut off once; unchanged when it does not start so (C7.3)."""
        start = f"{prefix.strip()}/"
        return parse(self.full[len(start) :]) if len(start) > 1 and self.full.startswith(start) else self


@lru_cache(maxsize=1024)  # clients ask for few names again and again: 1.5 µs less
def parse(model: str) -> ModelName:
    """Take a model name apart (C7.1, C7.2); never fails."""
    base, suffix = split(model)
    trimmed = model.strip()
    bare = base if len(trimmed) == len(model) else split(trimmed)[0]
    return ModelName(model, base, suffix, bare.strip() or trimmed)


def split(model: str) -> tuple[str, str | None]:
    """Base name and thinking suffix, None when there is none (C7.1)."""
    if not model.endswith(")"):
        return model, None
    base, found, suffix = model[:-1].rpartition("(")
    return (base, suffix) if found else (model, None)


def suffixed(target: str, suffix: str | None) -> str:
    """A configured name with the client's suffix, unless it has one of its own (C7.5.4)."""
    return f"{target}({suffix})" if suffix and split(target)[1] is None else target


def number(suffix: str) -> int | None:
    """A thinking budget, a decimal whole number from 0 to 2**63 - 1; None when the suffix is no number (C7.1)."""
    found = _NUMBER.fullmatch(suffix)
    value = int(found[1]) if found else None
    return value if value is not None and value <= _LARGEST_NUMBER else None


def level(suffix: str) -> str | None:
    """A thinking level in lower case; None when the suffix names none (C7.1)."""
    lowered = suffix.lower()
    return lowered if lowered in LEVELS else None


def special(suffix: str) -> str | None:
    """`none`, or `auto` (also written `-1`); None when the suffix is neither (C7.1)."""
    return _SPECIAL.get(suffix.lower())
