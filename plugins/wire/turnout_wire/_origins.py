"""Where an API is: base URLs, the URLs of its endpoints, and the origin that a credential may be sent to."""

from functools import lru_cache

import httpx

_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=1024)
def parsed_base(text: str) -> httpx.URL:
    """A base URL, its path without a slash at the end; raises ValueError that says what is wrong, never the URL."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError("base_url is not a URL") from None
    if url.scheme not in _PORTS or not url.host:
        raise ValueError("base_url must be http://HOST[:PORT][/PATH] or https://…")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("base_url names a port that no host has")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must hold no user, password, query or fragment: keys go into api_key")
    return url.copy_with(path=url.path.rstrip("/"))


@lru_cache(maxsize=1024)
def endpoint(base_url: str, path: str) -> httpx.URL:
    """The URL of one endpoint, such as `/models`; the path may have a query."""
    base = parsed_base(base_url)
    return base.copy_with(raw_path=(base.path.rstrip("/") + path).encode("ascii"))


@lru_cache(maxsize=1024)
def origin_of(base_url: str) -> str:
    """`scheme://host:port` of a base URL, the port always written."""
    return origin_of_url(parsed_base(base_url))


def origin_of_url(url: httpx.URL) -> str:
    """`scheme://host:port` of a URL."""
    host = url.raw_host.decode("ascii").strip("[]").lower()
    shown = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown}:{url.port or _PORTS.get(url.scheme, 0)}"
