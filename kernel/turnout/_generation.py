"""One generation of the configuration with the plugin instances that serve it.

A reload builds a new generation beside the old one; a call keeps the generation it began with to its end (design 11).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from turnout._attempts import Retry
from turnout._cooldown import Policy
from turnout._names import Aliases
from turnout._plugin_calls import plugin_code
from turnout._sections import Hedge
from turnout._values import Call, Operation, Reply
from turnout.abc import (
    Limits,
    ModelLister,
    Provider,
    Refresher,
    RequestPreparer,
    Selector,
    Sender,
    SessionCloser,
    Transport,
)


@attrs.frozen(kw_only=True, eq=False)
class ProviderInstance:
    """A configured provider: its plugin instance, and what was found out about it once, when it was opened."""

    key: str
    plugin: Provider
    aliases: Aliases
    dialects: frozenset[str]
    translated: frozenset[str]
    operations: Mapping[Operation, Callable[[Call], Awaitable[Reply]]]
    refresher: Refresher | None
    lister: ModelLister | None
    preparer: RequestPreparer | None
    sender: Sender | None
    closer: SessionCloser | None
    border: plugin_code

    def speaks(self, dialect: str) -> bool:
        """Whether asks in this dialect can be handed to it; an ask that names none goes to every provider."""
        return not dialect or not self.dialects or dialect in self.dialects

    def takes(self, dialect: str) -> bool:
        """Whether it does not speak the dialect, but translates asks in it."""
        return dialect in self.translated and not self.speaks(dialect)


@attrs.frozen(kw_only=True, eq=False)
class Generation:
    """What a call needs from configuration and plugins, fixed for its whole life.

    Attributes:
        affinity: sessions prefer the credential they used before.
        prefer_tier: a ready credential of a higher tier goes before that one (O5).
        held_bytes: of a stream before its first payload, at most, beside twice the request's size.
        hedge: None when nobody hedges.
        observe: hears outcomes for a selector that learns, None when it does not.
        transport: None only where every provider is scripted.
    """

    number: int
    retry: Retry
    policy: Policy
    limits: Limits
    affinity: bool
    prefer_tier: bool
    held_bytes: int
    hedge: Hedge | None
    providers: Mapping[str, ProviderInstance]
    selector: Selector
    selector_border: plugin_code
    observe: Callable[..., Any] | None
    transport: Transport | None
    transport_border: plugin_code
