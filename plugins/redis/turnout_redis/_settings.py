"""The table `[stores.redis]`."""

import re
import ssl
from pathlib import Path
from typing import final
from urllib.parse import unquote, urlsplit

import attrs

from turnout import Secret
from turnout_seal import KeySettings, state_folder

_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}


@final
@attrs.frozen(kw_only=True)
class Address:
    """Where a server is, and as whom we come.

    Attributes:
        tls: whether the connection is encrypted.
    """

    host: str
    port: int
    db: int
    username: str | None
    password: Secret | None
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.db}"


def parsed(url: Secret) -> Address:
    """The address in a URL; raises ValueError that shows nothing of it."""
    try:
        parts = urlsplit(url.reveal())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("url is not a URL") from None
    path = parts.path.strip("/")
    if parts.scheme not in _SCHEMES or not host or (path and not (path.isascii() and path.isdigit())):
        raise ValueError("url must be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss://… for TLS")
    return Address(
        host=host,
        port=port or 6379,
        db=int(path or 0),
        username=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        tls=_SCHEMES[parts.scheme],
    )


def _url(_: object, __: "attrs.Attribute[Secret]", value: Secret) -> None:
    parsed(value)


def _prefix(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value, re.ASCII):
        raise ValueError("prefix is 1 to 64 letters, digits, dots, dashes or underscores")


@final
@attrs.frozen(kw_only=True)
class RedisSettings(KeySettings):
    """What the store can be told, besides where its key is.

    Attributes:
        url: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`; `rediss://` for TLS.
        prefix: of every key, so that several pools can share a server.
        ca_file: PEM file of certificate authorities to trust in place of the public ones; empty for those.
    """

    url: Secret = attrs.field(default=Secret("redis://127.0.0.1:6379/0"), validator=_url)
    prefix: str = attrs.field(default="turnout", validator=_prefix)
    ca_file: str = ""

    def address(self) -> Address:
        """The server."""
        return parsed(self.url)

    def tls_context(self) -> ssl.SSLContext:
        """Certificates and host names are always verified. May wait for a disk; raises OSError."""
        return ssl.create_default_context(cafile=self.ca_file or None)

    def beside(self) -> Path:
        """What the key file is named after, when no other place is set."""
        return state_folder("redis")
