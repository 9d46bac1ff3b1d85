"""What a file may not say although each key alone would be fine: names that clash, keys that can never take effect."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from turnout._entries import ProviderTable, credential_of
from turnout._problems import Problem, Spot, Step
from turnout._sections import Turnout

CHOSEN = {"selectors": "selector", "stores": "store", "transports": "transport"}
"""Groups of which exactly one plugin is used, and the key of `[turnout]` that names it."""

NAMED = ("providers", "frontends", "observers")
"""Groups whose tables switch their plugins on; each may use another plugin than its key with `plugin`."""

_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def inconsistencies(tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of a whole tree; parts of the wrong type are passed over, others report those."""
    for group in NAMED:
        yield from _keys(tree, group)
    yield from _keys(tree, "oauth_aliases")
    for group in ("frontends", "observers"):
        yield from _plugin_names(tree, group)
    for key, table in _table(tree, "providers").items():
        yield from _models(("providers", key), table)
        for number, entry in enumerate(_array(table, "credentials")):
            yield from _models(("providers", key, "credentials", number), entry)
    for group, setting in CHOSEN.items():
        yield from _unchosen(tree, group, setting)
    yield from _hedge(tree)


def _hedge(tree: Mapping[str, Any]) -> Iterator[Problem]:
    hedge = _table(tree, "hedge")
    if "share" in hedge and not hedge.keys() & {"after", "providers", "models"}:
        yield _dead(("hedge", "share"), 'set hedge.after, such as "2s", or remove it')
    for key in _table(hedge, "providers"):
        if key not in _table(tree, "providers"):
            yield _dead(("hedge", "providers", key), "no provider has this key; correct it or remove it")


def shared_ids(tables: Iterable[ProviderTable]) -> Iterator[Problem]:
    """Credentials that would have the same id: each but the first, naming the first."""
    first: dict[str, str] = {}
    for table in tables:
        for number, entry in enumerate(table.credentials):
            path = ("providers", table.key, "credentials", number)
            here = Problem(path, "").name
            earlier = first.setdefault(credential_of(table, entry).id, here)
            if earlier != here:
                what = "has the same name as" if entry.name else "says the same as"
                yield Problem(path, f"{what} {earlier}; give each credential a name of its own, or remove one")


def _table(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = tree.get(key)
    return table if isinstance(table, dict) else {}


def _array(table: Any, key: str) -> list[Any]:
    array = table.get(key) if isinstance(table, dict) else None
    return array if isinstance(array, list) else []


def _models(path: tuple[Step, ...], table: Any) -> Iterator[Problem]:
    for number, model in enumerate(_array(table, "models")):
        here = (*path, "models", number)
        if not isinstance(model, dict):
            continue
        if "fork" in model:
            yield _dead((*here, "fork"), "only aliases under oauth_aliases can fork; here, list the plain name as well")
        if isinstance(model.get("name"), str) and not model["name"].strip():
            yield Problem((*here, "name"), "it is empty; write the name that the upstream knows")


def _keys(tree: Mapping[str, Any], group: str) -> Iterator[Problem]:
    for key in _table(tree, group):
        if not _KEY.fullmatch(key):
            message = "a name here has lower-case letters, digits, and . _ - inside"
            yield Problem((group, key), message, spot=Spot.KEY)


def _plugin_names(tree: Mapping[str, Any], group: str) -> Iterator[Problem]:
    for key, table in _table(tree, group).items():
        if isinstance(table, dict) and not isinstance(table.get("plugin", key), str):
            yield Problem((group, key, "plugin"), "expected a text: the name of a plugin")


def _unchosen(tree: Mapping[str, Any], group: str, setting: str) -> Iterator[Problem]:
    chosen = _table(tree, "turnout").get(setting, getattr(Turnout(), setting))
    if type(chosen) is not str or "${" in chosen:
        return  # which one is meant is not known yet, and that is told
    for key in _table(tree, group):
        if key != chosen:
            yield _dead((group, key), f"turnout.{setting} names another one; name this one there or remove the table")


def _dead(path: tuple[Step, ...], remedy: str) -> Problem:
    return Problem(path, f"this never takes effect: {remedy}", spot=Spot.KEY)
