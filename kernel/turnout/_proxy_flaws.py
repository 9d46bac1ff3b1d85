"""Proxies that the transport cannot use: told when a configuration is checked or a credential comes in."""

from collections.abc import Iterator

from turnout._config import Config
from turnout._plugin_calls import offers, plugin_code
from turnout._problems import Problem
from turnout._values import Secret
from turnout.abc import ProxyJudge

UNSAID = "the transport does not say that it can use proxies: take this one away, or use another transport"


def proxy_flaw(transport: object, proxy: Secret | None, border: plugin_code) -> str:
    """Why this transport, or one of this class, cannot use a credential's proxy; empty when it can, or there is none.

    One that does not say so may never look at it, and send the credential's secret past the proxy that was wanted.
    """
    if proxy is None or transport is None:
        return ""
    if not offers(transport, ProxyJudge):
        return UNSAID
    with border:
        return border.text(transport.proxy_flaw(proxy), "proxy_flaw")


def proxy_problems(config: Config, transport: type) -> Iterator[Problem]:
    """Every proxy of the file that transports of this class cannot use. Raises PluginError."""
    border = plugin_code("turnout.transports", config.transport)
    for table in config.providers:
        for number, entry in enumerate(table.credentials):
            if flaw := proxy_flaw(transport, entry.proxy_url, border):
                yield Problem(("providers", table.key, "credentials", number, "proxy_url"), flaw, secret=True)
