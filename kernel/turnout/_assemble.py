"""From a configuration to open plugins: load what is named, structure its settings, open it, look at what it can do.

Loading and checking come first, for all of them, so that every problem is told at once and nothing is half open.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from turnout._attempts import Retry
from turnout._config import Config, misnaming, settings_of
from turnout._cooldown import HOUR, Policy
from turnout._generation import Generation, ProviderInstance
from turnout._listing import aliases_of
from turnout._names import Aliases
from turnout._plugin_calls import offers, plugin_code
from turnout._plugin_check import dialects_flaw
from turnout._plugins import Plugins
from turnout._problems import Misfit, Problem, Spot
from turnout._proxy_flaws import proxy_problems
from turnout._values import Call, Operation, Reply
from turnout._verdicts import CountUnsupported, Inexpressible
from turnout.abc import (
    Counter,
    Embedder,
    Learner,
    Listener,
    ModelLister,
    Provider,
    Refresher,
    RequestPreparer,
    Sender,
    SessionCloser,
    Translator,
)
from turnout.errors import PluginError, UpstreamFailed

GROUPS = ("stores", "observers", "transports", "selectors", "providers", "frontends")
"""In the order in which they are opened; they are closed in the opposite one."""


@attrs.frozen(kw_only=True)
class Chosen:
    """A plugin that the configuration names, loaded and with its settings structured, not open yet."""

    group: str
    key: str
    cls: type[Any]
    settings: object


def named(config: Config) -> Iterator[tuple[str, str, str]]:
    """(group, key, plugin name) of every plugin that the configuration names, in the order of opening."""
    single = {"stores": config.store, "transports": config.transport, "selectors": config.selector}
    for group in GROUPS:
        for key in (single[group],) if group in single else config.tables(group):
            yield group, key, config.plugin_of(group, key)


def choose(config: Config, plugins: Plugins) -> list[Chosen]:
    """Load every named plugin and structure its settings; ask the transport about proxies. Imports code, opens nothing.

    Raises ConfigError with every problem of all of them.
    """
    chosen, problems = weigh(config, plugins)
    if problems:
        raise config.error(problems)
    return chosen


def weigh(config: Config, plugins: Plugins, told: Sequence[Problem] = ()) -> tuple[list[Chosen], list[Problem]]:
    """As `choose`: the plugins that can be used, and the problems of the others but for those that `told` explains."""
    chosen: list[Chosen] = []
    problems: list[Problem] = []
    places = {problem.path for problem in told}
    wanted = list(named(config))
    for group, key, name in wanted:
        try:
            cls = plugins.load(f"turnout.{group}", name)
            settings = settings_of(config, group, key, getattr(cls, "Settings", None))
            chosen.append(Chosen(group=group, key=key, cls=cls, settings=settings))
            if group == "transports":
                problems += proxy_problems(config, cls)
        except PluginError as error:
            problem = misnaming(config, group, key, str(error))
            problems += [] if problem.path in places else [problem]
        except Misfit as misfit:
            problems += [problem for problem in misfit.problems if not problem.follows_from(told)]
    problems += _shared_addresses(chosen)
    if len(chosen) == len(wanted):  # or nobody knows who else would use them
        problems += _unused_aliases(config, chosen)
    return chosen, problems


def _shared_addresses(chosen: Iterable[Chosen]) -> Iterator[Problem]:
    """Frontends that listen where an earlier one does: the system would refuse them at the start."""
    first: dict[str, str] = {}
    for one in chosen:
        if one.group == "frontends" and offers(one.cls, Listener):
            with plugin_code("turnout.frontends", one.key):
                taken = [first.setdefault(address, one.key) for address in one.cls.listens(one.settings)]
            for other in sorted({*taken} - {one.key}):
                text = f"it listens where [frontends.{other}] does; give each an address of its own"
                yield Problem(("frontends", one.key), text)


def _unused_aliases(config: Config, chosen: Iterable[Chosen]) -> Iterator[Problem]:
    """Aliases of OAuth channels that no provider's class declares (C7.5.1)."""
    declared = [getattr(one.cls, "channel", None) for one in chosen]
    names = {channel.name.strip().lower() for channel in declared if channel is not None}
    for key in config.oauth_aliases.keys() - names:
        known = f"; known here: {', '.join(sorted(names))}" if names else ""
        text = f"this never takes effect: no provider's plugin declares this channel{known}"
        yield Problem(("oauth_aliases", key), text, spot=Spot.KEY)


def generation_of(config: Config, instances: Callable[[str], Mapping[str, Any]], number: int) -> Generation:
    """The generation that these open plugins make; `instances` gives those of a group by key."""
    (selector,) = instances("selectors").values()
    (transport,) = instances("transports").values()
    return Generation(
        number=number,
        retry=Retry(**attrs.asdict(config.retry)),
        policy=policy_of(config),
        limits=config.limits,
        affinity=config.affinity.enabled,
        prefer_tier=config.affinity.prefer_tier,
        held_bytes=config.bootstrap_bytes,
        hedge=None if config.hedge.idle else config.hedge,
        providers={
            key: provider_instance(key, plugin, aliases_of(config, key, plugin))
            for key, plugin in instances("providers").items()
        },
        selector=selector,
        selector_border=plugin_code("turnout.selectors", config.selector),
        observe=selector.observe if offers(selector, Learner) else None,
        transport=transport,
        transport_border=plugin_code("turnout.transports", config.transport),
    )


def policy_of(config: Config) -> Policy:
    """The ledger's policy as `[health]` and `[retry]` say it."""
    health = config.health
    return Policy(
        cooling=health.cooling,
        hint_cap=health.hint_cap,
        decay_after=HOUR if health.decay else math.inf,
        half_open=health.half_open,
        keep_last=health.keep_last,
        blame_routes=health.blame_routes,
        route_429=config.retry.route_429,
    )


def provider_instance(key: str, plugin: Provider, aliases: Aliases) -> ProviderInstance:
    """Look once at what a provider can do. Raises PluginError when its dialects are none."""
    border = plugin_code("turnout.providers", key)
    if flaw := dialects_flaw(plugin):
        raise border.wrong(flaw)
    return ProviderInstance(
        key=key,
        plugin=plugin,
        aliases=aliases,
        dialects=plugin.dialects,
        translated=plugin.translated if offers(plugin, Translator) else frozenset(),
        operations={
            Operation.GENERATE: plugin.execute,
            Operation.COUNT: plugin.count if offers(plugin, Counter) else _cannot_count,
            Operation.EMBED: plugin.embed if offers(plugin, Embedder) else _cannot_embed,
        },
        refresher=plugin if offers(plugin, Refresher) else None,
        lister=plugin if offers(plugin, ModelLister) else None,
        preparer=plugin if offers(plugin, RequestPreparer) else None,
        sender=plugin if offers(plugin, Sender) else None,
        closer=plugin if offers(plugin, SessionCloser) else None,
        border=border,
    )


async def _cannot_count(_: Call) -> Reply:
    raise UpstreamFailed(CountUnsupported(message="this provider cannot count tokens"))


async def _cannot_embed(_: Call) -> Reply:
    raise UpstreamFailed(Inexpressible(message="this provider has no embeddings"))
