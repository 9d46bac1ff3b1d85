"""Which credential serves which model names (C16); one per kernel (O63).

Names are base names (C7.2) and are compared exactly, case included (O6). The catalogue knows no times: whether a
credential is ready is asked of the schedule, so that nothing here can lapse late or never (O60, O61).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import final

from turnout._model_name import parse
from turnout._names import ModelEntry, Naming
from turnout._values import EMPTY, Model

__all__ = ["Catalogue", "Count", "ModelEntry", "Serves", "announced", "is_excluded"]

Serves = Mapping[str, tuple[str, ...]]
"""Base names that clients may ask a credential for, each with the names that its outcomes are recorded under."""

Count = Callable[[str, str, float], int]
"""How many credentials of (provider, base name) are so at a time, POSIX seconds."""


def announced(
    models: Iterable[ModelEntry | str], naming: Naming, *, excluded: Sequence[str] = (), force_prefix: bool = False
) -> Serves:
    """What one credential serves (C16.8): exclusions first, then OAuth aliases, then its prefix.

    Args:
        models: of the provider, or of the list that belongs to the credential (`naming.models`).
        naming: says what becomes of each name; a pool's alias stands for all of its members (O28).
        excluded: patterns for names that must not be served, `*` for any run of characters, ignoring case.
        force_prefix: names without the credential's prefix are not served.
    """
    asked = (tuple(models), tuple(excluded), force_prefix)
    if naming.announced is None or naming.announced[0] != asked:  # thousands of keys share one naming and one list
        naming.announced = (asked, _announced(asked[0], naming, asked[1], force=force_prefix))
    return naming.announced[1]


def _announced(models: Iterable[ModelEntry | str], naming: Naming, excluded: Sequence[str], *, force: bool) -> Serves:
    visible = [name for name in _visible(models) if not is_excluded(name, excluded)]
    serves: dict[str, dict[str, None]] = {}
    for text in _prefixed(_renamed(visible, naming.oauth), naming.prefix.strip(), force=force):
        name = parse(text)
        upstreams = naming.upstreams(name)
        if name.key != text:  # an alias with a suffix may have a list of its own
            upstreams = (*naming.upstreams(parse(name.key)), *upstreams)
        serves.setdefault(name.key, {}).update(dict.fromkeys(upstream.recorded for upstream in upstreams))
    return MappingProxyType({key: tuple(recorded) for key, recorded in serves.items()})


def is_excluded(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns (C16.8)."""
    lowered = name.strip().lower()
    return any(_fits(lowered, pattern.strip().lower()) for pattern in patterns)


@final
class Catalogue:
    """Who serves what, by credential. Every method is one step; nothing here waits."""

    __slots__ = ("_clients", "_counts", "_names", "_orders")

    def __init__(self) -> None:
        self._clients: dict[str, tuple[str, Serves]] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._orders: dict[str, tuple[str, ...]] = {}
        self._names: tuple[tuple[str, tuple[str, ...]], ...] | None = None

    def register(self, id: str, provider: str, serves: Serves) -> None:
        """Say what a credential serves from now on, in place of what it served; nothing unregisters it (C16.1)."""
        provider = provider.strip().lower()
        before = self._clients.get(id)
        if before is not None and before[0] == provider and before[1].keys() == serves.keys():
            self._clients[id] = (provider, serves)
            return
        self.unregister(id)
        if serves:
            self._clients[id] = (provider, serves)
            self._count(provider, serves, 1)

    def unregister(self, id: str) -> None:
        """Forget a credential; nothing happens when it is not known."""
        provider, serves = self._clients.pop(id, ("", EMPTY))
        self._count(provider, serves, -1)

    def supports(self, id: str, base: str) -> bool:
        """Whether a credential serves a base name (C16.2 with O6), ready or not."""
        client = self._clients.get(id)
        return client is not None and base in client[1]

    def providers_of(self, base: str) -> tuple[str, ...]:
        """Keys of the providers that serve a base name: most credentials first, then by name (C16.7)."""
        order = self._orders.get(base)
        if order is None:
            counts = self._counts.get(base)
            if counts is None:  # not remembered: clients may ask for any name
                return ()
            order = self._orders[base] = tuple(sorted(counts, key=lambda provider: (-counts[provider], provider)))
        return order

    def names(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Every base name that is served, sorted, with its providers."""
        if self._names is None:
            self._names = tuple((base, self.providers_of(base)) for base in sorted(self._counts))
        return self._names

    def models(self, now: float, *, ready: Count, blocked: Count | None = None) -> tuple[Model, ...]:
        """What a client is shown, sorted by name (C16.5 with O60, O61).

        A model that only waits for rate limits stays visible; one of which nobody is ready and somebody is blocked
        for another reason is left out until its time has come. Without `blocked` every model stays visible.
        """
        shown = []
        for base, providers in self.names():
            count = sum(ready(provider, base, now) for provider in providers)
            if count or not blocked or not any(blocked(provider, base, now) for provider in providers):
                shown.append(Model(name=base, providers=providers, ready=count))
        return tuple(shown)

    def _count(self, provider: str, bases: Iterable[str], step: int) -> None:
        for base in bases:
            counts = self._counts.setdefault(base, {})
            counts[provider] = counts.get(provider, 0) + step
            if not counts[provider]:
                del counts[provider]
            if not counts:
                del self._counts[base]
            self._orders.pop(base, None)
            self._names = None


def _visible(models: Iterable[ModelEntry | str]) -> list[str]:
    entries = (ModelEntry(model) if isinstance(model, str) else model for model in models)
    return _distinct(entry.alias.strip() or entry.name.strip() for entry in entries)


def _renamed(names: Sequence[str], oauth: Sequence[ModelEntry]) -> list[str]:
    """OAuth aliases stand in for the models they name, in configuration order; a fork keeps the original in front."""
    aliases: dict[str, ModelEntry] = {}
    for entry in oauth:
        if entry.name.strip() and entry.alias.strip() and entry.alias.strip().lower() != entry.name.strip().lower():
            aliases.setdefault(entry.alias.strip().lower(), entry)
    result: list[str] = []
    for name in names:
        own = [entry for entry in aliases.values() if entry.name.strip().lower() == name.lower()]
        if not own or any(entry.fork for entry in own):
            result.append(name)
        result.extend(entry.alias.strip() for entry in own)
    return _distinct(result)


def _prefixed(names: Iterable[str], prefix: str, *, force: bool) -> list[str]:
    if not prefix:
        return [*names]
    pairs = ((name if not force or name == prefix else "", f"{prefix}/{name}") for name in names)
    return _distinct(name for pair in pairs for name in pair)


def _distinct(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name]


def _fits(name: str, pattern: str) -> bool:
    """Literal parts in order and without overlap, in linear steps: a pattern is no reason to backtrack."""
    first, *rest = pattern.split("*")
    if not rest:
        return bool(pattern) and name == pattern
    *middle, last = rest
    end = len(name) - len(last)
    if not (name.startswith(first) and name.endswith(last) and len(first) <= end):
        return False
    at = len(first)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
