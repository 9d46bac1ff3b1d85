"""What a kernel hands to the frontend `http`, for tests that open it, or its application, without one."""

import logging

import trio

from turnout.abc import Limits, PluginContext


def http_context(*, drain: float = 60.0, log: logging.Logger | None = None) -> PluginContext:
    """The context on Trio's clock, in a run of Trio; `log` is the plugin's own unless given."""
    return PluginContext(
        key="http",
        group="turnout.frontends",
        limits=Limits(),
        drain=drain,
        now=trio.current_time,
        draw=lambda: 0.5,
        log=log or logging.getLogger("turnout.frontends.http"),
    )
