"""The kernel: the nursery tree, the order of starting and of closing, and the public calls.

    open_kernel
    ├── house        supervisors of plugins: store, observers, transport, selector, providers
    └── rooms        what lives on the open plugins: write-behind, refreshes, listings, clock, observers, frontends

When the block ends nothing is left: rooms are cancelled first, then what is dirty is flushed, then plugins close in
the opposite order of opening, each in the task that opened it.
"""

import os
import random
import secrets
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from logging import getLogger
from typing import Any

import attrs
import trio

from turnout._affinity import BUCKETS, Affinity
from turnout._affinity_records import AFFINITY, KEEPERS
from turnout._assemble import Chosen, choose, generation_of
from turnout._catalogue import Catalogue, Serves
from turnout._checks import checked, checked_config, checked_text
from turnout._clock import Clock
from turnout._conduct import Conductor
from turnout._config import Config
from turnout._custody import Custody
from turnout._decisions import Decisions
from turnout._events import CredentialRegistered, CredentialRemoved, PluginFailed, Reloaded, StoreFailed
from turnout._follow import Follower
from turnout._generation import Generation
from turnout._house import Furnished, House, close, context_of, end_sessions
from turnout._intake import Intake
from turnout._judge import Judge
from turnout._keeping import Keeping
from turnout._leasing import Leasing
from turnout._listing import Listing, serves_of
from turnout._observers import Observers
from turnout._origins import Origins
from turnout._plugin_calls import offers
from turnout._plugins import Plugins
from turnout._refresh import RefreshRoom
from turnout._registry import Registry
from turnout._schedule import Schedule
from turnout._served import Served
from turnout._shared_limits import SharedLimits
from turnout._stalls import watching
from turnout._supervise import CLOSE_LIMIT, Supervisor
from turnout._switch import Switch
from turnout._values import EMPTY, Answer, Ask, Credential, Decision, Model, Operation, Readiness
from turnout._write_behind import LAST_PATIENCE, STORE_LIMIT, WriteBehind
from turnout.abc import AnswerStream, Change, Leaser, Store
from turnout.errors import ConfigError

FLUSH_LIMIT = 10.0
"""Seconds that closing may spend on bringing what is dirty to the store."""

CLOCK_CHECK = 30.0
"""Seconds between two comparisons of the kernel's clock with the wall clock (design 10)."""

log = getLogger("turnout.kernel")


class Kernel:
    """Conducts calls over the credentials of one configuration. Made by `open_kernel` only.

    Attributes:
        credentials: for those who manage them while the kernel runs.
    """

    credentials: Registry

    def __init__(
        self,
        config: Config,
        plugins: Plugins,
        wall: Callable[[], float],
        draw: Callable[[], float],
        *,
        renew: bool,
        sockets: Mapping[str, Sequence[socket.socket]],
        watch_stalls: bool,
    ) -> None:
        self._config = config
        self._watch_stalls = watch_stalls
        self._renew = renew
        self._sockets = sockets
        self._plugins = plugins
        self._draw = draw
        self._clock = Clock(wall)
        self._decisions = Decisions()
        self._origins = Origins()
        self._observers = Observers()
        self._frontends: dict[str, Served] = {}
        self._limits = SharedLimits()
        self._reloading = trio.Lock()
        self._started = False
        self._custody = Custody(
            schedule=Schedule(half_open=config.health.half_open),
            catalogue=Catalogue(),
            affinity=Affinity(ttl=config.affinity.ttl, entries=config.affinity.entries),
            now=self._clock.now,
        )
        self._intake = Intake(self._custody)
        self._listing = Listing(custody=self._custody, config=lambda: self._config, generation=self._generation)
        self._house: House
        self._rooms: trio.Nursery
        self._conductor: Conductor
        self._writer: WriteBehind
        self._loaded: Sequence[Credential] = ()

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
        return self._custody.catalogue.models(
            self._clock.now(), ready=schedule.ready_count, blocked=schedule.blocked_count
        )

    def readiness(self) -> Readiness:
        """Whether calls can be served now."""
        draining = self._conductor.draining.is_set()
        problems = []
        if not self._custody.credentials:
            problems.append("no credential is configured")
        elif not any(model.ready for model in self.models()):
            problems.append("no credential is ready for any model")
        if draining:
            problems.append("draining")
        ready = self._started and not problems
        if self._started and self._writer.failing:  # calls go on from memory
            problems.append("the store does not take what changes")
        return Readiness(ready=ready, draining=draining, problems=tuple(problems))

    def explain(self, id: str) -> Decision | None:
        """The decision record of a recent call, None when it is not known any more."""
        return self._decisions.explain(checked_text(id, "id"))

    def expose(self) -> Mapping[str, str]:
        """Text that observers offer, such as metrics: media type to text."""
        return self._observers.expose()

    @property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """Addresses that frontends serve, by the key of the frontend."""
        return {key: served.addresses for key, served in self._frontends.items()}

    # --- closing -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no new calls from now on; those under way go on. Does not wait."""
        self._conductor.draining.set()

    async def wait_drained(self) -> None:
        """After `drain`: wait until calls and frontends are done; calls still open after `drain` seconds are ended."""
        calls = self._conductor.calls
        with trio.move_on_after(self._config.drain) as patience:
            await calls.wait_gone()
        if patience.cancelled_caught:
            log.warning(
                "%d calls are ended: they took longer than the %g s of a drain", len(calls.scopes), self._config.drain
            )
            calls.end()
            with trio.move_on_after(CLOSE_LIMIT):
                await calls.wait_gone()
        with trio.move_on_after(CLOSE_LIMIT):
            for served in self._frontends.values():
                await served.left.wait()

    # --- reload ------------------------------------------------------------------------------------------------------

    async def reload(self, config: Config) -> None:
        """Put another configuration in force as a new generation; calls under way finish on theirs (design 11).

        Plugins whose tables did not change carry over (O64). Raises ConfigError or PluginError; then nothing has
        changed. Waits for plugins to open.
        """
        async with self._reloading:
            chosen = choose(checked_config(config), self._plugins)
            self._check_frontends(chosen)
            old = self._conductor.generation
            furnished = await self._house.furnish(chosen, config)
            try:
                generation = generation_of(config, furnished.instances, old.number + 1)
                writer = await self._writer_of(furnished, config)
                change_credentials = self._intake.plan(config, generation)
            except BaseException:
                await self._house.abandon(furnished)
                raise
            retired = self._house.move_in(furnished)
            self._config, self._conductor.generation = config, generation
            self._custody.schedule.half_open = config.health.half_open
            self._custody.affinity.limit(ttl=config.affinity.ttl, entries=config.affinity.entries)
            self._tell_of(*change_credentials())
            for served in self._frontends.values():
                served.reconfigure(chosen)
            self._observers.follow(furnished.instances("observers"), self._rooms)
            if writer is not self._writer:
                self._writer.close()
                self._write_to(writer)
            self._rooms.start_soon(self._retire, retired, old.number, name=f"retiring generation {old.number}")
            await self._listing.start(self._rooms)
            self._observers.tell(Reloaded(at=self._clock.now(), generation=generation.number))
            log.info("generation %d of the configuration is in force", generation.number)

    def _check_frontends(self, chosen: Sequence[Chosen]) -> None:
        """Raise ConfigError if the new configuration asks a frontend for something that takes a restart."""
        wanted = {one.key: one for one in chosen if one.group == "frontends"}
        if wanted.keys() != self._frontends.keys():
            raise ConfigError(["frontends cannot be added or removed while Turnout runs; restart it for that"])
        for key, served in self._frontends.items():
            served.check(wanted[key])

    async def _retire(self, retired: Sequence[Supervisor[Any]], generation: int) -> None:
        """Close plugins that nothing uses any more, once the calls that began with them are over."""
        await self._conductor.calls.wait_gone(generation)
        await end_sessions(retired)
        await close(retired)

    async def _writer_of(self, furnished: Furnished, config: Config) -> WriteBehind:
        """Who writes to the store of this set: the one in use when it is the same store, else a new one, loaded."""
        store = furnished.only("stores")
        if self._started and store is self._house.now.only("stores"):
            return self._writer
        writer = self._new_writer(store, config)
        await writer.load()
        return writer

    def _write_to(self, writer: WriteBehind) -> None:
        """Write to this store from now on; everything worth keeping goes there."""
        self._writer = writer
        for id in self._custody.credentials:
            self._custody.dirty.mark("secret", id)
            self._custody.dirty.mark("state", id)
        buckets = [f"{number:x}" for number in range(BUCKETS)]
        self._custody.affinity.unsaved.update(buckets)
        for bucket in buckets:
            self._custody.dirty.mark(KEEPERS, bucket)
        self._live_on(writer)

    def _live_on(self, writer: WriteBehind) -> None:
        """Start what brings changes to a store and back."""
        self._rooms.start_soon(writer.run, name="write-behind")
        self._rooms.start_soon(writer.watch, name="following the store")
        self._rooms.start_soon(writer.gather, name="keeping affinity")
        self._share_limits(writer)

    def _share_limits(self, writer: WriteBehind) -> None:
        if self._limits.use(writer.store, writer.border):
            self._rooms.start_soon(self._limits.run, name="sharing limits")

    def _new_writer(self, store: Store, config: Config) -> WriteBehind:
        return WriteBehind(self._custody, store, config.store, failed=self._store_failed, follow=self._follower.take)

    # --- the nursery tree --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def live(self) -> AsyncIterator["Kernel"]:
        """Everything is up when the block begins and gone when it ends; once only."""
        with _lone_errors():
            async with trio.open_nursery() as house:
                self._house = House(house, self._clock.now, self._draw, self._plugin_told)
                with self._watched(house):
                    saved = False
                    try:
                        await self._open()
                        async with trio.open_nursery() as rooms:
                            self._rooms = rooms
                            await self._start()
                            try:
                                yield self
                            finally:  # before a plugin can keep the rooms from ever ending
                                saved = await self._flush()
                            rooms.cancel_scope.cancel()
                    finally:
                        await self._close(saved=saved)
                        house.cancel_scope.cancel()

    def _watched(self, house: trio.Nursery) -> AbstractContextManager[None]:
        if not self._watch_stalls:
            return nullcontext()
        return watching(house, self._plugins.owner_of, lambda: self._started)

    async def _open(self) -> None:
        """Open every plugin, furnish the rooms, then take the credentials into custody."""
        chosen = choose(self._config, self._plugins)
        self._house.move_in(await self._house.furnish(chosen, self._config))
        generation = generation_of(self._config, self._house.now.instances, 1)
        self._refresh = self._new_refresh_room()
        self._conductor = self._new_conductor(generation)
        self.credentials = self._new_registry()
        self._follower = self._new_follower()
        self._writer = self._new_writer(self._house.now.only("stores"), self._config)
        await self._take_into_custody(generation)

    async def _take_into_custody(self, generation: Generation) -> None:
        """Everything that the configuration and the store know."""
        records = await self._writer.load()
        self._loaded = self._intake.load(self._config, generation, records, self._clock.now())
        kept = [record for (kind, _), record in records.items() if kind in {AFFINITY, KEEPERS}]
        self._follower.take([Change(kind=record.kind, id=record.id, record=record) for record in kept])

    def _generation(self) -> Generation:
        return self._conductor.generation

    def _new_refresh_room(self) -> RefreshRoom:
        return RefreshRoom(
            custody=self._custody,
            generation=self._generation,
            now=self._clock.now,
            draw=self._draw,
            leasing=Leasing(self._custody, lambda: self._writer),
            observers=self._observers,
        )

    def _new_conductor(self, generation: Generation) -> Conductor:
        judge = Judge(
            custody=self._custody,
            origins=self._origins,
            now=self._clock.now,
            observers=self._observers,
            ask_refresh=self._refresh.ask,
        )
        return Conductor(
            custody=self._custody,
            origins=self._origins,
            judge=judge,
            generation=generation,
            clock=self._clock,
            draw=self._draw,
            new_id=lambda: secrets.token_hex(8),
            remember=self._decisions.remember,
            observers=self._observers,
            refresh=self._refresh,
        )

    def _new_registry(self) -> Registry:
        return Registry(
            custody=self._custody,
            intake=self._intake,
            generation=self._generation,
            now=self._clock.now,
            new_id=lambda: str(uuid.uuid4()),
            tell=self._observers.tell,
            save=self._save,
            read=self._read_store,
            serves=self._serves,
            refresh=self._refresh,
        )

    def _new_follower(self) -> Follower:
        return Follower(
            custody=self._custody,
            intake=self._intake,
            generation=self._generation,
            now=self._clock.now,
            hint_cap=lambda: self._config.health.hint_cap,
            tell=self._observers.tell,
            serves=self._serves,
            leased=lambda: offers(self._writer.store, Leaser),
        )

    async def _start(self) -> None:
        """Start what lives on the open plugins, frontends last."""
        self._observers.follow(self._house.now.instances("observers"), self._rooms)
        self._tell_of(self._loaded, ())
        self._live_on(self._writer)
        self._rooms.start_soon(self._watch_clock, name="clock")
        self._rooms.start_soon(self._conductor.calls.watch_idle, name="idle streams")
        await self._rooms.start(self._refresh.run, name="refresh")
        self._custody.changed = self._changed
        if self._renew:
            for id in self._custody.credentials:
                self._refresh.reconsider(id)
        await self._listing.start(self._rooms)
        for chosen in choose(self._config, self._plugins):
            if chosen.group == "frontends":
                served = self._served(chosen)
                context = context_of(chosen, self._config, self._clock.now, self._draw)
                context = attrs.evolve(context, sockets=tuple(self._sockets.get(chosen.key, ())))
                await self._rooms.start(served.run, context, name=f"frontend {chosen.key}")
                self._frontends[chosen.key] = served
        self._started = True

    def _served(self, chosen: Chosen) -> Served:
        return Served(
            chosen,
            self._switch(),
            draining=self._conductor.draining,
            alone=lambda: sum(not served.left.is_set() for served in self._frontends.values()) == 1,
            told=self._tell_failed,
        )

    def _changed(self, id: str) -> None:
        """A credential has come, changed or gone."""
        if self._renew:
            self._refresh.reconsider(id)
        self._listing.consider(id)

    async def _save(self, kind: str, id: str) -> None:
        await self._writer.save_now(kind, id)

    async def _read_store(self) -> None:
        await self._writer.read()

    def _serves(self, credential: Credential) -> Serves:
        provider = self._conductor.generation.providers[credential.provider]
        return serves_of(self._config, provider, credential, self._custody.listed.get(credential.id))

    async def _watch_clock(self) -> None:
        """Compare the two clocks now and then, and follow the wall clock when it has left ours (design 10)."""
        while True:
            await trio.sleep(CLOCK_CHECK)
            if drift := self._clock.take_anchor():
                log.warning("the wall clock has jumped by %+.0f s: cooldowns keep their remaining length", drift)
                self._custody.shift(drift)
                self._origins.shift(drift)

    def _switch(self) -> Switch:
        keeping = Keeping(self._custody, lambda: self._writer)
        return Switch(
            execute=self.execute,
            stream=self.stream,
            count=self.count,
            embed=self.embed,
            models=self.models,
            readiness=self.readiness,
            wait_draining=self._conductor.draining.wait,
            explain=self.explain,
            expose=self.expose,
            close_session=self.credentials.close_session,
            keep=keeping.keep,
            keeper=keeping.keeper,
            places=self._limits,
        )

    async def _flush(self, limit: float = FLUSH_LIMIT) -> bool:
        """Bring what is dirty to the store; gives whether all of it is there. Takes `limit` seconds at most."""
        with trio.CancelScope(deadline=trio.current_time() + limit, shield=True):
            self._writer.mark_affinity()
            return await self._writer.flush(patience=LAST_PATIENCE)
        return False

    async def _close(self, *, saved: bool) -> None:
        """Bring what has become dirty since to the store, for a moment only if it did not take the rest; then close."""
        if self._started and not await self._flush(FLUSH_LIMIT if saved else STORE_LIMIT):
            log.error("closing, although not everything could be saved")
        with trio.CancelScope(deadline=trio.current_time() + FLUSH_LIMIT, shield=True):
            await self._house.close()

    # --- telling -----------------------------------------------------------------------------------------------------

    def _tell_of(self, put: Sequence[Credential], removed: Sequence[Credential]) -> None:
        """Tell who came and who went, with a load as well (against C2.7, C3.4): who counts them must not miss one."""
        now = self._clock.now()
        for one in put:
            self._observers.tell(CredentialRegistered(at=now, credential=one.id, provider=one.provider))
        for one in removed:
            self._observers.tell(CredentialRemoved(at=now, credential=one.id, provider=one.provider))

    def _tell_failed(self, group: str, name: str, reason: str) -> None:
        self._observers.tell(PluginFailed(at=self._clock.now(), group=group, name=name, reason=reason))

    def _plugin_told(self, group: str, name: str, reason: str) -> None:
        """A plugin failed while it was open, or, without a reason, was opened again: then its new instance serves."""
        if reason:
            self._tell_failed(group, name, reason)
            return
        generation = self._conductor.generation
        self._conductor.generation = generation_of(self._config, self._house.now.instances, generation.number)
        self._observers.follow(self._house.now.instances("observers"), self._rooms)
        self._go_on_with(self._house.now.only("stores"))

    def _go_on_with(self, store: Store) -> None:
        """The store may be the one that was opened again: the instance that failed answers nobody any more."""
        if store is self._writer.store:
            return
        self._writer.go_on_with(store)
        self._rooms.start_soon(partial(self._writer.watch, anew=True), name="following the store")
        self._share_limits(self._writer)

    def _store_failed(self, kind: str, id: str, reason: str) -> None:
        self._observers.tell(StoreFailed(at=self._clock.now(), kind=kind, credential=id, reason=reason))


@asynccontextmanager
async def open_kernel(
    config: Config,
    *,
    plugins: Plugins | None = None,
    wall: Callable[[], float] = time.time,
    draw: Callable[[], float] = random.random,
    renew: bool = True,
    sockets: Mapping[str, Sequence[socket.socket]] = EMPTY,
    watch_stalls: bool = False,
) -> AsyncIterator[Kernel]:
    """Open a kernel: plugins, credentials and frontends of `config` are up when the block begins, gone when it ends.

    `plugins` is what can be named in the configuration; None means every installed plugin. `wall` reads the wall clock
    in POSIX seconds, `draw` gives random numbers in [0, 1). Without `renew` a credential is renewed only when somebody
    asks for it. `sockets` are what frontends serve on instead of binding, by their keys (`turnout.abc.Binder`).
    With `watch_stalls` a thread logs which plugin blocks the event loop, at `turnout.stalls`; `turnout run` has it on.

    Raises ConfigError, PluginError or StoreError when it cannot start; then nothing is left open.
    """
    checked_config(config)
    known = Plugins.discover(os.environ) if plugins is None else plugins
    made = Kernel(config, known, wall, draw, renew=renew, sockets=sockets, watch_stalls=watch_stalls)
    async with made.live() as kernel:
        yield kernel


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
