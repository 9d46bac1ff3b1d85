"""The rooms of one kernel, each made with what it needs of the others. None of them does anything yet."""

import secrets
import uuid
from collections.abc import Callable

from turnout._affinity import Affinity
from turnout._catalogue import Catalogue, Serves
from turnout._clock import Clock
from turnout._conduct import Conductor
from turnout._config import Config
from turnout._custody import Custody
from turnout._decisions import Decisions
from turnout._events import StoreFailed
from turnout._follow import Follower
from turnout._generation import Generation
from turnout._intake import Intake
from turnout._judge import Judge
from turnout._leasing import Leasing
from turnout._listing import Listing, serves_of
from turnout._observers import Observers
from turnout._origins import Origins
from turnout._plugin_calls import offers
from turnout._refresh import RefreshRoom
from turnout._registry import Registry
from turnout._schedule import Schedule
from turnout._storing import Storing
from turnout._values import Credential
from turnout._write_behind import WriteBehind
from turnout.abc import Leaser


class Rooms:
    """Everything of a kernel but its plugins. What depends on those asks for it when it is needed."""

    def __init__(self, config: Callable[[], Config], clock: Clock, draw: Callable[[], float]) -> None:
        """`config` gives the configuration in force."""
        self._config = config
        self._draw = draw
        self.clock = clock
        self.decisions = Decisions()
        self.origins = Origins()
        self.observers = Observers()
        self.custody = custody_of(config(), clock)
        self.intake = Intake(self.custody)
        self.listing = Listing(custody=self.custody, config=config, generation=self.generation)
        self.follower = self._new_follower()
        self.storing = Storing(self.custody, failed=self._store_failed, follow=self.follower.take)
        self.refresh = self._new_refresh_room()
        self.conductor = self._new_conductor()
        self.registry = self._new_registry()

    def generation(self) -> Generation:
        """The one in force; there is one from when the plugins are open."""
        return self.conductor.generation

    def writer(self) -> WriteBehind:
        """Who writes to the store in use."""
        return self.storing.writer

    def _serves(self, credential: Credential) -> Serves:
        provider = self.generation().providers[credential.provider]
        return serves_of(self._config(), provider, credential, self.custody.listed.get(credential.id))

    def _store_failed(self, kind: str, id: str, reason: str) -> None:
        self.observers.tell(StoreFailed(at=self.clock.now(), kind=kind, credential=id, reason=reason))

    def _new_follower(self) -> Follower:
        return Follower(
            custody=self.custody,
            intake=self.intake,
            generation=self.generation,
            now=self.clock.now,
            hint_cap=lambda: self._config().health.hint_cap,
            tell=self.observers.tell,
            serves=self._serves,
            leased=lambda: offers(self.writer().store, Leaser),
        )

    def _new_refresh_room(self) -> RefreshRoom:
        return RefreshRoom(
            custody=self.custody,
            generation=self.generation,
            now=self.clock.now,
            draw=self._draw,
            leasing=Leasing(self.custody, self.writer),
            observers=self.observers,
        )

    def _new_conductor(self) -> Conductor:
        judge = Judge(
            custody=self.custody,
            origins=self.origins,
            now=self.clock.now,
            observers=self.observers,
            ask_refresh=self.refresh.ask_refused,
        )
        return Conductor(
            custody=self.custody,
            origins=self.origins,
            judge=judge,
            clock=self.clock,
            draw=self._draw,
            new_id=lambda: secrets.token_hex(8),
            remember=self.decisions.remember,
            observers=self.observers,
            refresh=self.refresh,
            pending=self.listing.pending,
        )

    def _new_registry(self) -> Registry:
        return Registry(
            custody=self.custody,
            intake=self.intake,
            generation=self.generation,
            now=self.clock.now,
            new_id=lambda: str(uuid.uuid4()),
            tell=self.observers.tell,
            writer=self.writer,
            serves=self._serves,
            refresh=self.refresh,
        )


def custody_of(config: Config, clock: Clock) -> Custody:
    """An empty custody, with the schedule, the catalogue and the table of preferences that it keeps in step."""
    return Custody(
        schedule=Schedule(half_open=config.health.half_open),
        catalogue=Catalogue(),
        affinity=Affinity(ttl=config.affinity.ttl, entries=config.affinity.entries),
        now=clock.now,
    )
