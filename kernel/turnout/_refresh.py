"""Refreshes: one nursery, asleep until the next one is due, one at a time per credential (C11, O53 to O58).

When something is due is decided in `_due`, what a refresh leaves there and in `_ledger`; here it is done. A token that
was renewed is durable before it is used for the first time. Closing lets refreshes that are under way finish, for a
while: the upstream may have spent the old token already.
"""

import heapq
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from logging import getLogger
from typing import Any

import attrs
import trio

from turnout._custody import Custody
from turnout._due import NONE_YET, Refreshes, after_failure, after_success, due_at, interval_outlives_token, merge
from turnout._events import CredentialUpdated, RefreshFailed
from turnout._generation import Generation, ProviderInstance
from turnout._ledger import refreshed, refused_for_good
from turnout._observers import Observers
from turnout._readings import expiry, ident
from turnout._values import Credential
from turnout._verdicts import Failure, Unauthorized
from turnout.abc import HasTokenOrigin, Refresher
from turnout.errors import PluginError, UpstreamFailed

AT_ONCE = 16
"""Refreshes that run at once (C11.1.2, C18)."""

AT_ONCE_PER_ORIGIN = 10
"""Refreshes that one origin sees at once (acceptance E1)."""

LIMIT = 60.0
"""Seconds that one refresh may take."""

CLOSING_LIMIT = 10.0
"""Seconds that a refresh under way may go on when the kernel closes (acceptance H6)."""

log = getLogger("turnout.refresh")


class _Flight:
    """A refresh under way; whoever needs it waits for the same one."""

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.scope = trio.CancelScope(shield=True)
        self.failure: Failure | None = None


class RefreshRoom:
    """Keeps the credentials of one custody fresh."""

    def __init__(
        self,
        *,
        custody: Custody,
        generation: Callable[[], Generation],
        now: Callable[[], float],
        draw: Callable[[], float],
        saved: Callable[[Credential], AbstractAsyncContextManager[None]],
        observers: Observers,
    ) -> None:
        self._custody = custody
        self._generation = generation
        self._now = now
        self._draw = draw
        self._saved = saved
        self._observers = observers
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._per_origin: dict[str, trio.CapacityLimiter] = {}
        self._flights: dict[str, _Flight] = {}
        self._history: dict[str, Refreshes] = {}
        self._draws: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        self._when: dict[str, float] = {}
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None

    # --- when --------------------------------------------------------------------------------------------------------

    def reconsider(self, id: str) -> None:
        """A credential has changed, come or gone: work out anew when it is due."""
        credential = self._custody.credentials.get(id)
        at = None if credential is None else self._next_look(credential)
        if at is None:
            self._when.pop(id, None)
            if credential is None:
                self._history.pop(id, None)
                self._draws.pop(id, None)
            return
        if self._when.get(id) != at:
            self._when[id] = at
            heapq.heappush(self._due, (at, id))
        if self._due[0] == (at, id) or at <= self._now():  # the clock may have jumped past it
            self._wake.set()

    def _next_look(self, credential: Credential) -> float | None:
        """When the credential is due, or its token ends while its next try is further away (O57)."""
        at, ends = self._due_at(credential), expiry(credential)
        return at if at is None or ends is None or not self._now() < ends < at else ends

    def _due_at(self, credential: Credential) -> float | None:
        provider = self._provider(credential)
        if provider is None or provider.refresher is None:
            return None
        should = getattr(credential.runtime, "should_refresh", None)
        with provider.border:
            evaluated = None if should is None else bool(should(self._now(), credential))
        return due_at(
            credential,
            self._custody.states[credential.id],
            lead=self._lead(provider, credential),
            now=self._now(),
            refreshes=self._history.get(credential.id, NONE_YET),
            draw=self._draws.setdefault(credential.id, self._draw()),
            evaluated=evaluated,
        )

    def _lead(self, provider: ProviderInstance, credential: Credential) -> float | None:
        """Seconds before the end of a token; the runtime object's word goes before the provider's (C11.4)."""
        own = getattr(credential.runtime, "refresh_lead", None)
        with provider.border:
            if own is not None and (lead := own()) and lead > 0:
                return float(lead)
            return None if provider.refresher is None else provider.refresher.refresh_lead(credential)

    def _provider(self, credential: Credential) -> ProviderInstance | None:
        return self._generation().providers.get(credential.provider)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Refresh what is due, until cancelled; refreshes under way then finish within `CLOSING_LIMIT` seconds."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                while True:
                    await self._sleep_until_due()
                    self._start_what_is_due()
            finally:
                for flight in self._flights.values():
                    flight.scope.deadline = trio.current_time() + CLOSING_LIMIT

    async def _sleep_until_due(self) -> None:
        self._wake = trio.Event()
        pause = self._due[0][0] - self._now() if self._due else math.inf
        with trio.move_on_after(max(0.0, pause)):
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
        at, now = self._due_at(credential), self._now()
        if at is None or at <= now:
            self.ask(credential.id)
            return
        if self._history.get(credential.id, NONE_YET).failures and self.has_ended(credential):
            state = attrs.evolve(self._custody.states[credential.id], unusable_until=at)
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
        flight = self._flights[id] = _Flight()
        log.debug("%s is refreshed", ident(credential))
        self._nursery.start_soon(self._fly, flight, credential, provider, provider.refresher, name=f"refresh of {id}")
        return True

    async def wait_refreshed(self, id: str) -> Failure | None:
        """Wait for a refresh that is under way; gives why it failed. Cancelling the wait harms nobody (E3)."""
        flight = self._flights.get(id)
        if flight is None:
            return None
        await flight.landed.wait()
        return flight.failure

    def has_ended(self, credential: Credential) -> bool:
        """Whether its token has ended and could be renewed."""
        ends = expiry(credential)
        if ends is None or ends > self._now():
            return False
        provider = self._provider(credential)
        return provider is not None and provider.refresher is not None

    async def fresh(self, credential: Credential) -> Credential | None:
        """The credential, renewed first if its token has ended; None when that failed. Waits for it."""
        ends = expiry(credential) if credential.metadata is not None else None
        if ends is None or ends > self._now() or not self.ask(credential.id):
            return credential
        failure = await self.wait_refreshed(credential.id)
        return None if failure is not None else self._custody.credentials.get(credential.id)

    async def _fly(
        self, flight: _Flight, credential: Credential, provider: ProviderInstance, refresher: Refresher
    ) -> None:
        try:
            async with self._limiter_of(credential, provider, refresher), self._limiter:
                with flight.scope:
                    flight.scope.deadline = min(flight.scope.deadline, trio.current_time() + LIMIT)
                    await self._refresh(flight, credential.id, provider, refresher)
                if flight.scope.cancelled_caught:
                    self._failed(flight, credential.id, Failure(message=f"took longer than {LIMIT:g} s"))
        finally:
            del self._flights[credential.id]
            flight.landed.set()
            self._draws.pop(credential.id, None)
            self.reconsider(credential.id)

    def _limiter_of(
        self, credential: Credential, provider: ProviderInstance, refresher: Refresher
    ) -> trio.CapacityLimiter:
        try:
            with provider.border:
                origin = _bound(credential, refresher).origin
        except PluginError:
            origin = credential.origin  # the refresh itself fails in the same way, and tells
        return self._per_origin.setdefault(origin, trio.CapacityLimiter(AT_ONCE_PER_ORIGIN))

    async def _refresh(self, flight: _Flight, id: str, provider: ProviderInstance, refresher: Refresher) -> None:
        given = self._custody.credentials.get(id)
        if given is None or given.disabled:
            return
        generation = self._generation()
        try:
            with provider.border:
                bound = _bound(given, refresher)
                transport = generation.transport.for_credential(bound) if generation.transport is not None else None
                result = _sound(await refresher.refresh(given, transport))
        except UpstreamFailed as failure:
            self._failed(flight, id, failure.verdict)
            return
        except PluginError as error:
            self._failed(flight, id, Failure(message=str(error)))
            return
        await self._adopt(id, provider, given, result)

    async def _adopt(self, id: str, provider: ProviderInstance, given: Credential, result: Credential | None) -> None:
        """Keep what was renewed, then use it (E4)."""
        now = self._now()
        current = self._custody.credentials.get(id)
        if current is None:
            return
        async with self._saved(merge(current, result, given=given, now=now)):
            before, current = current, self._custody.credentials.get(id)
            if current is not None:
                self._put(merge(current, result, given=given, now=now), provider, now, kept=current is before)

    def _put(self, renewed: Credential, provider: ProviderInstance, now: float, *, kept: bool) -> None:
        """Put a renewed credential in force; `kept` says that the store has this very snapshot."""
        id = renewed.id
        lead = self._lead(provider, renewed)
        self._history[id] = after_success(self._history.get(id, NONE_YET), renewed, lead=lead, now=now)
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

    def _failed(self, flight: _Flight, id: str, failure: Failure) -> None:
        flight.failure = failure
        credential = self._custody.credentials.get(id)
        if credential is None:
            return
        now = self._now()
        self._history[id] = after_failure(self._history.get(id, NONE_YET), now)
        state = self._custody.states[id]
        reason = failure.message or failure.code
        if isinstance(failure, Unauthorized):
            state = refused_for_good(state, reason, now)
        at = None if state.needs_login else self._due_at(credential)
        ends = expiry(credential)
        if at is not None and ends is not None and ends <= now:  # until then it serves (E8)
            state = attrs.evolve(state, unusable_until=at)
        self._custody.settle(id, state, None)
        log.warning("%s could not be refreshed: %s", ident(credential), reason)
        if self._observers:
            event: Any = RefreshFailed(at=now, credential=id, provider=credential.provider, reason=reason, next_try=at)
            self._observers.tell(event)


def _bound(credential: Credential, refresher: Refresher) -> Credential:
    """The credential as the transport of its refresh sees it: bound to where tokens are given, and nowhere else."""
    if not isinstance(refresher, HasTokenOrigin):
        return credential
    return attrs.evolve(credential, origin=refresher.token_origin(credential))


def _sound(result: object) -> Credential | None:
    if result is None or isinstance(result, Credential):
        return result
    raise TypeError(f"gave a {type(result).__name__} where a Credential is due")
