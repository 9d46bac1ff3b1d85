"""Between two passes of a call: who could serve it, and when; wait for that, or give the call's answer (design 8)."""

import math
from collections.abc import Callable, Collection
from functools import reduce

import trio

from turnout._custody import Custody
from turnout._hidden import hidden
from turnout._origins import Origins
from turnout._readings import retries
from turnout._refresh import RefreshRoom
from turnout._refusal import Waits, earliest
from turnout._run import Run
from turnout._scope import CallScope
from turnout.errors import NoCredential, PoolError, Unavailable

JITTER_SHARE, JITTER_FLOOR, JITTER_CAP = 0.1, 0.05, 1.0
"""Waiters of one recovery wake spread over a tenth of the wait, at least 50 ms and at most 1 s (O40)."""

MayRetry = Callable[[int | None], bool]
"""Whether another pass is worth a wait, for the sake of who asks for so many; None: for the global count."""


class Recovery:
    """Waits for recoveries of the credentials in one custody."""

    __slots__ = ("_custody", "_draw", "_now", "_origins", "_refresh", "_scope")

    def __init__(
        self,
        *,
        custody: Custody,
        origins: Origins,
        refresh: RefreshRoom,
        now: Callable[[], float],
        draw: Callable[[], float],
        scope: Callable[[Run], CallScope],
    ) -> None:
        self._custody = custody
        self._origins = origins
        self._refresh = refresh
        self._now = now
        self._draw = draw
        self._scope = scope

    async def wait(self, run: Run) -> None:
        """Wait until somebody could serve another pass; raises the call's answer when nobody could, or not in time.

        The answer is the last upstream failure; when nothing was called, why not.
        """
        began = trio.current_time()
        try:
            if run.refreshing and await self._refreshed(run):
                return
            now = self._now()
            at = self._soonest(run, now)
            wait = math.inf if at is None else at - now
            if wait <= run.generation.retry.max_wait and trio.current_time() + wait < run.deadline:
                with self._scope(run):
                    await trio.sleep(self._pause(run, wait))
                return
        finally:
            run.waited += trio.current_time() - began
        if run.last is None:
            nobody = self.nobody(run, now)
            raise run.unsaid if run.unsaid is not None and isinstance(nobody, NoCredential) else nobody
        run.last.until = earliest(self._recovers(run, now), self._origin_recovers(run, now))
        raise run.last

    async def _refreshed(self, run: Run) -> bool:
        """Wait while refreshes that this call has brought about are under way; gives whether somebody can serve (O48).

        That is who has been refreshed, or who recovers meanwhile: one token endpoint that hangs must not keep a call
        from everybody else.
        """
        asked, patience = run.refreshing, run.generation.retry.max_wait
        try:
            if not run.tries.may_begin_pass() or patience <= 0:
                return False
            with self._scope(run), trio.move_on_after(patience):
                while not any(self._is_ready(run, id) for id in asked):
                    now = self._now()
                    at = self._soonest(run, now)
                    if (at is not None and at <= now) or not self._refresh.are_under_way(asked):
                        return False
                    with trio.move_on_after(math.inf if at is None else self._pause(run, at - now)):
                        await self._refresh.wait_landing()
                    if at is not None and at <= self._now() and self._is_ready(run, run.ask.pin):
                        return True
                return True
            return False
        finally:
            run.refreshing = frozenset(id for id in asked if self._refresh.are_under_way([id]))

    def _pause(self, run: Run, wait: float) -> float:
        """Seconds to sleep until a recovery that is so many away: with jitter (O40), which leaves time to call."""
        spare = (run.deadline - trio.current_time() - wait) / 2
        return max(0.0, wait) + self._draw() * max(0.0, min(JITTER_CAP, max(JITTER_FLOOR, wait * JITTER_SHARE), spare))

    def _is_ready(self, run: Run, id: str | None) -> bool:
        """Whether this credential could serve a pass that begins now; None asks whether anybody could."""
        now = self._now()
        ready = self._custody.schedule.ready
        unseen, cooling = hidden(run, self._custody, now), self._origins.cooling(now)
        found = ready(run.providers, run.name.key, now, tried=unseen.keys(), pin=id, skip_origins=cooling.keys())
        return found is not None

    def _soonest(self, run: Run, now: float) -> float | None:
        """POSIX seconds at which somebody could serve this ask in another pass, None when nobody will (C8.5, O39).

        Nor for a call that was refused another try: upstreams are ill then, and thousands that wait for the end of one
        bench would come back in one second (B33).
        """
        if run.generation.retry.max_wait <= 0 or run.tries.rationed:
            return None
        may_retry = run.tries.may_begin_pass
        credentials = self._custody.credentials
        if any(may_retry(retries(credentials[id])) for id in run.kept & credentials.keys()):
            return now
        origin = self._origin_recovers(run, now) if may_retry() else None
        return earliest(self._recovers(run, now, may_retry), origin)

    def _recovers(self, run: Run, now: float, may_retry: MayRetry | None = None) -> float | None:
        """POSIX seconds at which the first credential recovers that waits for a time, as `Schedule.soonest` says it."""
        unseen, pin = hidden(run, self._custody, now), run.ask.pin
        base = run.name.key
        at = self._custody.schedule.soonest(run.providers, base, now, tried=unseen.keys(), pin=pin, may_retry=may_retry)
        credentials = self._custody.credentials
        worth = (one for id, one in unseen.items() if may_retry is None or may_retry(retries(credentials[id])))
        return earliest(at, *(one.until for one in worth))

    def _origin_recovers(self, run: Run, now: float) -> float | None:
        """POSIX seconds at which an origin recovers that alone keeps a ready credential from serving this ask (O39)."""
        cooling = self._origins.cooling(now)
        ready = self._custody.schedule.ready
        return earliest(
            *(
                until
                for origin, until in cooling.items()
                if ready(run.providers, run.name.key, now, pin=run.ask.pin, skip_origins=cooling.keys() - {origin})
            )
        )

    def nobody(self, run: Run, now: float, tried: Collection[str] = ()) -> PoolError:
        """Why nobody could be called at all (C5.12), `tried` left out.

        Who was picked and not called counts: its token could not be renewed, and it waits for a time (O15, O57).
        """
        if (until := self._origin_recovers(run, now)) is not None:
            return Unavailable(until=until)
        unseen = hidden(run, self._custody, now)
        others = (one for id, one in unseen.items() if id not in tried)
        also = reduce(Waits.beside, map(Waits.of, others), Waits())
        return self._custody.schedule.why_not(
            run.providers,
            run.name.key,
            now,
            model=run.ask.model,
            tried={*tried, *unseen},
            pin=run.ask.pin,
            also=also,
        )
