"""Providers and credentials as the file lists them, and the credentials that they make."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, final

import attrs

from turnout._names import ModelEntry
from turnout._readings import stable_index
from turnout._values import EMPTY, Credential, Metadata, Secret, refuse_all
from turnout.errors import InvalidAsk

_COMPUTED = frozenset(
    {
        "priority",
        "websockets",
        "base_url",
        "excluded_models",
        "provider_key",
        "compat_name",
        "api_key",
        "source",
        "path",
        "metadata_seed",
        "of_file",
    }
)
"""Attributes that have a key of their own, or that the kernel makes: under `attributes` they would be overwritten."""

SEED = "metadata_seed"
"""Attribute of a credential whose entry has metadata and no key: a digest of the refresh token in it, or of all of it.

While it stays the same, tokens that were renewed since go on, over restarts and reloads; an entry with another login
begins anew.
"""

OF_FILE = "of_file"
"""Attribute of a credential that a file lists: what a store has of it serves nobody where the file lists it no more."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST_PRIORITY = 1_000_000_000


def _trimmed_prefix(text: str) -> str:
    return text.strip().strip("/").strip() if isinstance(text, str) else text


def _one_segment(_: object, attribute: Any, value: str) -> None:
    if "/" in value:
        raise ValueError(f"a {attribute.name} is one word without a / inside (C15.1)")


def _usable_key(_: object, attribute: Any, value: Secret | None) -> None:
    if value is None:
        return
    text = value.reveal()
    if not text.strip():
        raise ValueError(f"it is empty; leave {attribute.name} out where the upstream wants none")
    if text != text.strip() or _CONTROL.search(text):
        raise ValueError("it has spaces around it or control characters inside, which no upstream accepts")


def _proxy(_: object, __: Any, value: Secret | None) -> None:
    if value is not None and not re.match(r"[a-z][a-z0-9+.-]*://\S+\Z", value.reveal()):
        raise ValueError('a proxy is written like "http://host:port" or "socks5://user:password@host:port"')


def _http_url(_: object, __: Any, value: str) -> None:
    if value and not re.match(r"https?://[^\s/?#]+[^\s?#]*\Z", value):
        raise ValueError('expected a URL such as "https://api.example.com/v1", without query')
    if (port := re.match(r"https?://[^/]*:(\d+)(?:/|\Z)", value)) and not 0 < int(port[1]) < 65536:
        raise ValueError("the port of a URL lies between 1 and 65535")


def _headers(_: object, attribute: Any, value: Mapping[str, str]) -> None:
    flaws = ((name, _header_flaw(name, text)) for name, text in value.items())
    refuse_all([InvalidAsk(flaw, argument=f"{attribute.name}.{name}") for name, flaw in flaws if flaw])


def _header_flaw(name: str, text: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        return "a header's name consists of letters, digits and - only"
    return f"the header {name} has control characters in its value" if _CONTROL.search(text) else ""


def _not_computed(_: object, __: Any, value: Mapping[str, str]) -> None:
    dead = [name for name in value if name in _COMPUTED or name.startswith("header:")]
    if dead:
        names = " and ".join(dead)
        raise ValueError(f"{names} never takes effect here; it is computed from the credential's other keys")


def _in_range(_: object, __: Any, value: int | None) -> None:
    if value is not None and abs(value) > _LARGEST_PRIORITY:
        raise ValueError(f"a priority lies between -{_LARGEST_PRIORITY} and {_LARGEST_PRIORITY}")


def _not_blank(_: object, attribute: Any, value: str) -> None:
    if value != value.strip() or _CONTROL.search(value):
        raise ValueError(f"{attribute.name} has spaces around it or control characters inside")


@final
@attrs.frozen(kw_only=True)
class CredentialEntry:
    """One `[[providers.KEY.credentials]]`.

    Attributes:
        name: becomes the credential's id, so it is unique in the whole file; empty: the id is made by C1.7.
        api_key: None where the upstream wants none.
        base_url: beats the provider's; empty for that one.
        priority: higher is better; None for the provider's.
        prefix: of its model names; empty for the provider's.
        websockets: whether it can serve websocket asks (C1.12.2); None: not said.
        headers: extra request headers, as attributes `header:NAME`.
        models: what it serves; empty for the provider's models.
        excluded_models: patterns, on top of the provider's (C16.8).
        attributes: further attributes of C1.17.
        metadata: overrides of C1.11 and whatever the provider plugin reads.
    """

    name: str = attrs.field(default="", validator=_not_blank)
    api_key: Secret | None = attrs.field(default=None, validator=_usable_key)
    base_url: str = attrs.field(default="", validator=_http_url)
    proxy_url: Secret | None = attrs.field(default=None, validator=_proxy)
    priority: int | None = attrs.field(default=None, validator=_in_range)
    prefix: str = attrs.field(default="", converter=_trimmed_prefix, validator=_one_segment)
    label: str = ""
    websockets: bool | None = None
    disabled: bool = False
    headers: Mapping[str, str] = attrs.field(default=EMPTY, validator=_headers, repr=False)
    models: tuple[ModelEntry, ...] = ()
    excluded_models: tuple[str, ...] = ()
    attributes: Mapping[str, str] = attrs.field(default=EMPTY, validator=_not_computed)
    metadata: Metadata | None = None


@final
@attrs.frozen(kw_only=True)
class ProviderTable:
    """One `[providers.KEY]`: the keys that are the kernel's. The others belong to the plugin's `Settings`.

    Attributes:
        key: its name everywhere: lower case.
        plugin: name of the plugin; the key when empty.
        pools: a repeated alias forms a pool (C7.7); when False the first one wins (C7.6.3).
        prefix, priority: for credentials without their own.
        excluded_models: patterns, for all of its credentials, also those that are not from the file.
    """

    key: str
    plugin: str = attrs.field(default=attrs.Factory(lambda self: self.key, takes_self=True))
    pools: bool = True
    prefix: str = attrs.field(default="", converter=_trimmed_prefix, validator=_one_segment)
    priority: int = attrs.field(default=0, validator=_in_range)
    excluded_models: tuple[str, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    credentials: tuple[CredentialEntry, ...] = ()

    @property
    def compat_name(self) -> str:
        """Its key when it speaks through another one's plugin, as every look-alike does (C7.7.1); else empty."""
        return self.key if self.plugin != self.key else ""


def credential_of(table: ProviderTable, entry: CredentialEntry) -> Credential:
    """The credential that an entry makes: attributes by C1.17, index by C1.7.

    The `source` holds no position: an id that depended on it would hand one key's cooldowns to another when
    entries change places.
    """
    unnamed = Credential(
        id=entry.name or table.key,
        provider=table.key,
        api_key=entry.api_key,
        label=entry.label,
        prefix=entry.prefix or table.prefix,
        proxy_url=entry.proxy_url,
        disabled=entry.disabled,
        attributes=_attributes(table, entry),
        metadata=entry.metadata,
    )
    index = stable_index(unnamed)
    return attrs.evolve(unnamed, id=entry.name or f"{table.key}-{index}", index=index)


def placed(credential: Credential, *, in_file: bool) -> Credential:
    """The credential, marked as one that a file lists, or not so; the very object where it says that already."""
    if (OF_FILE in credential.attributes) is in_file:
        return credential
    others = {name: text for name, text in credential.attributes.items() if name != OF_FILE}
    return attrs.evolve(credential, attributes=others | ({OF_FILE: "true"} if in_file else {}))


def _digest(metadata: Metadata) -> str:
    login = metadata.get("refresh_token", dict(metadata))
    text = json.dumps(login, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _attributes(table: ProviderTable, entry: CredentialEntry) -> dict[str, str]:
    said = {
        "priority": str(table.priority if entry.priority is None else entry.priority),
        "base_url": entry.base_url,
        "provider_key": table.key,
        "compat_name": table.compat_name,
        "source": f"config:{table.key}",
        "auth_kind": "apikey" if entry.api_key else "",
        "websockets": "" if entry.websockets is None else str(entry.websockets).lower(),
        "excluded_models": ",".join((*table.excluded_models, *entry.excluded_models)),
        SEED: "" if entry.metadata is None or entry.api_key else _digest(entry.metadata),
    }
    headers = {f"header:{name}": text for name, text in entry.headers.items()}
    return {key: text for key, text in said.items() if text} | headers | dict(entry.attributes)
