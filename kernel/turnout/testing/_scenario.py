"""A scenario: credentials, configuration and upstream outcomes as plain data, played on a whole kernel.

    report = Scenario(
        config=CONFIG, scripts={"a": [RateLimited(retry_after=20)]}, steps=[Execute("m"), Wait(20), Execute("m")]
    ).run()
    assert report.called == ["a", "b", "a"]

It runs in a `trio.run` of its own on a clock that jumps over every wait, so it is called from a plain test, takes no
time and always gives the same report.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio.testing

from turnout._values import EMPTY, Credential, Record
from turnout._verdicts import Verdict
from turnout.testing import _steps as do
from turnout.testing._determinism import run_deterministically
from turnout.testing._house import scripted_config, scripted_kernel
from turnout.testing._report import Report
from turnout.testing._scripted import OK, Script
from turnout.testing._stage import Ear, Renewal, RenewingUpstreams, Stage, Upstreams, heard
from turnout.testing._store import MemoryStore


@attrs.frozen(kw_only=True)
class Scenario:
    """What is there, and what is done.

    Attributes:
        config: TOML; `[turnout]` may be left out. The selector is `in-turn` (round robin), or `in-order` (fill first)
            when it says so. Every provider it names is scripted, with an origin of its own.
        credentials: registered at the start, beside those of the configuration.
        scripts: how calls go, by the credential's id, or `""` for any; a verdict is a call that ends so.
        default: how calls go that nothing was written for.
        refreshes: how refreshes go, by the credential's id, the last one again and again. Without any, providers
            cannot refresh.
        lead: seconds before its end at which a token is due for a refresh; None: only when asked to.
        steps: in order.
        selector: stands behind the name that the configuration gives it, or `in-turn`.
        store: None for a `MemoryStore`.
        seed: of every draw, and of the order in which tasks that are ready take their turns.
    """

    config: str
    credentials: Sequence[Credential] = ()
    scripts: Mapping[str, Sequence[Script | Verdict]] = EMPTY
    default: Script | Verdict = OK
    refreshes: Mapping[str, Sequence[Renewal]] = EMPTY
    lead: float | None = 300.0
    steps: Sequence[do.Step] = attrs.field(default=(), converter=do.checked_steps)
    selector: Any = None
    store: Any = None
    seed: int = 0

    def run(self) -> Report:
        """Play it. Raises ConfigError when the configuration is wrong; what a step raises is in its result."""
        return run_deterministically(self._play, self.seed)

    def _upstreams(self) -> Upstreams:
        default = do.scripted(self.default)
        upstreams = RenewingUpstreams(default, self.refreshes, self.lead) if self.refreshes else Upstreams(default)
        for id, scripts in self.scripts.items():
            upstreams.script(*map(do.scripted, scripts), credential=id)
        return upstreams

    async def _play(self) -> Report:
        upstreams, ear, store = self._upstreams(), Ear(), self.store or MemoryStore()
        names = {
            table.plugin for text in (self.config, *_reloads(self.steps)) for table in scripted_config(text).providers
        }
        async with scripted_kernel(
            heard(self.config),
            dict.fromkeys(sorted(names), upstreams),
            store=store,
            selector=self.selector,
            observers={"report": ear},
            draw=random.Random(self.seed).random,  # noqa: S311 # chance that can be replayed
        ) as kernel:
            for credential in self.credentials:
                await kernel.credentials.register(credential)
            stage = Stage(kernel, upstreams)
            results = tuple([await stage.play(step) for step in self.steps])
            await trio.testing.wait_all_tasks_blocked()
            credentials = {one.id: one for one in kernel.credentials.list()}
            states = {id: kernel.credentials.state(id) for id in credentials}
        kept: Mapping[tuple[str, str], Record] = getattr(store, "records", {})
        return Report(
            results=results,
            calls=tuple(upstreams.called_at),
            refreshes=tuple(upstreams.refreshed),
            credentials=credentials,
            states=states,
            outcomes=ear.outcomes(),
            decisions=ear.decisions(),
            events=tuple(ear.events),
            records=kept,
            open_streams=upstreams.open_streams,
        )


def _reloads(steps: Iterable[do.Step]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, do.Reload):
            yield step.config
        elif isinstance(step, do.Together | do.Series):
            yield from _reloads(step.steps)
