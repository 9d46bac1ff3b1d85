"""Open plugins, each in a task of its own, and open them again when they fail.

A plugin's context manager may hold nurseries and cancel scopes, so it is entered, used up and left in one task
(design 8a): its supervisor, which waits to be told to stop. Closing never touches a foreign context. A plugin without
an `open` of its own holds nothing, and takes no task.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from logging import getLogger
from typing import Any, Generic, TypeVar

import trio

from turnout._plugin_calls import plugin_code
from turnout._plugin_check import lacking
from turnout.abc import PluginContext
from turnout.errors import PluginError, TurnoutError

T = TypeVar("T")

OPEN_LIMIT = 30.0
"""Seconds that a plugin may take to open."""

CLOSE_LIMIT = 5.0
"""Seconds that a plugin may take to close before its scope is cancelled (acceptance H9)."""

RESTARTS = 5
"""How often a plugin that fails while it is open is opened again (acceptance H8)."""

RESTART_FLOOR, RESTART_CAP = 1.0, 60.0
"""Seconds until it is opened again: doubled each time (acceptance H8)."""

log = getLogger("turnout.plugins")


class Supervisor(Generic[T]):
    """Holds one plugin open.

    Attributes:
        instance: the plugin as it was opened last.
        broken: why it is not open any more, empty while it is.
        border: where code of the plugin is called.
    """

    instance: T

    def __init__(
        self,
        open_plugin: Callable[[], AbstractAsyncContextManager[T]],
        context: PluginContext,
        told: Callable[[str], Any],
    ) -> None:
        self.broken = ""
        self._open_plugin = open_plugin
        self.border = plugin_code(context.group, context.key)
        self._context = context
        self._tell = told
        self._stop = trio.Event()
        self._closed = trio.Event()
        self._scope = trio.CancelScope()

    def make(self, maker: Callable[[], T]) -> None:
        """Take a plugin that is not opened, only made. Raises PluginError when that fails."""
        with self.border:
            self.instance = maker()
        self._closed.set()

    async def start(self, nursery: trio.Nursery) -> T:
        """Open the plugin in a task of `nursery` and give it. Raises PluginError when it fails or takes too long."""
        with trio.move_on_after(OPEN_LIMIT):
            await nursery.start(self._hold, name=f"{self._context.group} {self._context.key}")
            return self.instance
        reason = f"did not open within {OPEN_LIMIT:g} s"
        raise PluginError(reason, group=self._context.group, name=self._context.key)

    async def _hold(self, *, task_status: "trio.TaskStatus[None]") -> None:
        try:
            with self._scope:
                await self._hold_until_stopped(task_status)
        finally:
            self._closed.set()

    async def _hold_until_stopped(self, task_status: "trio.TaskStatus[None]") -> None:
        opened = False
        pause = RESTART_FLOOR
        for left in range(RESTARTS, -1, -1):
            try:
                with self.border:
                    async with self._open_plugin() as self.instance:
                        self.broken = ""
                        if opened:
                            self._tell("")
                        else:
                            task_status.started()
                            opened = True
                        await self._stop.wait()
                        self._scope.deadline = trio.current_time() + CLOSE_LIMIT
            except TurnoutError as error:
                if not opened:
                    raise
                self.broken = f"{error}; {'opened again soon' if left else 'given up'}"
                log.error("a plugin failed while it was open: %s", self.broken)  # noqa: TRY400 # texts may hold secrets
                self._tell(self.broken)
            if self._stop.is_set():
                return
            with trio.move_on_after(pause):
                await self._stop.wait()
                return
            pause = min(2 * pause, RESTART_CAP)

    async def stop(self) -> None:
        """Close the plugin, by force after a while, and wait for that."""
        self._stop.set()
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + 2 * CLOSE_LIMIT)
        await self._closed.wait()


@asynccontextmanager
async def opening(cls: type[T], settings: object, context: PluginContext) -> AsyncIterator[T]:
    """The context manager that opens a plugin: its own `open`, or else its constructor.

    Raises PluginError when `open` is no such thing, or gives what is no plugin of its group.
    """
    opener = getattr(cls, "open", None)
    if opener is None:
        yield constructed(cls, settings)
        return
    wrong = plugin_code(context.group, context.key).wrong
    opened: AbstractAsyncContextManager[T] = opener(settings, context)
    if not isinstance(opened, AbstractAsyncContextManager):
        raise wrong(f"its `open` gave a {type(opened).__name__}, no async context manager: is its decorator missing?")
    async with opened as plugin:
        if missing := lacking(context.group, plugin):
            raise wrong(f"its `open` yields a {type(plugin).__name__}, which lacks {', '.join(missing)}")
        yield plugin


def constructed(cls: type[T], settings: object) -> T:
    """A plugin made by its constructor, which takes settings where its class declares `Settings`."""
    return cls() if settings is None else cls(settings)  # type: ignore[call-arg]  # declared by having `Settings`
