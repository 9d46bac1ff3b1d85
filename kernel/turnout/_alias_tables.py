"""What the configuration says about model names, compiled into tables (C7.5 to C7.7).

Only these tables are looked up ignoring case: they are the operator's own shorthand.
"""

from collections.abc import Iterable, Sequence
from typing import final

import attrs

from turnout._model_name import ModelName, split, suffixed
from turnout._readings import account
from turnout._values import Credential, Secret

_COMPATIBLE = "openai-compatibility"


@final
@attrs.frozen
class ModelEntry:
    """A line of a `models` table.

    Attributes:
        name: name upstream; may carry a thinking suffix.
        alias: name that clients use; empty when it is the same.
        fork: in an OAuth alias table: the original name stays visible beside its aliases (C16.8).
    """

    name: str
    alias: str = ""
    fork: bool = False


@final
@attrs.frozen(kw_only=True)
class ModelList:
    """The models that the configuration lists for some credentials: an entry of C7.6 or C7.7.

    Attributes:
        credential: id of the only credential that it is for; empty for those that the other fields match.
        name: of an OpenAI-compatible entry (C7.7.1), or of a provider for all of whose credentials it is, whatever
            their kind; empty for one that belongs to a key.
        api_key: the key it belongs to (C7.6.2).
        base_url: where that key is used; empty for anywhere.
        models: in configuration order.
    """

    credential: str = ""
    name: str = ""
    api_key: Secret | None = None
    base_url: str = ""
    models: tuple[ModelEntry, ...] = attrs.field(default=(), converter=tuple[ModelEntry, ...])


@final
@attrs.frozen
class Channel:
    """Which OAuth alias table the credentials of a provider use (C7.5.1); declared by the provider.

    Attributes:
        name: of the channel.
        keys: whether API keys use it too.
    """

    name: str
    keys: bool = False


def oauth_channel(credential: Credential, channel: Channel | None) -> str:
    """The OAuth alias channel of a credential; empty when it has none (C7.5.1)."""
    if channel is None:
        return ""
    kind = credential.attributes.get("auth_kind", "").strip().lower()
    is_key = kind == "apikey" or (not kind and account(credential).kind == "api_key")
    return "" if is_key and not channel.keys else channel.name.strip().lower()


def is_compatible(credential: Credential) -> bool:
    """Whether it belongs to an OpenAI-compatible entry (C7.7.1)."""
    return credential.provider == _COMPATIBLE or bool(credential.attributes.get("compat_name", "").strip())


def list_of(credential: Credential, lists: Sequence[ModelList], *, keyed: bool) -> ModelList | None:
    """The list that belongs to a credential: its own, else by name, else by key if it is one; None without any."""
    own = next((one for one in lists if one.credential == credential.id), None)
    common = [one for one in lists if not one.credential]
    found = own or list_by_name(credential, common)
    return list_by_key(credential, common) if found is None and keyed else found


def list_by_name(credential: Credential, lists: Iterable[ModelList]) -> ModelList | None:
    """The first list named like the credential's `compat_name`, `provider_key` or provider (C7.7.1)."""
    attributes = credential.attributes
    names = (attributes.get("compat_name", ""), attributes.get("provider_key", ""), credential.provider)
    wanted = {name.strip().lower() for name in names} - {""}
    return next((one for one in lists if one.name.strip().lower() in wanted), None)


def list_by_key(credential: Credential, lists: Sequence[ModelList]) -> ModelList | None:
    """The list that belongs to a key or base URL (C7.6.2); keys compare exactly, base URLs ignoring case (O31)."""
    key, base = _trimmed(credential.api_key), _folded(credential.attributes.get("base_url", ""))
    if not key:
        return next((one for one in lists if base and _folded(one.base_url) == base), None)
    same_key = [one for one in lists if _trimmed(one.api_key) == key]
    same_both = (one for one in same_key if _folded(one.base_url) == base)
    return next(same_both, same_key[0] if same_key else None)


def oauth_table(models: Iterable[ModelEntry]) -> dict[str, str]:
    """Lower-cased alias to upstream name (C7.5.2): the first of repeated aliases counts."""
    table: dict[str, str] = {}
    for model in models:
        alias, name = _folded(model.alias), model.name.strip()
        if alias and name and alias != name.lower():
            table.setdefault(alias, name)
    return table


def key_table(models: Iterable[ModelEntry]) -> dict[str, str]:
    """Lower-cased base name of an alias, or of an upstream name, to the upstream name as configured (C7.6.3).

    All aliases come before the upstream names' own lines (O30), so none is lost to one of those.
    """
    table: dict[str, str] = {}
    for model in models:
        alias, name = model.alias.strip(), model.name.strip()
        if alias and name:
            table.setdefault(_base(alias), name)
    for name in [*table.values()]:
        table.setdefault(_base(name), name)
    return table


def pool_members(models: Sequence[ModelEntry], name: ModelName) -> tuple[str, ...]:
    """Upstream names behind an alias, in configuration order (C7.7.2), or else the one model so named (C7.7.3)."""
    asked = {_folded(text): text.strip() for text in (name.base, name.full) if text.strip()}
    by_alias = ((model.name.strip(), asked.get(_folded(model.alias))) for model in models)
    members = [suffixed(named or text, name.suffix) for named, text in by_alias if text]
    if not members:
        named = (model.name.strip() for model in models if _folded(model.name) in asked)
        members = [suffixed(text, name.suffix) for text in named][:1]
    unique: dict[str, str] = {}
    for member in members:
        unique.setdefault(member.lower(), member)
    return tuple(unique.values())


def _folded(text: str) -> str:
    return text.strip().lower()


def _base(name: str) -> str:
    return split(name)[0].lower()


def _trimmed(secret: Secret | None) -> str:
    return secret.reveal().strip() if secret else ""
