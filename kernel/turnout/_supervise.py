"""Open plugins, each in a task of its own.

A plugin's context manager may hold nurseries and cancel scopes, so it is entered, used up and left in one task
(design 8a): its supervisor, which waits to be told to stop. Closing never touches a foreign context.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from logging import getLogger
from typing import Any, Generic, TypeVar

import trio

from turnout._plugin_calls import plugin_code
from turnout.abc import PluginContext
from turnout.errors import PluginError

T = TypeVar("T")

OPEN_LIMIT = 30.0
"""Seconds that a plugin may take to open."""

CLOSE_LIMIT = 5.0
"""Seconds that a plugin may take to close before its scope is cancelled (acceptance H9)."""

log = getLogger("turnout.plugins")


class Supervisor(Generic[T]):
    """Holds one plugin open.

    Attributes:
        instance: the open plugin; valid from the end of `start` to the end of `stop`.
    """

    instance: T

    def __init__(self, cls: type[T], settings: object, context: PluginContext, failed: Callable[[str], Any]) -> None:
        self._opening = opening(cls, settings, context)
        self._context = context
        self._failed = failed
        self._told = trio.Event()
        self._closed = trio.Event()
        self._scope = trio.CancelScope()

    async def start(self, nursery: trio.Nursery) -> T:
        """Open the plugin in a task of `nursery` and give it. Raises PluginError when it fails or takes too long."""
        with trio.move_on_after(OPEN_LIMIT):
            self.instance = await nursery.start(self._hold)
            return self.instance
        raise self._broken(f"did not open within {OPEN_LIMIT:g} s")

    async def _hold(self, *, task_status: "trio.TaskStatus[T]") -> None:
        opened = False
        border = plugin_code(self._context.group, self._context.key)
        try:
            with self._scope, border:
                async with self._opening as instance:
                    opened = True
                    task_status.started(instance)
                    await self._told.wait()
                    self._scope.deadline = trio.current_time() + CLOSE_LIMIT
        except PluginError as error:
            if not opened:
                raise
            log.exception("a plugin failed while it was open")
            self._failed(str(error))
        finally:
            self._closed.set()

    async def stop(self) -> None:
        """Close the plugin, by force after a while, and wait for that."""
        self._told.set()
        await self._closed.wait()

    def _broken(self, reason: str) -> PluginError:
        return PluginError(reason, group=self._context.group, name=self._context.key)


def opening(cls: type[T], settings: object, context: PluginContext) -> AbstractAsyncContextManager[T]:
    """The context manager that opens a plugin: its own `open`, or else its constructor."""
    opener = getattr(cls, "open", None)
    if opener is not None:
        opened: AbstractAsyncContextManager[T] = opener(settings, context)
        return opened
    return _constructed(cls, settings)


@asynccontextmanager
async def _constructed(cls: type[T], settings: object) -> Any:
    yield cls() if settings is None else cls(settings)  # type: ignore[call-arg]  # declared by having `Settings`
