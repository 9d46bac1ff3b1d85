"""One renewal: the right to it, the upstream's answer, and the new token kept, in this order (E2, E4, E6, E7).

What comes next at each turn is decided in `_renewal`; here it is done.
"""

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from turnout._checks import checked_credential
from turnout._custody import Custody
from turnout._due import merge
from turnout._generation import Generation, ProviderInstance
from turnout._leasing import Kept, Leasing
from turnout._plugin_calls import offers, plugin_code
from turnout._renewal import Held, Right, Step, after_refusal, mark_of, next_step, replaced, tokens
from turnout._values import Credential
from turnout._verdicts import Failure, Unauthorized
from turnout.abc import HasTokenOrigin, Refresher
from turnout.errors import InvalidAsk, PluginError, UpstreamFailed


class Flight:
    """A renewal under way; whoever needs it waits for the same one.

    Attributes:
        given: the credential as it was when its renewal was wanted, or was begun.
        result: what the upstream gave, once it has; None also where that is the credential as it was.
        in_hand: the upstream has answered.
        step: where it got with that, if its time was over while it was kept.
        insists: somebody asked for it although only a person was said to be able to renew it.
        landed: it is over.
        news: something about the credential has changed.
        failure: why it failed.
    """

    def __init__(self, given: Credential, *, insists: bool) -> None:
        self.given = given
        self.result: Credential | None = None
        self.in_hand = False
        self.step = Step.WAIT
        self.insists = insists
        self.landed = trio.Event()
        self.news = trio.Event()
        self.failure: Failure | None = None
        self.scope = trio.CancelScope()


class Ends(Protocol):
    """What a renewal leaves in force."""

    def renewed(self, credential: Credential, provider: ProviderInstance, now: float, *, kept: bool) -> None:
        """A renewed credential; `kept` says that the store has this very snapshot."""
        ...

    def failed(self, flight: Flight, failure: Failure) -> None:
        """A failure of the upstream."""
        ...


class Renewer:
    """Renews credentials of one custody."""

    def __init__(
        self,
        *,
        custody: Custody,
        generation: Callable[[], Generation],
        now: Callable[[], float],
        leasing: Leasing,
        ends: Ends,
    ) -> None:
        self._custody = custody
        self._generation = generation
        self._now = now
        self._leasing = leasing
        self._ends = ends
        self._unjudged: dict[
            str, tuple[str, Unauthorized]
        ] = {}  # marks of refused secrets, until the store can be read

    async def attempt(self, flight: Flight, provider: ProviderInstance, refresher: Refresher) -> Step:
        """Get as far as can be got now; gives the step at which it ended."""
        async with self._leasing.hold(flight.given) as held:
            step = self._next(flight, held)
            if step is Step.RENEW:
                step = await self._renew(flight, held, provider, refresher)
            if step is Step.KEEP:
                step = await self._keep(flight, held, provider)
            return step

    def forget(self, id: str) -> None:
        """A credential is gone."""
        self._unjudged.pop(id, None)

    def _next(self, flight: Flight, held: Held) -> Step:
        id = flight.given.id
        found = self._custody.credentials.get(id)
        refused = found is not None and bool(self._custody.states[id].needs_login) and not flight.insists
        return next_step(
            held, given=flight.given, found=found, now=self._now(), in_hand=flight.in_hand, refused=refused
        )

    async def _renew(self, flight: Flight, held: Held, provider: ProviderInstance, refresher: Refresher) -> Step:
        """Ask the upstream, unless it has refused this very token already (E7): then only the store is asked again."""
        given = flight.given = self._custody.credentials[flight.given.id]
        mark, verdict = self._unjudged.get(given.id, ("", None))
        if verdict is not None and mark == mark_of(given):
            return await self._refused(flight, held, verdict)
        return await self._ask_upstream(flight, held, provider, refresher)

    async def _ask_upstream(self, flight: Flight, held: Held, provider: ProviderInstance, refresher: Refresher) -> Step:
        given = flight.given
        generation = self._generation()
        try:
            with provider.border:
                bound = bound_to_tokens(given, refresher, provider.border)
                transport = generation.transport.for_credential(bound) if generation.transport is not None else None
                flight.result = _sound(await refresher.refresh(given, transport), given, provider.border)
        except UpstreamFailed as failure:
            if isinstance(failure.verdict, Unauthorized):
                return await self._refused(flight, held, failure.verdict)
            self._ends.failed(flight, failure.verdict)
            return Step.LEAVE
        except PluginError as error:
            self._ends.failed(flight, Failure(message=str(error)))
            return Step.LEAVE
        flight.in_hand = True
        if flight.result is not None and tokens(flight.result) != tokens(given):
            self._custody.spend(given)
        return Step.KEEP

    async def _refused(self, flight: Flight, held: Held, verdict: Unauthorized) -> Step:
        """The token was refused: it may have been spent by somebody who was faster (E7)."""
        id = flight.given.id
        self._unjudged[id] = mark_of(flight.given), verdict
        if held.right is Right.HELD:
            held = attrs.evolve(held, read=await self._leasing.read(id))
        step = after_refusal(held, given=flight.given, found=self._custody.credentials.get(id))
        if step is not Step.POSTPONE:
            self.forget(id)
        if step is Step.REFUSED:
            self._ends.failed(flight, verdict)
            if held.right is Right.HELD:
                await self._leasing.tell(id)
        return step

    async def _keep(self, flight: Flight, held: Held, provider: ProviderInstance) -> Step:
        """Keep what was renewed, then use it (E4). Another login that has come meanwhile stands."""
        id, now = flight.given.id, self._now()
        current = self._custody.credentials.get(id)
        if current is None:
            return Step.LEAVE
        if replaced(flight.given, flight.result, current):
            return Step.ADOPT
        renewed = merge(current, flight.result, given=flight.given, now=now)
        try:
            async with self._leasing.saved(renewed, flight.given, held) as kept:
                if kept is Kept.SUPERSEDED:
                    return Step.ADOPT
                if kept is Kept.LOST:
                    return Step.WAIT
                return self._put_in_force(flight, provider, now, saved=current if kept is Kept.SAVED else None)
        except trio.Cancelled:  # while the store writes, but the old token is spent: what came for it must not go too
            if self._leasing.owe(id, held):
                flight.step = self._put_in_force(flight, provider, now, saved=None)
            raise

    def _put_in_force(
        self, flight: Flight, provider: ProviderInstance, now: float, *, saved: Credential | None
    ) -> Step:
        """Use what was renewed; `saved` is the credential on top of which it was saved, None where it was not."""
        current = self._custody.credentials.get(flight.given.id)
        if current is not None:
            if replaced(flight.given, flight.result, current):
                return Step.ADOPT
            renewed = merge(current, flight.result, given=flight.given, now=now)
            self._ends.renewed(renewed, provider, now, kept=current is saved)
        return Step.KEEP


def bound_to_tokens(credential: Credential, refresher: Refresher, border: plugin_code) -> Credential:
    """The credential as the transport of its refresh sees it: bound to where tokens are given, and nowhere else."""
    if not offers(refresher, HasTokenOrigin):
        return credential
    return attrs.evolve(credential, origin=border.origin(refresher.token_origin(credential), "token_origin"))


def _sound(result: object, given: Credential, border: plugin_code) -> Credential | None:
    """What a refresh gave, if it can be used and kept; raises PluginError for anything else (H10)."""
    if result is None:
        return None
    try:
        renewed = checked_credential(result)
    except InvalidAsk as error:
        raise border.wrong(f"`refresh` gave what cannot be used: {error}") from None
    if (renewed.id, renewed.provider) != (given.id, given.provider):
        raise border.wrong(f"`refresh` was handed {given.id!r} and gave {renewed.id!r} of {renewed.provider!r}")
    return renewed
