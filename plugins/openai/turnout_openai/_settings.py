"""What a `[providers.…]` table of this plugin may say, and where its requests go."""

from functools import lru_cache

import attrs
import httpx

from turnout_oauth import OAuthSettings

OPENAI = "https://api.openai.com/v1"

_PORTS = {"http": 80, "https": 443}


def _base_url(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    parsed_base(value)


@attrs.frozen(kw_only=True)
class OpenAISettings:
    """Settings of one configured provider.

    Attributes:
        base_url: where the API is; what comes after the host is kept, `/chat/completions` is added. A credential's own
            `base_url` attribute wins.
        organization: sent as `OpenAI-Organization`, empty to send none.
        project: sent as `OpenAI-Project`, empty to send none.
        oauth: how credentials without a key get their bearer token; None where every credential has a key.
    """

    base_url: str = attrs.field(default=OPENAI, validator=_base_url)
    organization: str = ""
    project: str = ""
    oauth: OAuthSettings | None = None


@lru_cache(maxsize=1024)
def parsed_base(text: str) -> httpx.URL:
    """A base URL, its path without a slash at the end; raises ValueError that says what is wrong, never the URL."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError("base_url is not a URL") from None
    if url.scheme not in _PORTS or not url.host:
        raise ValueError("base_url must be http://HOST[:PORT][/PATH] or https://…")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must hold no user, password, query or fragment: keys go into api_key")
    return url.copy_with(path=url.path.rstrip("/"))


@lru_cache(maxsize=1024)
def endpoint(base_url: str, path: str) -> httpx.URL:
    """The URL of one endpoint, such as `/models`."""
    base = parsed_base(base_url)
    return base.copy_with(path=base.path.rstrip("/") + path)


@lru_cache(maxsize=1024)
def origin_of(base_url: str) -> str:
    """`scheme://host:port` of a base URL, the port always written."""
    url = parsed_base(base_url)
    return origin_of_url(url)


def origin_of_url(url: httpx.URL) -> str:
    """`scheme://host:port` of a URL."""
    host = url.raw_host.decode("ascii").strip("[]").lower()
    shown = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown}:{url.port or _PORTS.get(url.scheme, 0)}"
