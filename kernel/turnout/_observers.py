"""Events on their way to observers: each has a bounded queue and a task; a slow one loses events, counted."""

import math
from collections.abc import Mapping
from logging import getLogger

import trio

from turnout._events import Event
from turnout._plugin_calls import offers, plugin_code
from turnout.abc import Exposer, Observer
from turnout.errors import TurnoutError

QUEUE = 1024
"""Events that wait for one observer at most."""

HEAR_LIMIT = 5.0
"""Seconds that one event may take (acceptance H9)."""

BATCH = 16
"""Events that are handed over in one go; between two such batches others get their turn, even if no event waits."""

log = getLogger("turnout.observers")


class Listener:
    """One observer with its queue."""

    def __init__(self, name: str, observer: Observer) -> None:
        self.name = name
        self.lost = 0
        self.observer = observer
        self._heard: Event
        self._border = plugin_code("turnout.observers", name)
        self._scope = trio.CancelScope()
        self._send, self._receive = trio.open_memory_channel[Event](QUEUE)

    def offer(self, event: Event) -> None:
        """Queue an event; when the queue is full it is lost and counted."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.lost += 1

    async def run(self) -> None:
        """Hand events over one by one, until closed. What the observer raises is logged and harms nobody (O25)."""
        with self._scope:
            while True:
                await self._hear_on()

    async def _hear_on(self) -> None:
        """Hand events over until one takes too long.

        The limit is one scope, which begins anew with each event: one of its own costs more than to hear an event.
        """
        with trio.CancelScope() as limit:
            while not limit.cancel_called:  # then it lets nobody wait any more
                limit.deadline = math.inf
                await self._hand_over(await self._receive.receive(), limit)
        if limit.cancelled_caught:
            self._lose(self._heard, f"took longer than {HEAR_LIMIT:g} s")

    async def _hand_over(self, event: Event, limit: trio.CancelScope) -> None:
        """Hand over an event and some of those behind it."""
        for left in reversed(range(BATCH)):
            limit.deadline = trio.current_time() + HEAR_LIMIT
            self._heard = event
            try:
                with self._border:
                    await self.observer.hear(event)
            except TurnoutError as error:
                self._lose(event, str(error))
            if not left or limit.cancel_called:
                return
            try:
                event = self._receive.receive_nowait()
            except trio.WouldBlock:
                return

    def _lose(self, event: Event, reason: str) -> None:
        log.warning("observer %r lost %s: %s", self.name, type(event).__name__, reason)
        self.lost += 1

    def close(self) -> None:
        """End `run`; events that still wait are lost."""
        self._scope.cancel()


class Observers:
    """Every observer's queue. False while there is none, so that events nobody hears are not even made."""

    def __init__(self) -> None:
        self._listeners: dict[str, Listener] = {}

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def tell(self, event: Event) -> None:
        """Queue an event for every observer. Never waits."""
        for listener in self._listeners.values():
            listener.offer(event)

    def follow(self, observers: Mapping[str, Observer], nursery: trio.Nursery) -> None:
        """Have a queue for each of these observers and for no other; their tasks live in `nursery`."""
        for key in [key for key, one in self._listeners.items() if observers.get(key) is not one.observer]:
            self._listeners.pop(key).close()
        for key in observers.keys() - self._listeners.keys():
            listener = self._listeners[key] = Listener(key, observers[key])
            nursery.start_soon(listener.run, name=f"observer {key}")

    def lost(self) -> Mapping[str, int]:
        """How many events each observer lost."""
        return {key: listener.lost for key, listener in self._listeners.items()}

    def expose(self) -> Mapping[str, str]:
        """Text that observers offer, media type to text; one that cannot give its own is logged and left out (H8)."""
        shown: dict[str, str] = {}
        for key, listener in self._listeners.items():
            if offers(listener.observer, Exposer):
                for media_type, text in _exposed(key, listener.observer).items():
                    shown[media_type] = shown.get(media_type, "") + text
        return shown


def _exposed(key: str, observer: Exposer) -> Mapping[str, str]:
    try:
        with plugin_code("turnout.observers", key):
            return {str(media_type): str(text) for media_type, text in observer.expose().items()}
    except TurnoutError as error:
        log.warning("observer %r has nothing to show: %s", key, error)
        return {}
