"""What a class must have to be a plugin of its group. Looked at once, when it is loaded; nobody implements stubs."""

import re
import warnings
from typing import Any

import attrs

from turnout.abc import API

REQUIRED: dict[str, tuple[str, ...]] = {
    "turnout.providers": ("dialects", "execute", "origin", "stream"),
    "turnout.selectors": ("select",),
    "turnout.stores": ("delete", "list", "save"),
    "turnout.transports": ("for_credential",),
    "turnout.frontends": ("serve",),
    "turnout.observers": ("hear",),
}
"""Members of the protocols in `turnout.abc`, besides `api`. Everything beyond them is optional."""

_VALUES = frozenset({"dialects"})

_NAME = re.compile(r"[a-z0-9](?:[._-]?[a-z0-9])*")
"""How a dialect is called. Which ones there are is the frontends' business: anybody may add one."""


LEAVING: frozenset[int] = frozenset()
"""Versions of `turnout.abc` that this release still takes and the next one will not (plugins.md, Versions)."""


def warn_of_parting(plugin: Any, leaving: frozenset[int] = LEAVING) -> None:
    """Warn with DeprecationWarning, which pytest shows, of a plugin that the next release will not take any more."""
    api = getattr(plugin, "api", None)
    if api in leaving:
        text = f"{plugin.__name__} has `api = {api}`, which the next Turnout refuses: by then it needs {API}"
        warnings.warn(text, DeprecationWarning, stacklevel=3)


def flaw_of(group: str, plugin: Any, leaving: frozenset[int] = LEAVING) -> str:
    """Why this object cannot serve in its group and what its author must do; empty when it can."""
    if not isinstance(plugin, type):
        return f"its entry point names {type(plugin).__name__} {plugin!r:.60}, and must name a class"
    if getattr(plugin, "api", None) not in leaving and (flaw := _api_flaw(plugin)):
        return flaw
    if missing := lacking(group, plugin):
        return f"{plugin.__name__} lacks {', '.join(missing)}, which turnout.abc requires of {_short(group)}"
    settings = getattr(plugin, "Settings", None)
    if settings is not None and not attrs.has(settings):
        return f"{plugin.__name__}.Settings must be an attrs class"
    if not callable(getattr(plugin, "open", None) or type):  # None counts as missing, as for all that is optional
        return f"{plugin.__name__}.open must be an async context manager function"
    return dialects_flaw(plugin) if group == "turnout.providers" else ""


def lacking(group: str, plugin: object) -> list[str]:
    """The members that its group requires and this plugin, or its class, does not have."""
    return [name for name in REQUIRED[group] if not _has(plugin, name)]


def dialects_flaw(provider: object) -> str:
    """What is wrong with the dialects that a provider, or its class, speaks and translates; empty if nothing is.

    A text is the worst: it would be taken for the dialects `o`, `p`, `e` and so on, and no ask would ever reach it.
    """
    for name in ("dialects", "translated"):
        names = getattr(provider, name, None)
        if names is None or hasattr(names, "__get__"):  # a class whose instances have it
            continue
        if not isinstance(names, frozenset):
            return f"`{name}` must be a frozenset of names, such as frozenset({{'openai.chat'}}), not {names!r:.60}"
        for one in names:
            if not isinstance(one, str) or not _NAME.fullmatch(one):
                return f"`{name}` holds {one!r:.60}, which is no name of a dialect: those are such as 'openai.chat'"
    return ""


def _api_flaw(plugin: type) -> str:
    api = getattr(plugin, "api", None)
    if type(api) is not int:
        return f"{plugin.__name__} does not say for which version of turnout.abc it was written: add `api = {API}`"
    if api > API:
        return f"it was written for version {api} of turnout.abc, and this Turnout has {API}: upgrade turnout"
    if api < API:
        return f"it was written for version {api} of turnout.abc, and this Turnout has {API}: upgrade the plugin"
    return ""


def _has(plugin: object, name: str) -> bool:
    member = getattr(plugin, name, None)
    return member is not None and (name in _VALUES or callable(member))


def _short(group: str) -> str:
    return group.removeprefix("turnout.")
