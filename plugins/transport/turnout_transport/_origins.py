"""Origins: where a credential may be sent, parsed once."""

import ipaddress
from typing import Self

import attrs
import httpx

DEFAULT_PORTS = {"http": 80, "https": 443}


@attrs.frozen(kw_only=True)
class Origin:
    """Scheme, host and port, in the form that requests are compared with.

    Attributes:
        host: ASCII (IDNA), lower case, an IPv6 literal without its brackets.
        authority: what goes into the `Host` field: the port only where it is not the scheme's own.
    """

    scheme: str
    host: str
    port: int
    authority: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `scheme://host[:port]`; raises ValueError that says what is wrong."""
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as exc:
            raise ValueError(f"not a usable origin: {exc}") from exc
        if url.scheme not in DEFAULT_PORTS or not url.host:
            raise ValueError("an origin is http://host[:port] or https://host[:port]")
        if not 0 < port_of(url) < 65536:
            raise ValueError("an origin has a port between 1 and 65535")
        if url.userinfo or url.query or url.fragment or url.path not in {"", "/"}:
            raise ValueError("an origin has no user, path, query or fragment")
        host = url.raw_host.decode("ascii").strip("[]").lower()
        return cls(scheme=url.scheme, host=host, port=port_of(url), authority=url.netloc)

    def covers(self, url: httpx.URL) -> bool:
        """Whether a request for this URL stays at the origin (S11)."""
        return (
            url.raw_scheme.decode("ascii") == self.scheme
            and url.raw_host.decode("ascii").strip("[]").lower() == self.host
            and port_of(url) == self.port
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def port_of(url: httpx.URL) -> int:
    """The port a URL means."""
    return DEFAULT_PORTS.get(url.scheme, 0) if url.port is None else url.port


def is_local(host: str) -> bool:
    """Whether a host of an origin is this one, as far as its name says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
