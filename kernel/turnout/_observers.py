"""Events on their way to observers: each has a bounded queue and a task; a slow one loses events, counted."""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from logging import getLogger
from typing import TypeVar

import trio

from turnout._events import Event
from turnout._plugin_calls import offers, plugin_code
from turnout.abc import BatchObserver, Exposer, Observer
from turnout.errors import TurnoutError

T = TypeVar("T")

QUEUE = 1024
"""Events that wait for one observer at most."""

HEAR_LIMIT = 5.0
"""Seconds that one event may take (acceptance H9)."""

GATHER = 0.05
"""Seconds after the first event in which others may join it: to wake a task for each call costs a tenth of the call.

With 700 calls a second, which come apart, a call costs 0.88 times what it did with 10 ms.
"""

SLACK = 0.1
"""Seconds by which a limit may come late, so that it need not be moved for each event: 2 µs."""

BATCH, LARGE_BATCH = 16, 128
"""Events that are handed over in one go; between two such batches others get their turn, even if no event waits.

The second one for a `BatchObserver`, which takes them all in one call: to count them takes 0.1 ms. When as many wait,
no others need join them.
"""

TOLD_EVERY = 60.0
"""Seconds between two lines in the log about events for which there was no room."""

FAREWELL = 1.0
"""Seconds that observers get at the end for what still waits."""

log = getLogger("turnout.observers")


class Listener:
    """One observer with its queue."""

    def __init__(self, name: str, observer: Observer) -> None:
        self.name = name
        self._lost = 0
        self.observer = observer
        self.over = trio.Event()
        self._hear_batch = observer.hear_batch if offers(observer, BatchObserver) else None
        self._heard: Sequence[Event] = ()
        self._without_room = 0
        self._told = -TOLD_EVERY
        self._border = plugin_code("turnout.observers", name)
        self._scope = trio.CancelScope()
        self._queue: deque[Event] = deque()
        self._come = trio.Event()
        self._enough = trio.Event()
        self._ending = trio.Event()

    def offer(self, event: Event) -> None:
        """Queue an event; when the queue is full it is lost, counted, and told with the next that is handed over."""
        queue = self._queue
        if not queue:
            self._come.set()
        elif len(queue) >= LARGE_BATCH:
            if len(queue) >= QUEUE:
                self._without_room += 1
                return
            self._enough.set()
        queue.append(event)

    async def run(self) -> None:
        """Hand events over one by one, until closed. What the observer raises is logged and harms nobody (O25)."""
        try:
            with self._scope:
                while self._queue or not self._ending.is_set():
                    await self._hear_on()
        finally:
            self._tell_without_room()
            if self._queue:
                self._lose(len(self._queue), "they still waited when it was closed")
            self.over.set()

    async def _hear_on(self) -> None:
        """Hand events over until one takes too long, or until all are heard at the end.

        The limit is one scope, which begins anew with each event: one of its own costs more than to hear an event.
        """
        with trio.CancelScope() as limit:
            while not limit.cancel_called:  # then it lets nobody wait any more
                limit.deadline = math.inf
                await self._gather()
                if not self._queue:
                    return
                await self._hand_over(limit)
        if limit.cancelled_caught:
            self._lose_heard(f"took longer than {HEAR_LIMIT:g} s")

    async def _gather(self) -> None:
        """Wait until events are there; those that come close together are heard together."""
        if self._queue:
            await trio.lowlevel.checkpoint()
            return
        self._come, self._enough = trio.Event(), trio.Event()
        if self._ending.is_set():
            return
        await self._come.wait()
        with trio.move_on_after(GATHER):
            await self._enough.wait()

    async def _hand_over(self, limit: trio.CancelScope) -> None:
        """Hand over some of the events that wait."""
        queue = self._queue
        if self._without_room and trio.current_time() >= self._told + TOLD_EVERY:
            self._told = trio.current_time()
            self._tell_without_room()
        if self._hear_batch is not None:
            self._heard = batch = [queue.popleft() for _ in range(min(LARGE_BATCH, len(queue)))]
            limit.deadline = trio.current_time() + HEAR_LIMIT
            await self._hear(self._hear_batch, batch)
            return
        for _ in range(min(BATCH, len(queue))):
            latest = trio.current_time() + HEAR_LIMIT
            if not latest <= limit.deadline <= latest + SLACK:
                limit.deadline = latest + SLACK
            event = queue.popleft()
            self._heard = (event,)
            await self._hear(self.observer.hear, event)
            if limit.cancel_called:
                return

    async def _hear(self, hear: Callable[[T], Awaitable[None]], what: T) -> None:
        try:
            with self._border:
                await hear(what)
        except TurnoutError as error:
            self._lose_heard(str(error))

    def _tell_without_room(self) -> None:
        count, self._without_room = self._without_room, 0
        if count:
            self._lose(count, f"it is too slow, and {QUEUE} others waited already")

    def _lose_heard(self, reason: str) -> None:
        heard = self._heard
        self._lose(len(heard), reason, type(heard[0]).__name__ if len(heard) == 1 else "")

    def _lose(self, count: int, reason: str, what: str = "") -> None:
        events = "one event" if count == 1 else f"{count} events"
        log.warning("observer %r lost %s: %s", self.name, what or events, reason)
        self._lost += count

    def end(self) -> None:
        """Hear what waits, at once, and end `run` then."""
        self._ending.set()
        self._come.set()
        self._enough.set()

    @property
    def lost(self) -> int:
        """Events that it did not hear."""
        return self._lost + self._without_room

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

    async def end(self) -> None:
        """Let every observer hear what still waits for it; waits `FAREWELL` seconds at most."""
        for listener in self._listeners.values():
            listener.end()
        with trio.move_on_after(FAREWELL):
            for listener in self._listeners.values():
                await listener.over.wait()

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
