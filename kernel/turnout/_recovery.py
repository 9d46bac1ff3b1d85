"""Between two passes of a call: who could serve it, and when; wait for that, or give the call's answer (design 8)."""

from collections.abc import Callable, Collection
from functools import reduce

import trio

from turnout._custody import Custody
from turnout._hidden import hidden
from turnout._origins import Origins
from turnout._readings import retries
from turnout._refresh import RefreshRoom
from turnout._refusal import Waits, earliest
from turnout._run import NOBODY, Run
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
        retry = run.generation.retry
        if run.tries.may_begin_pass() and retry.max_wait > 0 and await self._refreshed(run, retry.max_wait):
            return
        now = self._now()
        if (at := self._soonest(run, now)) is not None:
            wait = max(0.0, at - now)
            if wait <= retry.max_wait and trio.current_time() + wait < run.deadline:
                wait += self._draw() * min(JITTER_CAP, max(JITTER_FLOOR, wait * JITTER_SHARE))
                run.waited += wait
                with self._scope(run):
                    await trio.sleep(wait)
                return
        if run.last is None:
            nobody = self.nobody(run, now)
            raise run.unsaid if run.unsaid is not None and isinstance(nobody, NoCredential) else nobody
        run.last.until = earliest(self._recovers(run, now), self._origin_recovers(run, now))
        raise run.last

    async def _refreshed(self, run: Run, patience: float) -> bool:
        """Wait for the refreshes that this call has brought about; gives whether one of them succeeded (O48)."""
        asked, run.refreshing = run.refreshing, NOBODY
        if not asked:
            return False
        with self._scope(run), trio.move_on_after(patience):
            for id in asked:
                if await self._refresh.wait_refreshed(id) is None:
                    return True
        return False

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
