"""From the name a client asks for to the names that are sent upstream (C7.4), for one credential.

requested ── prefix off ── OAuth alias ── pool or key alias ──▶ upstream names, each with the name its
                                                               outcome is recorded under (O27, O28)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, final

import attrs

from turnout._alias_tables import (
    Channel,
    ModelEntry,
    ModelList,
    is_compatible,
    key_table,
    list_of,
    oauth_channel,
    oauth_table,
    pool_members,
)
from turnout._model_name import ModelName, parse, suffixed
from turnout._readings import account
from turnout._values import Credential

__all__ = [
    "Aliases",
    "Channel",
    "ModelEntry",
    "ModelList",
    "ModelName",
    "Naming",
    "Upstream",
    "advanced",
    "parse",
    "pool_key",
    "rotate",
]

T = TypeVar("T")

_COUNTER_WRAP = 2_147_483_640
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
"""Names come from clients, who may vary suffixes at will: what is remembered about them is bounded."""


class Upstream(NamedTuple):
    """A name to send upstream, and the name under which its outcome is recorded (C7.9 with O27, O28)."""

    model: str
    recorded: str


def pool_key(credential: Credential, name: ModelName) -> tuple[str, str, str]:
    """What a pool's counter is kept under: credential, provider key, alias; suffixes share it (C7.8)."""
    attributes = credential.attributes
    configured = attributes.get("provider_key", "").strip() or attributes.get("compat_name", "").strip()
    alias = name.without(credential.prefix).key
    return credential.id.lower(), (configured or credential.provider).lower(), alias.lower()


def raw_provider(credential: Credential) -> str:
    """Key of the provider that serves a credential's raw requests (C13.1): another one where it is compatible only."""
    name = credential.attributes.get("compat_name", "").strip()
    key = (credential.attributes.get("provider_key", "").strip() or name) if name else credential.provider
    return key.strip().lower()


def rotate(members: Sequence[T], counter: int) -> tuple[T, ...]:
    """The members of a pool, beginning with the one whose turn it is (C7.8)."""
    turn = counter % len(members) if members else 0
    return (*members[turn:], *members[:turn])


def advanced(counter: int) -> int:
    """The counter of a pool after one of its members was called (C7.8 with O29)."""
    return (counter + 1) % _COUNTER_WRAP


@final
@attrs.define(eq=False)
class Naming:
    """How the names that a credential is asked for become upstream names; shared by credentials that agree in it.

    Attributes:
        prefix: of the credential (C7.3).
        oauth: OAuth aliases of its channel, in configuration order.
        models: of the configured list that belongs to it, empty when none does.
        pools: several models may stand behind one alias (C7.7).
        keyed: it is an API key (C7.6.1).
        announced: what the catalogue last made of these rules, and of what.
    """

    prefix: str
    oauth: tuple[ModelEntry, ...]
    models: tuple[ModelEntry, ...]
    pools: bool
    keyed: bool
    announced: tuple[tuple[object, ...], Mapping[str, tuple[str, ...]]] | None = attrs.field(
        init=False, default=None, repr=False
    )
    _oauth_table: dict[str, str] = attrs.field(init=False, repr=False)
    _key_table: dict[str, str] = attrs.field(init=False, repr=False)
    _known: dict[str, tuple[Upstream, ...]] = attrs.field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._oauth_table = oauth_table(self.oauth)
        self._key_table = key_table(self.models)

    def upstreams(self, name: ModelName) -> tuple[Upstream, ...]:
        """Where a request for `name` goes; more than one is a pool, in configuration order. Never empty."""
        known = self._known.get(name.full)
        if known is None:
            known = tuple(Upstream(model, parse(model).key) for model in self._resolve(name))
            if len(name.full) <= _LONGEST_REMEMBERED:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[name.full] = known
        return known

    def _resolve(self, name: ModelName) -> Sequence[str]:
        name = self._behind_oauth_alias(name.without(self.prefix))
        if self.pools and (members := pool_members(self.models, name)):
            return members
        return (self._behind_key_alias(name) if self.keyed or self.models else name.full,)

    def _behind_oauth_alias(self, name: ModelName) -> ModelName:
        if not self._oauth_table:
            return name
        base = name.base.strip().lower()
        target = self._oauth_table.get(base) or self._oauth_table.get(name.full.strip().lower())
        return name if target is None or target.lower() == base else parse(suffixed(target, name.suffix))

    def _behind_key_alias(self, name: ModelName) -> str:
        name = parse(name.full.strip())
        target = self._key_table.get(name.base.lower())
        return suffixed(target, name.suffix) if target else next(iter(pool_members(self.models, name)), name.full)


@final
class Aliases:
    """What the configuration of one provider makes of model names, worked out once per credential (C7.6.6 with O13).

    Attributes:
        suffixed: some alias has a suffix of its own.

    Args:
        lists: of this provider, in configuration order.
        pools: repeating an alias forms a pool for every credential of this provider, not only for those that C7.7.1
            calls compatible.
        channel: OAuth alias channel that the provider declares.
        oauth: OAuth alias tables by channel (C7.5.2).
    """

    def __init__(
        self,
        lists: Sequence[ModelList] = (),
        *,
        pools: bool = False,
        channel: Channel | None = None,
        oauth: Mapping[str, Sequence[ModelEntry]] | None = None,
    ) -> None:
        self._lists = tuple(lists)
        self._pools = pools
        self._channel = channel
        self._oauth = {name.strip().lower(): tuple(models) for name, models in (oauth or {}).items()}
        every = (*(one.models for one in self._lists), *self._oauth.values())
        self.suffixed = any(parse(entry.alias.strip()).suffix is not None for models in every for entry in models)
        self._shared: dict[tuple[str, str, int, bool, bool], Naming] = {}
        self._by_id: dict[str, tuple[Credential, Naming]] = {}

    def upstreams(self, credential: Credential, name: ModelName) -> tuple[Upstream, ...]:
        """Where a request for `name` on this credential goes; more than one is a pool, in configuration order."""
        return self.of(credential).upstreams(name)

    def of(self, credential: Credential) -> Naming:
        """The rules for one credential; worked out anew when another snapshot has replaced it."""
        found = self._by_id.get(credential.id)
        if found is None or found[0] is not credential:
            found = self._by_id[credential.id] = (credential, self._naming(credential))
        return found[1]

    def forget(self, id: str) -> None:
        """Let go of a removed credential (O18)."""
        self._by_id.pop(id, None)

    def _naming(self, credential: Credential) -> Naming:
        keyed, pools = account(credential).kind == "api_key", self._pools or is_compatible(credential)
        found = list_of(credential, self._lists, keyed=keyed)
        channel = oauth_channel(credential, self._channel)
        shared = (credential.prefix, channel, id(found), pools, keyed)
        if shared not in self._shared:
            models = found.models if found else ()
            self._shared[shared] = Naming(credential.prefix, self._oauth.get(channel, ()), models, pools, keyed)
        return self._shared[shared]
