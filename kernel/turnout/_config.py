"""The configuration: one TOML file as frozen values, every problem reported with its place.

Where the seed's keys (C15) live here:

| seed | here |
|---|---|
| `routing.strategy` | `[turnout] selector` |
| `request-retry` | `[retry] passes`: that many retries and one |
| `max-retry-interval`, `max-retry-credentials` | `[retry] max_wait`, `max_credentials` |
| `streaming.bootstrap-retries` | part of `[retry] passes`: there is one attempt loop (O33) |
| `disable-cooling` | `[health] cooling = false` |
| `force-model-prefix` | `[turnout] force_model_prefix` |
| `passthrough-headers` | a setting of the frontend |
| `NAME-api-key`, `openai-compatibility` | `[providers.KEY]`, its `[[…credentials]]` and `[[…models]]` |
| `oauth-model-alias` | `[[oauth_aliases.CHANNEL]]` |
| `oauth-excluded-models` | `[providers.KEY] excluded_models` |
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, final

import attrs

from turnout import abc
from turnout._attempts import Retry
from turnout._config_file import read_text, toml
from turnout._consistency import CHOSEN, NAMED, inconsistencies, shared_ids
from turnout._entries import CredentialEntry, ProviderTable, credential_of, placed
from turnout._interpolate import interpolate, referenced_files
from turnout._names import ModelEntry
from turnout._places import Source
from turnout._problems import Misfit, Problem, Spot, Step
from turnout._sections import Affinity, Deadlines, Health, Hedge, RetryTable, Turnout
from turnout._structure import accepts, structure
from turnout._values import EMPTY, Credential, refuse
from turnout.errors import ConfigError, PluginError

T = TypeVar("T")

_PROVIDER_KEYS = frozenset(accepts(ProviderTable)) - {"key"}


@final
@attrs.frozen(kw_only=True)
class _File:
    """What the file may hold at the top. Plugins' own keys are structured when the plugins are loaded."""

    turnout: Turnout = attrs.field(factory=Turnout)
    retry: RetryTable = attrs.field(factory=RetryTable)
    health: Health = attrs.field(factory=Health)
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    affinity: Affinity = attrs.field(factory=Affinity)
    hedge: Hedge = attrs.field(factory=Hedge)
    providers: Mapping[str, ProviderTable] = EMPTY
    oauth_aliases: Mapping[str, tuple[ModelEntry, ...]] = EMPTY
    selectors: Mapping[str, Mapping[str, Any]] = EMPTY
    stores: Mapping[str, Mapping[str, Any]] = EMPTY
    transports: Mapping[str, Mapping[str, Any]] = EMPTY
    frontends: Mapping[str, Mapping[str, Any]] = EMPTY
    observers: Mapping[str, Mapping[str, Any]] = EMPTY


@final
@attrs.frozen(kw_only=True)
class Config:
    """A configuration that fits. Two are equal when every key says the same.

    Attributes:
        selector: name of the plugin; `store` and `transport` likewise.
        drain: seconds.
        limits: `[deadlines]`.
        providers: in the order of the file.
        oauth_aliases: per channel, in the order of the file (C7.5).
    """

    selector: str
    store: str
    transport: str
    drain: float
    bootstrap_bytes: int
    force_model_prefix: bool
    retry: Retry
    health: Health
    limits: abc.Limits
    affinity: Affinity
    hedge: Hedge
    providers: tuple[ProviderTable, ...]
    oauth_aliases: Mapping[str, tuple[ModelEntry, ...]]
    _tables: Mapping[str, Mapping[str, Mapping[str, Any]]] = attrs.field(repr=False)
    _text: Source = attrs.field(repr=False, eq=False)

    @cached_property
    def entries(self) -> tuple[tuple[ProviderTable, CredentialEntry, Credential], ...]:
        """Every credential of the file with the entry and the provider it comes from, in the order of the file.

        Their ids are unique: `parse_config` saw to it. Worked out once.
        """
        return tuple(
            (table, entry, placed(credential_of(table, entry), in_file=True))
            for table in self.providers
            for entry in table.credentials
        )

    @property
    def source(self) -> str:
        """What errors call the file: its path."""
        return self._text.name

    @property
    def files(self) -> tuple[Path, ...]:
        """The file itself and those that it takes values from with `${file:…}`."""
        own = Path(self.source)
        return (own, *referenced_files(self._text.text, own.parent))

    def tables(self, group: str) -> tuple[str, ...]:
        """Keys of the tables of a group such as `frontends`, in the order of the file."""
        return tuple(self._tables[_short(group)])

    def table(self, group: str, key: str) -> Mapping[str, Any]:
        """What a plugin's table says, references resolved, so it may hold secrets. Empty when there is none.

        Equal tables need no new plugin instance at a reload (O64).
        """
        return self._tables[_short(group)].get(key, EMPTY)

    def without(self, *groups: str) -> "Config":
        """The same with no table of these groups, such as `frontends`: for commands that serve nobody."""
        return attrs.evolve(self, tables={**self._tables, **{_short(group): EMPTY for group in groups}})

    def plugin_of(self, group: str, key: str) -> str:
        """Name of the plugin that a table is for: its `plugin`, else its key."""
        named = self.table(group, key).get("plugin", key) if _short(group) in NAMED else key
        return str(named)

    def settings(self, group: str, key: str, cls: type[T] | None) -> T | None:
        """A plugin's own table as its `Settings`; None when the plugin declares none.

        Raises ConfigError with every problem of the table, also for keys that a plugin without settings cannot take;
        PluginError when the class itself fails.
        """
        try:
            return settings_of(self, group, key, cls)
        except Misfit as misfit:
            raise self.error(misfit.problems) from None

    def misnamed(self, group: str, key: str, reason: str) -> ConfigError:
        """The error for a plugin that cannot be used, with the place where this file names it."""
        return self.error([misnaming(self, group, key, reason)])

    def error(self, problems: Iterable[Problem]) -> ConfigError:
        """These problems as an error, with their places in this file."""
        return ConfigError(self._text.report(problems))


def _short(group: str) -> str:
    return group.removeprefix("turnout.")


def credentials_of(config: Config) -> tuple[Credential, ...]:
    """The credentials that the file lists, in its order."""
    return tuple(credential for _, _, credential in config.entries)


def settings_of(config: Config, group: str, key: str, cls: type[T] | None) -> T | None:
    """As `Config.settings`, with what does not fit as Misfit."""
    short = _short(group)
    kernel = _PROVIDER_KEYS if short == "providers" else {"plugin"} if short in NAMED else ()
    own = {name: value for name, value in config.table(short, key).items() if name not in kernel}
    if cls is None:
        takes_none = f"the {short.removesuffix('s')} {key!r} takes no settings; remove this key"
        if own:
            raise Misfit(Problem((short, key, name), takes_none, spot=Spot.KEY) for name in own)
        return None
    try:
        return structure(own, cls)
    except Misfit as misfit:
        raise Misfit(problem.under(short, key) for problem in misfit.problems) from None
    except Exception as error:  # its text is not told: it may hold what the table says
        reason = f"its Settings cannot be made: {type(error).__name__}; ask its author"
        raise PluginError(reason, group=f"turnout.{short}", name=config.plugin_of(short, key)) from error


def misnaming(config: Config, group: str, key: str, reason: str) -> Problem:
    """That a plugin cannot be used, at the place where the file names it."""
    short = _short(group)
    if short in CHOSEN:
        path: tuple[Step, ...] = ("turnout", CHOSEN[short])
    else:
        path = (short, key, "plugin") if "plugin" in config.table(short, key) else (short, key)
    return Problem(path, reason)


@final
@attrs.frozen(kw_only=True)
class Draft:
    """What a file says, as far as it fits.

    Attributes:
        config: as if the file were without what does not fit.
        problems: that, in no order; none when it is the configuration.
    """

    config: Config
    problems: Sequence[Problem]


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in a file. Waits for the disk; raises ConfigError, also when the file cannot be read."""
    _check_given("path", path, Path)
    return parse_config(read_text(path), source=str(path), environ=environ)


def parse_config(text: str, *, source: str = "turnout.toml", environ: Mapping[str, str] = EMPTY) -> Config:
    """The configuration that a TOML text holds.

    `environ` is what `${NAME}` refers to; relative paths of `${file:…}` start where `source` lies. Reads those
    files, so it may wait for a disk. Raises ConfigError with every problem found.
    """
    _check_given("text", text, str)
    _check_given("source", source, str)
    _check_given("environ", environ, Mapping)
    draft = draft_config(text, source=source, environ=environ)
    if draft.problems:
        raise draft.config.error(draft.problems)
    return draft.config


def draft_config(text: str, *, source: str, environ: Mapping[str, str]) -> Draft:
    """As `parse_config`, for who goes on to look at what fits. Raises ConfigError for what is not TOML."""
    place = Source(text, source)
    try:
        tree, unresolved = interpolate(toml(place), environ, Path(source).parent)
        return _drafted(tree, place, unresolved)
    except RecursionError:
        raise ConfigError([f"{source}: arrays or tables are nested too deeply to be read"]) from None


def _check_given(argument: str, given: object, kind: type[Any]) -> None:
    if not isinstance(given, kind):
        refuse(f"{argument} must be a {kind.__name__}, not a {type(given).__name__}", argument)


def _drafted(tree: Mapping[str, Any], source: Source, unresolved: Sequence[Problem]) -> Draft:
    """Whatever a reference that is not resolved may have led to is not told: it stands in the tree as it is written."""
    judged = [*inconsistencies(tree)]
    own = {**tree, **_kernel_part(tree)}
    try:
        file = structure(own, _File)
    except Misfit as misfit:
        judged += misfit.problems
        file = structure(_fitting(own), _File)
    else:
        judged += () if unresolved else shared_ids(file.providers.values())
    problems = [*unresolved, *(problem for problem in judged if not problem.follows_from(unresolved))]
    return Draft(config=_config(file, tree, source), problems=problems)


def _fitting(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of what fits by itself, key by key: no key of the kernel's sections is compared with another one."""
    sections = {name: table for name, table in tree.items() if name in accepts(_File) and isinstance(table, dict)}
    fitting = {
        name: {key: value for key, value in table.items() if _fits({name: {key: value}})}
        for name, table in sections.items()
        if name != "providers"
    }
    providers = {
        key: {name: value for name, value in table.items() if _fits({"providers": {key: {"key": key, name: value}}})}
        for key, table in sections.get("providers", {}).items()
        if isinstance(table, dict)
    }
    return {**fitting, "providers": providers}


def _fits(tree: Mapping[str, Any]) -> bool:
    try:
        structure(tree, _File)
    except Misfit:  # it is told already
        return False
    return True


def _kernel_part(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The providers' tables without the keys of their plugins, each with its own name in it."""
    tables = tree.get("providers")
    if not isinstance(tables, dict):
        return {}
    return {"providers": {key: _own_keys(key, table) for key, table in tables.items()}}


def _own_keys(key: str, table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    return {"key": key} | {name: value for name, value in table.items() if name in _PROVIDER_KEYS}


def _config(file: _File, tree: Mapping[str, Any], source: Source) -> Config:
    return Config(
        selector=file.turnout.selector,
        store=file.turnout.store,
        transport=file.turnout.transport,
        drain=file.turnout.drain,
        bootstrap_bytes=file.turnout.bootstrap_bytes,
        force_model_prefix=file.turnout.force_model_prefix,
        retry=Retry(**attrs.asdict(file.retry)),
        health=file.health,
        limits=abc.Limits(**attrs.asdict(file.deadlines)),
        affinity=file.affinity,
        hedge=file.hedge,
        providers=tuple(file.providers.values()),
        oauth_aliases=file.oauth_aliases,
        tables={group: _tables(tree.get(group)) for group in (*NAMED, *CHOSEN)},
        text=source,
    )


def _tables(group: Any) -> dict[str, Mapping[str, Any]]:
    """The tables of a group; there may be something else in a draft's."""
    return {key: table for key, table in group.items() if isinstance(table, dict)} if isinstance(group, dict) else {}
