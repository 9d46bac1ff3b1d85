"""The table `oauth` that a provider takes into its own settings: where its credentials are renewed, and as whom."""

import ipaddress
from typing import Literal, final

import attrs
import httpx

from turnout import Seconds, Secret

_PORTS = {"http": 80, "https": 443}


def _token_url(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        raise ValueError("token_url is not a URL") from None
    if url.scheme not in _PORTS or not url.host or url.userinfo or url.fragment:
        raise ValueError("token_url must be https://HOST[:PORT]/PATH, without user, password or fragment")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ValueError("token_url must begin with https://, for secrets are sent there (RFC 6749, 3.2)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_id(instance: "OAuthSettings", __: "attrs.Attribute[Secret | None]", value: Secret | None) -> None:
    if value is not None and not instance.client_id:
        raise ValueError("client_secret needs a client_id")


def _scopes(_: object, __: "attrs.Attribute[tuple[str, ...]]", value: tuple[str, ...]) -> None:
    for scope in value:
        if not scope or not scope.isascii() or not scope.isprintable() or set(scope) & set(' "\\'):
            raise ValueError("a scope is one word of printable ASCII (RFC 6749, 3.3); write several as a list")


@final
@attrs.frozen(kw_only=True)
class OAuthSettings:
    """`[providers.KEY.oauth]`.

    Attributes:
        token_url: the token endpoint. Its origin is the only one that sees refresh tokens and the client's secret.
        client_id: as whom we ask; empty for service accounts.
        client_secret: None for a public client.
        client_auth: how the secret is shown: `basic`, which every server understands (RFC 6749, 2.3.1), or `post`, in
            the body.
        scopes: asked for; none leaves them to the server.
        lead: how long before its end a token is renewed.
    """

    token_url: str = attrs.field(validator=_token_url)
    client_id: str = ""
    client_secret: Secret | None = attrs.field(default=None, validator=_with_id)
    client_auth: Literal["basic", "post"] = "basic"
    scopes: tuple[str, ...] = attrs.field(default=(), validator=_scopes)
    lead: Seconds = attrs.field(default=Seconds(300.0), validator=attrs.validators.gt(Seconds(0)))

    @property
    def origin(self) -> str:
        """`scheme://host:port` of the token endpoint, the port always written."""
        url = httpx.URL(self.token_url)
        host = url.raw_host.decode("ascii").strip("[]").lower()
        shown = f"[{host}]" if ":" in host else host
        return f"{url.scheme}://{shown}:{url.port or _PORTS[url.scheme]}"
