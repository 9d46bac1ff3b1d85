"""The kernel: the nursery tree, the order of starting and of closing, and the public calls.

    open_kernel
    ├── house        supervisors of plugins: store, observers, transport, selector, providers
    └── rooms        what lives on the open plugins: write-behind, model listings, observers' queues, frontends

When the block ends nothing is left: rooms are cancelled first, then what is dirty is flushed, then plugins close in
the opposite order of opening, each in the task that opened it.
"""

import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from logging import getLogger
from typing import TypeVar

import attrs
import trio

from turnout._affinity import Affinity
from turnout._assemble import Chosen, Opened, choose, context_of, generation_of
from turnout._catalogue import Catalogue
from turnout._checks import checked
from turnout._clock import Clock
from turnout._conduct import Conductor
from turnout._config import Config, credentials_of
from turnout._custody import Custody
from turnout._decisions import Decisions
from turnout._events import CredentialRegistered, Event, PluginFailed, StoreFailed
from turnout._judge import Judge
from turnout._listing import Listing, serves_of
from turnout._observers import Listener, broadcast
from turnout._origins import Origins
from turnout._plugin_calls import plugin_code
from turnout._plugins import Plugins
from turnout._records import decode_credential, decode_state
from turnout._schedule import Schedule
from turnout._supervise import opening
from turnout._switch import Switch
from turnout._values import Answer, Ask, Decision, Model, Operation, Readiness, Record
from turnout._write_behind import WriteBehind
from turnout.abc import AnswerStream, Exposer

FLUSH_LIMIT = 10.0
"""Seconds that closing may spend on bringing what is dirty to the store."""

T = TypeVar("T")

log = getLogger("turnout.kernel")


class Kernel:
    """Conducts calls over the credentials of one configuration. Made by `open_kernel` only."""

    def __init__(self, config: Config, plugins: Plugins, wall: Callable[[], float]) -> None:
        self._config = config
        self._plugins = plugins
        self._clock = Clock(wall)
        self._opened = Opened()
        self._decisions = Decisions()
        self._origins = Origins()
        self._listeners: list[Listener] = []
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._frontends_left = trio.Event()
        self._started = False
        self._custody = Custody(
            schedule=Schedule(half_open=config.health.half_open),
            catalogue=Catalogue(),
            affinity=Affinity(ttl=config.affinity.ttl, entries=config.affinity.entries),
            now=self._clock.now,
        )
        self._chosen: list[Chosen] = []
        self._conductor: Conductor
        self._write_behind: WriteBehind | None = None

    # --- calls -------------------------------------------------------------------------------------------------------

    async def execute(self, ask: Ask) -> Answer:
        """Conduct a call that does not stream. Waits for the upstream; raises TurnoutError."""
        return await self._conductor.execute(checked(ask))

    def stream(self, ask: Ask) -> AbstractAsyncContextManager[AnswerStream]:
        """Conduct a streaming call: `async with` waits for the first payload, leaving closes the upstream at once.

        Raises TurnoutError: on entering, from the stream's `__anext__`, and on leaving when a limit ended the block.
        """
        return self._conductor.stream(checked(ask))

    async def count(self, ask: Ask) -> Answer:
        """Count the tokens of a request. Waits; raises TurnoutError, also where the upstream cannot count."""
        return await self._conductor.execute(attrs.evolve(checked(ask), operation=Operation.COUNT))

    async def embed(self, ask: Ask) -> Answer:
        """Give embeddings. Waits; raises TurnoutError."""
        return await self._conductor.execute(attrs.evolve(checked(ask), operation=Operation.EMBED))

    # --- looking -----------------------------------------------------------------------------------------------------

    def models(self) -> Sequence[Model]:
        """What clients may ask for, sorted by name."""
        schedule = self._custody.schedule
        return self._custody.catalogue.models(self._clock.now(), ready=schedule.ready_count, blocked=lambda *_: 0)

    def readiness(self) -> Readiness:
        """Whether calls can be served now."""
        draining = self._conductor.calls.draining.is_set()
        problems = []
        if not self._custody.credentials:
            problems.append("no credential is configured")
        elif not any(model.ready for model in self.models()):
            problems.append("no credential is ready for any model")
        if draining:
            problems.append("draining")
        return Readiness(ready=self._started and not problems, draining=draining, problems=tuple(problems))

    def explain(self, id: str) -> Decision | None:
        """The decision record of a recent call, None when it is not known any more."""
        return self._decisions.explain(id)

    def expose(self) -> Mapping[str, str]:
        """Text that observers offer, such as metrics: media type to text."""
        shown: dict[str, str] = {}
        for observer in self._opened.instances["observers"].values():
            if isinstance(observer, Exposer):
                for media_type, text in observer.expose().items():
                    shown[media_type] = shown.get(media_type, "") + text
        return shown

    @property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """Addresses that frontends serve, by the key of the frontend."""
        return dict(self._addresses)

    # --- closing -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no new calls from now on; those under way go on. Does not wait."""
        self._conductor.calls.drain()

    async def wait_drained(self) -> None:
        """After `drain`: wait until calls and frontends are done; calls still open after `drain` seconds are ended."""
        calls = self._conductor.calls
        with trio.move_on_after(self._config.drain) as patience:
            await calls.wait_idle()
        if patience.cancelled_caught:
            log.warning("%d calls are ended: they took longer than the %g s of a drain", len(calls), self._config.drain)
            calls.cancel()
            await calls.wait_idle()
        with trio.move_on_after(FLUSH_LIMIT):
            await self._frontends_left.wait()

    # --- the nursery tree --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def live(self) -> AsyncIterator["Kernel"]:
        """Everything is up when the block begins and gone when it ends; once only."""
        with _lone_errors():
            async with trio.open_nursery() as house:
                try:
                    await self._open(house)
                    async with trio.open_nursery() as rooms:
                        await self._start(rooms)
                        yield self
                        rooms.cancel_scope.cancel()
                finally:
                    with trio.CancelScope(deadline=trio.current_time() + FLUSH_LIMIT, shield=True):
                        await self._close()
                    house.cancel_scope.cancel()

    async def _open(self, house: trio.Nursery) -> None:
        """Open every plugin, then take the credentials into custody."""
        self._chosen = choose(self._config, self._plugins)
        for chosen in self._chosen:
            if chosen.group != "frontends":
                context = context_of(chosen, self._config, self._clock.now)
                await self._opened.open(chosen, context, house, self._plugin_failed)
        self._listeners = [Listener(key, one) for key, one in self._opened.instances["observers"].items()]
        emit = self._emit if self._listeners else None
        judge = Judge(
            custody=self._custody,
            origins=self._origins,
            now=self._clock.now,
            emit=emit,
            ask_refresh=lambda _: False,
        )
        self._conductor = Conductor(
            custody=self._custody,
            origins=self._origins,
            judge=judge,
            generation=generation_of(self._config, self._opened, 1),
            now=self._clock.now,
            draw=random.random,
            new_id=lambda: secrets.token_hex(8),
            remember=self._decisions.remember,
            emit=emit,
        )
        self._write_behind = WriteBehind(
            self._custody, self._opened.only("stores"), self._config.store, self._store_failed
        )
        await self._load(self._write_behind)

    async def _load(self, store: WriteBehind) -> None:
        """Take in the credentials of the file, then those of the store; states come from the store (C3.4, O18)."""
        records = await store.load()
        credentials = {one.id: one for one in credentials_of(self._config)}
        for (kind, id), record in records.items():
            if kind == "secret" and id not in credentials and (stored := _read(record, decode_credential)):
                credentials[id] = stored
        for credential in credentials.values():
            provider = self._conductor.generation.providers.get(credential.provider)
            if provider is None:
                log.warning(
                    "credential %s is left out: no provider %r is configured", credential.id, credential.provider
                )
                continue
            state = None
            if (kept := records.get(("state", credential.id))) is not None:
                state = _read(kept, partial(decode_state, now=self._clock.now(), cap=self._config.health.hint_cap))
            bound = attrs.evolve(credential, origin=provider.plugin.origin(credential))
            self._custody.put(bound, state=state, serves=serves_of(self._config, provider, bound))
            self._emit(CredentialRegistered(at=self._clock.now(), credential=bound.id, provider=bound.provider))

    async def _start(self, rooms: trio.Nursery) -> None:
        """Start what lives on the open plugins, frontends last."""
        if self._write_behind is not None:
            rooms.start_soon(self._write_behind.run, name="write-behind")
        for listener in self._listeners:
            rooms.start_soon(listener.run, name=f"observer {listener.name}")
        await Listing(self._config, self._custody, self._conductor.generation).start(rooms)
        await rooms.start(self._serve, name="frontends")
        self._started = True

    async def _serve(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Open and serve every frontend; each is opened and left in its own task."""
        try:
            async with trio.open_nursery() as frontends:
                for chosen in self._chosen:
                    if chosen.group == "frontends":
                        self._addresses[chosen.key] = tuple(await frontends.start(self._serve_one, chosen))
                task_status.started()
        finally:
            self._frontends_left.set()

    async def _serve_one(self, chosen: Chosen, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        context = context_of(chosen, self._config, self._clock.now)
        with plugin_code(context.group, chosen.key):
            async with opening(chosen.cls, chosen.settings, context) as frontend:
                await frontend.serve(self._switch(), task_status=task_status)

    def _switch(self) -> Switch:
        return Switch(
            execute=self.execute,
            stream=self.stream,
            count=self.count,
            embed=self.embed,
            models=self.models,
            readiness=self.readiness,
            wait_draining=self._conductor.calls.draining.wait,
            explain=self.explain,
            expose=self.expose,
        )

    async def _close(self) -> None:
        """Bring what is dirty to the store, then close the plugins."""
        if self._write_behind is not None and not await self._write_behind.flush():
            log.error("closing, although not everything could be saved")
        await self._opened.close()

    # --- telling -----------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        broadcast(self._listeners, event)

    def _plugin_failed(self, group: str, name: str, reason: str) -> None:
        self._emit(PluginFailed(at=self._clock.now(), group=group, name=name, reason=reason))

    def _store_failed(self, kind: str, id: str, reason: str) -> None:
        self._emit(StoreFailed(at=self._clock.now(), kind=kind, credential=id, reason=reason))


@asynccontextmanager
async def open_kernel(
    config: Config, *, plugins: Plugins | None = None, wall: Callable[[], float] = time.time
) -> AsyncIterator[Kernel]:
    """Open a kernel: plugins, credentials and frontends of `config` are up when the block begins, gone when it ends.

    `plugins` is what can be named in the configuration; None means every installed plugin. `wall` reads the wall clock
    in POSIX seconds. Raises ConfigError, PluginError or StoreError when it cannot start; then nothing is left open.
    """
    known = Plugins.discover(os.environ) if plugins is None else plugins
    async with Kernel(config, known, wall).live() as kernel:
        yield kernel


def _read(record: Record, decode: Callable[[bytes], T]) -> T | None:
    """What a record says; None when it is damaged: it is left where it is, and everything else goes on."""
    try:
        return decode(record.data)
    except ValueError as error:
        log.warning("the %s of %s in the store cannot be read and is left out: %s", record.kind, record.id, error)
        return None


@contextmanager
def _lone_errors() -> Iterator[None]:
    """Nurseries wrap what ends them in groups; an error that is alone in its groups is raised as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        raise error from error.__cause__
