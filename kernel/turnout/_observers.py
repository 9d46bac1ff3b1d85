"""Events on their way to observers: each has a bounded queue and a task; a slow one loses events, counted."""

from collections.abc import Sequence
from logging import getLogger

import trio

from turnout._events import Event
from turnout._plugin_calls import plugin_code
from turnout.abc import Observer
from turnout.errors import PluginError

QUEUE = 1024
"""Events that wait for one observer at most."""

HEAR_LIMIT = 5.0
"""Seconds that one event may take (acceptance H9)."""

log = getLogger("turnout.observers")


class Listener:
    """One observer with its queue."""

    def __init__(self, name: str, observer: Observer) -> None:
        self.name = name
        self.lost = 0
        self._observer = observer
        self._send, self._receive = trio.open_memory_channel[Event](QUEUE)

    def offer(self, event: Event) -> None:
        """Queue an event; when the queue is full it is lost and counted."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.lost += 1

    async def run(self) -> None:
        """Hand events over one by one, until cancelled. What the observer raises is logged and harms nobody (O25)."""
        async for event in self._receive:
            try:
                with trio.fail_after(HEAR_LIMIT), plugin_code("turnout.observers", self.name):
                    await self._observer.hear(event)
            except (PluginError, trio.TooSlowError) as error:
                log.warning("observer %r lost %s: %s", self.name, type(event).__name__, type(error).__name__)
                self.lost += 1


def broadcast(listeners: Sequence[Listener], event: Event) -> None:
    """Queue an event for every observer. Never waits."""
    for listener in listeners:
        listener.offer(event)
