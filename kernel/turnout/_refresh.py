"""Refreshes: one nursery, asleep until the next one is due, one at a time per credential (C11, O53 to O58).

When something is due is decided in `_due`, what a refresh leaves there and in `_ledger`; `_renew` does it. A token that
was renewed is durable before it is used for the first time. Closing lets refreshes that are under way finish, for a
while: the upstream may have spent the old token already. Where somebody else renews the same credential, its outcome is
waited for.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from logging import getLogger
from typing import Any

import attrs
import trio

from turnout._custody import Custody
from turnout._due import (
    NONE_YET,
    Refreshes,
    after_failure,
    after_success,
    due_at,
    interval_outlives_token,
    next_allowed,
)
from turnout._events import CredentialUpdated, RefreshFailed
from turnout._generation import Generation, ProviderInstance
from turnout._leasing import LEASE, Leasing
from turnout._ledger_renewals import refresh_failed, refreshed, refused_for_good
from turnout._observers import Observers
from turnout._readings import expiry, ident
from turnout._renew import Flight, Renewer, bound_to_tokens
from turnout._renewal import Step, mark_of
from turnout._values import Credential
from turnout._verdicts import Failure, Sent, Unauthorized
from turnout.abc import Refresher
from turnout.errors import PluginError, TurnoutError

AT_ONCE = 16
"""Refreshes that run at once (C11.1.2, C18)."""

AT_ONCE_PER_ORIGIN = 10
"""Refreshes that one origin sees at once (acceptance E1)."""

LIMIT = 60.0
"""Seconds that one refresh may take."""

LEAST_SLEEP = 0.001
"""Seconds. What is left may be less than Trio's clock can add to its time: waking at once, for ever, would follow."""

LOOK_AGAIN = 1.0
"""Seconds until a lease that somebody else holds, or a store that is away, is looked at again."""

PATIENCE = LEASE + LIMIT
"""Seconds after which those who wait for somebody else's renewal are told that it failed."""

CLOSING_LIMIT = 10.0
"""Seconds that a refresh under way may go on when the kernel closes (acceptance H6)."""

log = getLogger("turnout.refresh")


class RefreshRoom:
    """Keeps the credentials of one custody fresh."""

    def __init__(
        self,
        *,
        custody: Custody,
        generation: Callable[[], Generation],
        now: Callable[[], float],
        draw: Callable[[], float],
        leasing: Leasing,
        observers: Observers,
    ) -> None:
        self._custody = custody
        self._generation = generation
        self._now = now
        self._draw = draw
        self._leasing = leasing
        self._renewer = Renewer(custody=custody, generation=generation, now=now, leasing=leasing, ends=self)
        self._observers = observers
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._per_origin: dict[str, trio.CapacityLimiter] = {}
        self._flights: dict[str, Flight] = {}
        self._history: dict[str, Refreshes] = {}
        self._draws: dict[str, float] = {}
        self._postponed: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        self._when: dict[str, float] = {}
        self._wake = trio.Event()
        self._landed = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None

    # --- when --------------------------------------------------------------------------------------------------------

    def reconsider(self, id: str) -> None:
        """A credential has changed, come or gone: work out anew when it is due."""
        credential = self._custody.credentials.get(id)
        if (flight := self._flights.get(id)) is not None:
            flight.news.set()
        at = None if credential is None else self._next_look(credential)
        if at is None:
            self._when.pop(id, None)
            if credential is None:
                self._history.pop(id, None)
                self._draws.pop(id, None)
                self._postponed.pop(id, None)
                self._renewer.forget(id)
            return
        if at <= self._now():  # the clock may have jumped past it
            self._wake.set()
        if self._when.get(id) == at:
            return
        self._when[id] = at
        heapq.heappush(self._due, (at, id))
        if self._due[0] == (at, id):
            self._wake.set()

    def shift(self, by: float) -> None:
        """The clock has jumped by so many seconds: who waits for the store waits as long as before (E13)."""
        self._postponed = {id: at + by for id, at in self._postponed.items()}

    def _next_look(self, credential: Credential) -> float | None:
        """When the credential is due, or its token ends while its next try is further away (O57)."""
        at, ends = self._due_at(credential), expiry(credential)
        if ends is None or ends <= self._now():
            return at
        if at is None:
            return ends if self._history.get(credential.id, NONE_YET).failures else None
        return min(at, ends)

    def _due_at(self, credential: Credential) -> float | None:
        provider = self._provider(credential)
        if provider is None or provider.refresher is None:
            return None
        at = due_at(
            credential,
            self._custody.states[credential.id],
            lead=self._lead(provider, credential),
            now=self._now(),
            refreshes=self._history.get(credential.id, NONE_YET),
            draw=self._drawn(credential.id),
            evaluated=self._evaluated(provider, credential),
        )
        return None if at is None else max(at, self._postponed.get(credential.id, at))

    def _next_try(self, credential: Credential) -> float:
        """When it is due, and where nothing but a call makes it so, when the pace lets a call do that (E8)."""
        at = self._due_at(credential)
        return self._allowed(credential, self._history.get(credential.id, NONE_YET)) if at is None else at

    def _allowed(self, credential: Credential, refreshes: Refreshes) -> float:
        return next_allowed(credential, refreshes, now=self._now(), draw=self._drawn(credential.id))

    def _drawn(self, id: str) -> float:
        return self._draws.setdefault(id, self._draw())

    def _evaluated(self, provider: ProviderInstance, credential: Credential) -> bool | None:
        """What the runtime object says about its being due; None when it says nothing, or fails (H8)."""
        should = getattr(credential.runtime, "should_refresh", None)
        try:
            with provider.border:
                return None if should is None else bool(should(self._now(), credential))
        except TurnoutError as error:
            log.warning("%s: nothing says whether it is due: %s", ident(credential), error)
            return None

    def _lead(self, provider: ProviderInstance, credential: Credential) -> float | None:
        """Seconds before the end of a token; the runtime object's word goes before the provider's (C11.4).

        None, as from a provider that renews only when asked to, where saying it fails (H8).
        """
        own = getattr(credential.runtime, "refresh_lead", None)
        try:
            with provider.border:
                if own is not None and (lead := own()) and lead > 0:
                    return float(lead)
                lead = None if provider.refresher is None else provider.refresher.refresh_lead(credential)
                return None if lead is None else float(lead)
        except TurnoutError as error:
            log.warning("%s is renewed only when asked to: %s", ident(credential), error)
            return None

    def _provider(self, credential: Credential) -> ProviderInstance | None:
        return self._generation().providers.get(credential.provider)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Refresh what is due, until cancelled; refreshes under way then finish within `CLOSING_LIMIT` seconds."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                while True:
                    await self._sleep_until_due()
                    self._start_what_is_due()
            finally:
                self._nursery = None  # whoever asks from now on is told that none is begun
                for flight in self._flights.values():
                    flight.scope.deadline = trio.current_time() + CLOSING_LIMIT

    async def close(self) -> None:
        """Give back the leases that are still held, when `run` has ended and what is in memory only has been saved."""
        await self._leasing.close()

    async def _sleep_until_due(self) -> None:
        self._wake = trio.Event()
        pause = self._due[0][0] - self._now() if self._due else math.inf
        with trio.move_on_after(max(LEAST_SLEEP, pause)):
            await self._wake.wait()

    def _start_what_is_due(self) -> None:
        now = self._now()
        while self._due and self._due[0][0] <= now:
            at, id = heapq.heappop(self._due)
            if self._when.get(id) == at:
                del self._when[id]
                self._look(self._custody.credentials[id])

    def _look(self, credential: Credential) -> None:
        """Refresh what is due. What is not has a token that has just ended: it rests until its next try."""
        at = self._due_at(credential)
        if at is not None and at <= self._now():
            self.ask(credential.id)
            return
        if self._history.get(credential.id, NONE_YET).failures and self.has_ended(credential):
            state = attrs.evolve(self._custody.states[credential.id], unusable_until=self._next_try(credential))
            self._custody.settle(credential.id, state, None)
        self.reconsider(credential.id)

    # --- doing it ----------------------------------------------------------------------------------------------------

    def ask(self, id: str) -> bool:
        """Have a credential refreshed now, if it can be; gives whether a refresh of it is under way. Does not wait."""
        credential = self._custody.credentials.get(id)
        if id in self._flights:
            return True
        provider = None if credential is None else self._provider(credential)
        if self._nursery is None or credential is None or provider is None or provider.refresher is None:
            return False
        insists = bool(self._custody.states[id].needs_login)
        flight = self._flights[id] = Flight(credential, insists=insists)
        log.debug("%s is refreshed", ident(credential))
        self._nursery.start_soon(self._fly, flight, provider, provider.refresher, name=f"refresh of {id}")
        return True

    def ask_refused(self, id: str) -> bool:
        """An upstream has refused its token: have it refreshed (O48); gives whether a refresh of it is under way.

        None is begun right after the last one: what is refused as soon as it came is not mended by another token
        (E9, B23). Nor in the pause after one that failed (E8).
        """
        credential = self._custody.credentials.get(id)
        if credential is None or id in self._flights:
            return credential is not None
        # how little the last ones gained by the clock does not count: that they are needed is known now
        refreshes = attrs.evolve(self._history.get(id, NONE_YET), idle=0)
        return self._allowed(credential, refreshes) <= self._now() and self.ask(id)

    async def wait_refreshed(self, id: str) -> Failure | None:
        """Wait for a refresh that is under way; gives why it failed. Cancelling the wait harms nobody (E3)."""
        flight = self._flights.get(id)
        if flight is None:
            return None
        await flight.landed.wait()
        return flight.failure

    def are_under_way(self, ids: Iterable[str]) -> bool:
        """Whether one of these credentials is being refreshed."""
        return any(id in self._flights for id in ids)

    async def wait_landing(self) -> None:
        """Wait until any refresh is over, however it went."""
        await self._landed.park()

    def has_ended(self, credential: Credential) -> bool:
        """Whether its token has ended and could be renewed."""
        ends = expiry(credential)
        if ends is None or ends > self._now():
            return False
        provider = self._provider(credential)
        return provider is not None and provider.refresher is not None

    def ask_if_ended(self, credential: Credential) -> bool:
        """Have it renewed if its token has ended; gives whether `fresh` would wait for that. Does not wait."""
        ends = expiry(credential) if credential.metadata is not None else None
        if ends is None or ends > self._now() or self._was_renewed_lately(credential):
            return False
        return self.ask(credential.id)

    async def fresh(self, credential: Credential) -> Credential | None:
        """The credential, renewed first if its token has ended; None when that failed. Waits for it.

        One that was renewed lately serves as it is, though by our clock its token has ended already: another one would
        have, too, and the upstream may see it otherwise (E9).
        """
        if not self.ask_if_ended(credential):
            return credential
        failure = await self.wait_refreshed(credential.id)
        return None if failure is not None else self._custody.credentials.get(credential.id)

    def _was_renewed_lately(self, credential: Credential) -> bool:
        """Whether the pace after its last success allows no other refresh yet; one under way is waited for."""
        refreshes = self._history.get(credential.id, NONE_YET)
        if credential.id in self._flights or refreshes.failures:
            return False
        return self._allowed(credential, refreshes) > self._now()

    async def _fly(self, flight: Flight, provider: ProviderInstance, refresher: Refresher) -> None:
        id, patience = flight.given.id, trio.current_time() + PATIENCE
        try:
            while True:
                async with self._limiter_of(flight.given, provider, refresher), self._limiter:
                    step = await self._attempt(flight, provider, refresher)
                if step is not Step.WAIT or trio.current_time() > patience:
                    break
                await self._wait_for_others(flight)
            self._land(flight, step)
        finally:
            del self._flights[id]
            flight.landed.set()
            self._landed.unpark_all()
            self._draws.pop(id, None)
            self.reconsider(id)
            await self._leasing.settle(id)

    async def _attempt(self, flight: Flight, provider: ProviderInstance, refresher: Refresher) -> Step:
        flight.scope = trio.CancelScope(shield=True, deadline=trio.current_time() + LIMIT)
        with flight.scope:
            return await self._renewer.attempt(flight, provider, refresher)
        if flight.in_hand:
            return flight.step
        self.failed(flight, Failure(message=f"took longer than {LIMIT:g} s"))
        return Step.LEAVE

    async def _wait_for_others(self, flight: Flight) -> None:
        """Somebody else is renewing it: wait for what that brings, or for its lease to end."""
        with trio.move_on_after(LOOK_AGAIN * (0.5 + self._draw())):
            await flight.news.wait()
        flight.news = trio.Event()

    def _land(self, flight: Flight, step: Step) -> None:
        """Tell those who wait how it ended, where that is not told yet."""
        id = flight.given.id
        if id not in self._custody.credentials:
            return
        if step is Step.ADOPT:
            self._history.pop(id, None)
            log.debug("%s was renewed elsewhere", ident(flight.given))
        elif step is Step.REFUSED and flight.failure is None:
            flight.failure = Unauthorized(message=self._custody.states[id].needs_login, sent=Sent.NO)
        elif step in {Step.POSTPONE, Step.WAIT}:
            self._postpone(flight, step)

    def _postpone(self, flight: Flight, step: Step) -> None:
        """It is tried again soon; a token that has ended cannot serve until then."""
        id = flight.given.id
        why = "the store is away" if step is Step.POSTPONE else "somebody else has the lease for too long"
        flight.failure = Failure(message=f"not renewed now: {why}", sent=Sent.NO)
        at = self._postponed[id] = self._now() + LOOK_AGAIN
        if self.has_ended(self._custody.credentials[id]):
            state = attrs.evolve(self._custody.states[id], unusable_until=at)
            self._custody.settle(id, state, None, kept=True)

    def _limiter_of(
        self, credential: Credential, provider: ProviderInstance, refresher: Refresher
    ) -> trio.CapacityLimiter:
        try:
            with provider.border:
                origin = bound_to_tokens(credential, refresher, provider.border).origin
        except PluginError:
            origin = credential.origin  # the refresh itself fails in the same way, and tells
        return self._per_origin.setdefault(origin, trio.CapacityLimiter(AT_ONCE_PER_ORIGIN))

    def renewed(self, credential: Credential, provider: ProviderInstance, now: float, *, kept: bool) -> None:
        """Put a renewed credential in force; `kept` says that the store has this very snapshot."""
        id, renewed = credential.id, credential
        lead = self._lead(provider, renewed)
        self._postponed.pop(id, None)
        says, before = self._evaluated(provider, renewed), self._history.get(id, NONE_YET)
        self._history[id] = after_success(before, renewed, lead=lead, now=now, evaluated=says)
        state = refreshed(self._custody.states[id], now)
        if state.unusable_until is not None:
            state = attrs.evolve(state, unusable_until=None)
        self._custody.put(renewed, state=state, kept=kept)
        self._custody.dirty.mark("state", id)
        log.debug("%s is renewed", ident(renewed))
        if interval_outlives_token(renewed):
            log.warning("%s: its refresh interval is longer than its token lives", ident(renewed))
        if self._observers:
            self._observers.tell(CredentialUpdated(at=now, credential=id, provider=renewed.provider))

    def failed(self, flight: Flight, failure: Failure) -> None:
        """Put in force what a failure of the upstream means: growing gaps, or that only a person can help."""
        flight.failure = failure
        id = flight.given.id
        credential = self._custody.credentials.get(id)
        if credential is None:
            return
        now = self._now()
        self._history[id] = after_failure(self._history.get(id, NONE_YET), now)
        reason = failure.message or failure.code
        state = refresh_failed(self._custody.states[id], reason)
        if isinstance(failure, Unauthorized):
            state = refused_for_good(state, reason, now, secret=mark_of(credential))
        at = None if state.needs_login else self._next_try(credential)
        ends = expiry(credential)
        if at is not None and ends is not None and ends <= now:  # until then it serves (E8)
            state = attrs.evolve(state, unusable_until=at)
        self._custody.settle(id, state, None)
        log.warning("%s could not be refreshed: %s", ident(credential), reason)
        if self._observers:
            event: Any = RefreshFailed(at=now, credential=id, provider=credential.provider, reason=reason, next_try=at)
            self._observers.tell(event)
