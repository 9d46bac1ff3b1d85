"""Plugins: found in the metadata of installed distributions, imported only when named, broken ones kept as values.

A module that is not named in the configuration is never imported, so it can neither slow nor break anything.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from operator import eq
from typing import Any, Literal, NamedTuple, final

import attrs
import trio

from turnout._plugin_check import REQUIRED, flaw_of, warn_of_parting
from turnout._type_words import nearest
from turnout._values import EMPTY, refuse
from turnout.errors import PluginError

COMMANDS = "turnout.commands"
GROUPS = (*REQUIRED, COMMANDS)
"""Entry-point groups. Commands are click commands and no classes, so they are loaded, but not checked."""

KERNEL = "turnout"

_DISTRIBUTION = re.compile(r"[A-Za-z0-9._-]+")


class PluginInfo(NamedTuple):
    """One offer of one distribution, for people."""

    group: str
    name: str
    distribution: str
    version: str
    state: Literal["available", "in use", "disabled", "broken"]
    reason: str = ""


@final
@attrs.frozen(order=True)
class _Offer:
    """What a distribution says it has."""

    distribution: str
    version: str
    value: str
    load: Callable[[], Any] = attrs.field(eq=False, repr=False)
    requires: tuple[str, ...] = attrs.field(default=(), eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@final
@attrs.frozen
class _Broken:
    """A plugin that cannot be used."""

    reason: str
    distribution: str = ""


@final
class Plugins:
    """Everything that a configuration can name. What was loaded once stays loaded, what failed once stays broken."""

    def __init__(self, offers: Mapping[tuple[str, str], tuple[_Offer, ...]], disabled: Mapping[str, str]) -> None:
        self._offers = offers
        self._disabled = disabled
        self._loaded: dict[tuple[str, str], Any] = {}

    @classmethod
    def discover(cls, environ: Mapping[str, str] = EMPTY, *, safe: bool = False) -> "Plugins":
        """What is installed; reads metadata and imports nothing.

        `TURNOUT_DISABLE_PLUGINS` lists names of plugins or distributions that must not be imported, separated by
        commas; `*` and `safe` mean all of them.
        """
        if not isinstance(environ, Mapping):
            refuse(f"environ must be a mapping, not {type(environ).__name__}", "environ")
        offers: defaultdict[tuple[str, str], set[_Offer]] = defaultdict(set)
        for group in GROUPS:
            for entry in metadata.entry_points(group=group):
                offers[group, entry.name].add(_offer(entry))
        names = [name.strip() for name in environ.get("TURNOUT_DISABLE_PLUGINS", "").split(",")]
        disabled = {name: "TURNOUT_DISABLE_PLUGINS" for name in names if name} | ({"*": "--safe"} if safe else {})
        return cls({key: tuple(sorted(claims)) for key, claims in offers.items()}, disabled)

    @classmethod
    def of(cls, classes: Mapping[str, Mapping[str, Any]]) -> "Plugins":
        """Exactly these: group, name, class. For tests and embedding; groups may leave out `turnout.`."""
        if not isinstance(classes, Mapping) or not all(isinstance(named, Mapping) for named in classes.values()):
            refuse("classes must be a mapping of groups to mappings of names to classes", "classes")
        return cls(
            {
                (_full(group), name): (_Offer("", "", "", load=_giving(plugin)),)
                for group, named in classes.items()
                for name, plugin in named.items()
            },
            EMPTY,
        )

    def names(self, group: str) -> tuple[str, ...]:
        """Names that are offered in a group, sorted; none is imported."""
        return tuple(sorted(name for offered, name in self._offers if offered == _full(group)))

    def load(self, group: str, name: str) -> Any:
        """The class behind a name, imported and checked; for commands, the object.

        Raises PluginError that says what is wrong, where it comes from and what to do. Runs the module's code.
        """
        key = (_full(group), name)
        if key not in self._loaded:
            self._loaded[key] = self._attempt(*key)
        loaded = self._loaded[key]
        if isinstance(loaded, _Broken):
            raise PluginError(loaded.reason, group=key[0], name=name, distribution=loaded.distribution)
        return loaded

    def owner_of(self, module: str) -> str:
        """Whose code a module is, such as `selector 'cheapest' (from turnout-cheapest 0.1.0)`; empty: no plugin's.

        A plugin's own module tells before the rest of its package does, and what was loaded before what was not.
        """
        if _within(module, KERNEL):
            return "Turnout itself"
        for offers in (self._modules(self._loaded), self._modules(self._offers)):
            for fits in (eq, _beside):
                if owners := sorted({owner for theirs, owner in offers if fits(module, theirs)}):
                    return " or ".join(owners)
        return ""

    def _modules(self, keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Modules of these plugins, of their class and of their entry point, each with the words for them."""
        return [
            (module, _in_words(group, name, offer))
            for group, name in keys
            for offer in self._offers.get((group, name), ())
            for module in {
                str(getattr(self._loaded.get((group, name)), "__module__", "")),
                offer.value.partition(":")[0].strip(),
            }
            if module and not isinstance(self._loaded.get((group, name)), _Broken)
        ]

    def describe(self) -> tuple[PluginInfo, ...]:
        """Every offer, in the order of groups, names and distributions. Imports nothing."""
        order = sorted(self._offers, key=lambda key: (GROUPS.index(key[0]), key[1]))
        return tuple(self._info(key, offer) for key in order for offer in self._offers[key])

    def _attempt(self, group: str, name: str) -> Any:
        offers = self._offers.get((group, name), ())
        if not offers:
            return _Broken(self._unknown(group, name))
        offer = offers[0]
        if by := self._disabled_by(name, offer):
            return _Broken(f"disabled by {by}", str(offer))
        if len(offers) > 1:
            return _Broken(f"{_claims(offers)} both claim this name; uninstall one of them")
        plugin = _imported(offer)
        if group == COMMANDS or isinstance(plugin, _Broken):
            return plugin
        flaw = flaw_of(group, plugin)
        warn_of_parting(plugin)
        return _Broken(flaw, str(offer)) if flaw else plugin

    def _unknown(self, group: str, name: str) -> str:
        names = self.names(group)
        if not names:
            return f"not installed; nothing is installed for {group}"
        meant = nearest(name, names)
        return f"not installed{meant}{' Installed' if meant else '; installed'}: {', '.join(names)}"

    def _disabled_by(self, name: str, offer: _Offer) -> str:
        found = (self._disabled.get(word, "") for word in (name, offer.distribution, "*"))
        return next((by for by in found if by), "")

    def _info(self, key: tuple[str, str], offer: _Offer) -> PluginInfo:
        group, name = key
        offers, loaded = self._offers[key], self._loaded.get(key)

        def info(state: Literal["available", "in use", "disabled", "broken"], reason: str = "") -> PluginInfo:
            return PluginInfo(group, name, offer.distribution, offer.version, state, reason)

        if by := self._disabled_by(name, offer):
            return info("disabled", f"by {by}")
        if len(offers) > 1:
            return info("broken", f"{_claims(offers)} both claim this name")
        if isinstance(loaded, _Broken):
            return info("broken", loaded.reason)
        return info("available" if loaded is None else "in use")


def _full(group: str) -> str:
    return group if group.startswith("turnout.") else f"turnout.{group}"


def _offer(entry: metadata.EntryPoint) -> _Offer:
    dist = entry.dist
    if dist is None:  # an entry point that was made by hand
        return _Offer("", "", entry.value, load=entry.load)
    return _Offer(dist.name, dist.version, entry.value, load=entry.load, requires=tuple(dist.requires or ()))


def _in_words(group: str, name: str, offer: _Offer) -> str:
    origin = f" (from {offer})" if str(offer) else ""
    return f"{group.removeprefix('turnout.').removesuffix('s')} {name!r}{origin}"


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _beside(module: str, other: str) -> bool:
    """Whether a module lies in the package of the other one."""
    return _within(module, other.rpartition(".")[0] or other)


def _giving(plugin: Any) -> Callable[[], Any]:
    return lambda: plugin


def _claims(offers: Iterable[_Offer]) -> str:
    return " and ".join(f"{offer} ({offer.value})" for offer in offers)


def _imported(offer: _Offer) -> Any:
    """What the offer names; whatever its module raises, `SystemExit` included, makes it broken and nothing else."""
    try:
        return offer.load()
    except (KeyboardInterrupt, trio.Cancelled):
        raise
    except ImportError as error:
        return _Broken(_import_failure(error, offer), str(offer))
    except BaseException as error:  # noqa: BLE001 # nothing is awaited here, and a plugin must not end the process
        return _Broken(f"its module failed: {_shown(error)}; ask its author, or take it out of use", str(offer))


def _import_failure(error: ImportError, offer: _Offer) -> str:
    if missing := _unmet(offer.requires):
        return f"it needs {', '.join(missing)}, not installed here; run `pip install {offer.distribution}`"
    return f"its module cannot be imported: {_shown(error)}; reinstall {offer.distribution or 'it'}"


def _shown(error: BaseException) -> str:
    """Kind and first line: what an import raises speaks of code, not of payloads."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}".removesuffix(": ")


def _unmet(requires: Iterable[str]) -> list[str]:
    """Distributions that are required without an environment marker and are not installed."""
    unmet: list[str] = []
    for requirement in requires:
        name = _DISTRIBUTION.match(requirement)
        if name is None or ";" in requirement:
            continue
        try:
            metadata.distribution(name[0])
        except metadata.PackageNotFoundError:
            unmet.append(name[0])
    return unmet
