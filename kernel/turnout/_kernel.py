"""The kernel: the nursery tree, the order of starting and of closing, and the public calls.

    open_kernel
    ├── house        supervisors of plugins: store, observers, transport, selector, providers
    └── rooms        what lives on the open plugins: write-behind, refreshes, listings, clock, observers, frontends

When the block ends nothing is left: what is dirty is flushed, rooms are cancelled, calls ended, then plugins close in
the opposite order of opening, each in the task that opened it.
"""

import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from logging import getLogger
from typing import Any

import attrs
import trio

from turnout._affinity_records import AFFINITY, KEEPERS
from turnout._assemble import Chosen, choose, generation_of
from turnout._checks import check_opening, checked, checked_config, checked_scope, checked_stream, checked_text
from turnout._clock import Clock
from turnout._config import Config
from turnout._events import CredentialRegistered, CredentialRemoved, PluginFailed, Reloaded
from turnout._frontends import Frontends
from turnout._house import Furnished, House, close, context_of, end_sessions
from turnout._keeping import Keeping
from turnout._lasting import LastingScope
from turnout._lost import losses
from turnout._plugins import Plugins
from turnout._registry import Registry
from turnout._rooms import Rooms
from turnout._stalls import watching
from turnout._supervise import CLOSE_LIMIT, Supervisor
from turnout._switch import Switch
from turnout._values import EMPTY, Answer, Ask, Credential, Decision, Model, Operation, Readiness, Record
from turnout._write_behind import WriteBehind
from turnout.abc import AnswerStream, Change
from turnout.errors import PluginError, StoreError

PLUGINS_LIMIT = 10.0
"""Seconds that all plugins together may take to close."""

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
        self._plugins = plugins
        self._draw = draw
        self._renew = renew
        self._watch_stalls = watch_stalls
        self._clock = Clock(wall)
        rooms = Rooms(lambda: self._config, self._clock, draw)
        self.credentials = rooms.registry
        self._conductor = rooms.conductor
        self._custody = rooms.custody
        self._decisions = rooms.decisions
        self._follower = rooms.follower
        self._intake = rooms.intake
        self._listing = rooms.listing
        self._observers = rooms.observers
        self._origins = rooms.origins
        self._refresh = rooms.refresh
        self._storing = rooms.storing
        self._frontends = Frontends(sockets, draining=self._conductor.draining, told=self._tell_failed)
        self._reloading = trio.Lock()
        self._started = False
        self._house: House
        self._rooms: trio.Nursery
        self._loaded: Sequence[Credential] = ()

    # --- calls -------------------------------------------------------------------------------------------------------

    def execute(self, ask: Ask, under: LastingScope | None = None) -> Coroutine[Any, Any, Answer]:
        """Conduct a call that does not stream. Waits for the upstream; raises TurnoutError.

        `under` is the scope of a task that makes one call after another.
        """
        # and not awaited here: one coroutine less for every call
        return self._conductor.execute(checked(ask), checked_scope(under))

    def stream(self, ask: Ask, under: LastingScope | None = None) -> AbstractAsyncContextManager[AnswerStream]:
        """Conduct a streaming call: `async with` waits for the first payload, leaving closes the upstream at once.

        Raises TurnoutError: on entering, from the stream's `__anext__`, and on leaving when a limit ended the block.
        """
        return self._conductor.stream(checked_stream(ask), checked_scope(under))

    async def count(self, ask: Ask, under: LastingScope | None = None) -> Answer:
        """Count the tokens of a request. Waits; raises TurnoutError, also where the upstream cannot count."""
        ask = attrs.evolve(checked(ask), operation=Operation.COUNT)
        return await self._conductor.execute(ask, checked_scope(under))

    async def embed(self, ask: Ask, under: LastingScope | None = None) -> Answer:
        """Give embeddings. Waits; raises TurnoutError."""
        ask = attrs.evolve(checked(ask), operation=Operation.EMBED)
        return await self._conductor.execute(ask, checked_scope(under))

    # --- looking -----------------------------------------------------------------------------------------------------

    def models(self) -> Sequence[Model]:
        """What clients may ask for, sorted by name."""
        schedule = self._custody.schedule
        return self._custody.catalogue.models(
            self._clock.now(), ready=schedule.ready_count, blocked=schedule.blocked_count
        )

    def readiness(self) -> Readiness:
        """Whether calls can be served now.

        They can while the only credential is probed, too: a call that is under way may well prove that it is back, and
        a balancer that took the gateway out for the length of each probe would bring it back just for the next one.
        """
        draining = self._conductor.draining.is_set()
        problems = []
        if not self._custody.credentials:
            problems.append("no credential is configured")
        elif not any(model.ready for model in self.models()) and not self._custody.schedule.probes():
            problems.append("no credential is ready for any model")
        if draining:
            problems.append("draining")
        ready = self._started and not problems
        if self._started and self._storing.writer.failing:  # calls go on from memory
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
        return self._frontends.addresses

    # --- closing -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no new calls from now on; those under way go on. Does not wait."""
        self._conductor.draining.set()

    async def wait_drained(self) -> None:
        """After `drain`: wait until calls and frontends are done; calls still open after `drain` seconds are ended.

        A call is over before a slow client has all of its answer: frontends have as long, and a little to tell the end.
        """
        calls = self._conductor.calls
        with trio.move_on_after(self._config.drain):
            await calls.wait_gone()
            await self._frontends.wait_left()
        if calls.scopes:
            log.warning(
                "%d calls are ended: they took longer than the %g s of a drain", len(calls.scopes), self._config.drain
            )
            calls.end()
            with trio.move_on_after(CLOSE_LIMIT):
                await calls.wait_gone()
        with trio.move_on_after(CLOSE_LIMIT):
            await self._frontends.wait_left()

    # --- reload ------------------------------------------------------------------------------------------------------

    async def reload(self, config: Config) -> None:
        """Put another configuration in force as a new generation; calls under way finish on theirs (design 11).

        Plugins whose tables did not change carry over (O64). Raises InvalidAsk, ConfigError, PluginError, or StoreError
        when another store cannot be read; then nothing has changed. Waits for plugins to open.
        """
        async with self._reloading:
            chosen = choose(checked_config(config), self._plugins)
            self._frontends.check(chosen)
            old = self._conductor.generation
            furnished = await self._house.furnish(chosen, config)
            try:
                writer, records = await self._writer_of(furnished, config)
                generation = generation_of(config, furnished.instances, old.number + 1)
                change_credentials = self._intake.plan(config, generation)
            except BaseException:
                await self._house.abandon(furnished)
                raise
            retired = self._house.move_in(furnished)
            self._config, self._conductor.generation = config, generation
            self._custody.schedule.probe_after_blocks(on=config.health.half_open)
            self._custody.affinity.limit(ttl=config.affinity.ttl, entries=config.affinity.entries)
            self._tell_of(*change_credentials())
            self._storing.writer.let_go(self._intake.waiting)
            self._frontends.reconfigure(chosen)
            self._observers.follow(furnished.instances("observers"), self._rooms)
            if writer is not self._storing.writer:
                self._storing.move_to(writer, self._rooms)
                self._follower.join(records)
            await self._take_in_waiting()
            self._rooms.start_soon(self._retire, retired, old.number, name=f"retiring generation {old.number}")
            await self._listing.start(self._rooms)
            self._observers.tell(Reloaded(at=self._clock.now(), generation=generation.number))
            log.info("generation %d of the configuration is in force", generation.number)

    async def _take_in_waiting(self) -> None:
        """Look in the store for credentials that it has and that another configuration had no use for."""
        if not self._intake.waiting:
            return
        try:
            await self._storing.writer.read()
        except (StoreError, PluginError) as error:
            log.warning("credentials that only the store has wait for the next reload: %s", error)
        self._intake.waiting.difference_update(self._custody.credentials)

    async def _retire(self, retired: Sequence[Supervisor[Any]], generation: int) -> None:
        """Close plugins that nothing uses any more, once the calls that began with them are over."""
        await self._conductor.calls.wait_gone(generation)
        await end_sessions(retired)
        await close(retired)

    async def _writer_of(self, furnished: Furnished, config: Config) -> tuple[WriteBehind, Collection[Record]]:
        """Who writes to the store of this set: the one in use when it is the same store, else a new one, with records.

        The records are all that the other store has.
        """
        store = furnished.only("stores")
        if store is self._house.now.only("stores"):
            return self._storing.writer, ()
        writer = self._storing.new_writer(store, config.store)
        return writer, (await writer.load()).values()

    # --- the nursery tree --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def live(self) -> AsyncIterator["Kernel"]:
        """Everything is up when the block begins and gone when it ends; once only."""
        with _lone_errors():
            async with trio.open_nursery() as house:
                self._house = House(house, self._clock.now, self._draw, self._plugin_told)
                with self._watched(house):
                    try:
                        async with trio.open_nursery() as self._rooms:
                            await self._start(await self._open())
                            try:
                                yield self
                            finally:  # before a plugin can keep the rooms from ever ending
                                await self._storing.flush()
                            await self._observers.end()
                            self._rooms.cancel_scope.cancel()
                    finally:
                        await self._end_calls()
                        await self._close()
                        house.cancel_scope.cancel()

    def _watched(self, house: trio.Nursery) -> AbstractContextManager[None]:
        if not self._watch_stalls:
            return nullcontext()
        return watching(house, self._plugins.owner_of, lambda: self._started)

    async def _open(self) -> Sequence[Chosen]:
        """Open every plugin, then take the credentials into custody: all that the configuration and the store know."""
        chosen = choose(self._config, self._plugins)
        self._house.move_in(await self._house.furnish(chosen, self._config))
        self._conductor.generation = generation_of(self._config, self._house.now.instances, 1)
        self._storing.writer = self._storing.new_writer(self._house.now.only("stores"), self._config.store)
        records = await self._storing.writer.load()
        self._loaded = self._intake.load(self._config, self._conductor.generation, records, self._clock.now())
        kept = [record for (kind, _), record in records.items() if kind in {AFFINITY, KEEPERS}]
        self._follower.take([Change(kind=record.kind, id=record.id, record=record) for record in kept])
        return chosen

    async def _start(self, every: Sequence[Chosen]) -> None:
        """Start what lives on the open plugins, frontends last."""
        self._observers.follow(self._house.now.instances("observers"), self._rooms)
        self._tell_of(self._loaded, ())
        self._storing.start(self._rooms)
        self._rooms.start_soon(self._clock.watch, self._clock_moved, name="clock")
        self._rooms.start_soon(self._conductor.calls.watch, name="limits")
        await self._rooms.start(self._refresh.run, name="refresh")
        self._custody.changed = self._changed
        if self._renew:
            for id in self._custody.credentials:
                self._refresh.reconsider(id)
        await self._listing.start(self._rooms)
        for chosen in every:
            if chosen.group == "frontends":
                context = context_of(chosen, self._config, self._clock.now, self._draw)
                await self._frontends.start(chosen, context, self._switch(), self._rooms)
        self._started = True

    def _changed(self, id: str) -> None:
        """A credential has come, changed or gone."""
        if self._renew:
            self._refresh.reconsider(id)
        self._listing.consider(id)

    def _clock_moved(self, by: float) -> None:
        self._refresh.shift(by)  # before it is asked when each credential is due now
        self._custody.shift(by)
        self._origins.shift(by)

    def _switch(self) -> Switch:
        keeping = Keeping(self._custody, lambda: self._storing.writer)
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
            places=self._storing.limits,
        )

    async def _end_calls(self) -> None:
        """Calls of tasks that are not ours outlive the block otherwise, with plugins that are closed."""
        self.drain()
        self._conductor.calls.end()
        with trio.CancelScope(deadline=trio.current_time() + CLOSE_LIMIT, shield=True):
            await self._conductor.calls.wait_gone()

    async def _close(self) -> None:
        """Bring what has become dirty since to the store, give back leases, then close every plugin."""
        if self._started:
            if not await self._storing.flush():
                log.error("closing, although not everything could be saved")
                for loss in losses(self._custody):
                    log.error("%s", loss)
            await self._refresh.close()
        with trio.CancelScope(deadline=trio.current_time() + PLUGINS_LIMIT, shield=True):
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
        elif self._house.now.held:  # else others are still being opened
            number = self._conductor.generation.number
            self._conductor.generation = generation_of(self._config, self._house.now.instances, number)
            self._observers.follow(self._house.now.instances("observers"), self._rooms)
            self._storing.go_on_with(self._house.now.only("stores"))


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

    Raises InvalidAsk, ConfigError, PluginError or StoreError when it cannot start; then nothing is left open.
    """
    checked_config(config)
    check_opening(plugins=plugins, wall=wall, draw=draw, renew=renew, sockets=sockets, watch_stalls=watch_stalls)
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
