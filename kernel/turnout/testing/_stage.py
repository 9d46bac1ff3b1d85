"""Where a scenario is played: scripted upstreams, an ear for events, and somebody who does the steps."""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import trio

from turnout._events import CallDecided, Event, OutcomeRecorded
from turnout._kernel import Kernel
from turnout._values import EMPTY, Call, Chunk, Credential, Decision, Metadata, Outcome
from turnout._verdicts import Failure
from turnout.errors import TurnoutError, UnknownCredential, UpstreamFailed
from turnout.testing import _backdoor
from turnout.testing import _steps as do
from turnout.testing._house import START, scripted_config
from turnout.testing._report import Called, Result, Seen
from turnout.testing._scripted import Script, ScriptedProvider


@attrs.frozen(kw_only=True)
class Renewal:
    """How one refresh of a credential goes.

    Attributes:
        lasts: seconds that the renewed token lasts.
        takes: seconds that the refresh takes.
        failure: raised instead.
        metadata: what else the renewed credential says.
        nothing: the provider gives None: keep what you have.
    """

    lasts: float = 3600.0
    takes: float = 0.0
    failure: Failure | None = None
    metadata: Mapping[str, Any] = EMPTY
    nothing: bool = False


class Upstreams(ScriptedProvider):
    """Every upstream of a scenario; each configured provider has an origin of its own."""

    def __init__(self, default: Script) -> None:
        super().__init__(default)
        self.called_at: list[Called] = []
        self.refreshed: list[str] = []

    def origin(self, credential: Credential) -> str:
        """The credential's `base_url`, or one per provider."""
        return credential.attributes.get("base_url", "") or f"https://{credential.provider}.test:443"

    async def _begin(self, call: Call) -> Script:
        called = Called(
            at=trio.current_time(),
            credential=call.credential.id,
            provider=call.credential.provider,
            model=call.model,
            operation=call.ask.operation,
        )
        self.called_at.append(called)
        return await super()._begin(call)


class RenewingUpstreams(Upstreams):
    """The same, where credentials can be refreshed."""

    def __init__(self, default: Script, renewals: Mapping[str, Sequence[Renewal]], lead: float | None) -> None:
        super().__init__(default)
        self._renewals = {id: deque(each) for id, each in renewals.items()}
        self._lead = lead

    def refresh_lead(self, credential: Credential) -> float | None:  # noqa: ARG002 # the protocol's argument
        """As the scenario says."""
        return self._lead

    async def refresh(self, credential: Credential, transport: object) -> Credential | None:  # noqa: ARG002 # likewise
        """Play the next renewal."""
        self.refreshed.append(credential.id)
        queue = self._renewals.get(credential.id) or deque([Renewal()])
        renewal = queue.popleft() if len(queue) > 1 else queue[0]
        await trio.sleep(renewal.takes)
        if renewal.failure is not None:
            raise UpstreamFailed(renewal.failure)
        if renewal.nothing:
            return None
        data = {
            **(credential.metadata or {}),
            "access_token": f"token-{len(self.refreshed)}",
            "expires_at": START + trio.current_time() + renewal.lasts,
            **renewal.metadata,
        }
        return attrs.evolve(credential, metadata=Metadata(data))


class Ear:
    """An observer that keeps everything."""

    api: ClassVar[int] = 1

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def hear(self, event: Event) -> None:
        """Keep it. Does not wait: that the kernel goes on meanwhile is its own affair."""
        self.events.append(event)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Those recorded so far, in order."""
        return tuple(event.outcome for event in self.events if isinstance(event, OutcomeRecorded))

    def decisions(self) -> tuple[Decision, ...]:
        """Those of calls so far, in order."""
        return tuple(event.decision for event in self.events if isinstance(event, CallDecided))


@attrs.frozen
class Stage:
    """A kernel with its scripted upstreams."""

    kernel: Kernel
    upstreams: Upstreams

    async def play(self, step: do.Step) -> Result:
        """Do a step; what it raises is part of the result."""
        began = trio.current_time()
        value: Any = None
        error: TurnoutError | None = None
        chunks: list[Chunk] = []
        with trio.CancelScope() as scope:
            scope.deadline = began + (after if (after := getattr(step, "cancel_after", None)) is not None else math.inf)
            try:
                value = await self._do(step, chunks)
            except TurnoutError as raised:
                error = raised
        if isinstance(step, do.Stream):
            value = tuple(chunks)
        return Result(
            step=step,
            value=value,
            error=error,
            began=began,
            ended=trio.current_time(),
            cancelled=scope.cancelled_caught,
        )

    async def _do(self, step: do.Step, chunks: list[Chunk]) -> Any:
        if isinstance(step, do.Stream):
            return await self._read(step, chunks)
        if type(step) in _AWAITED:
            return await _AWAITED[type(step)](self, step)
        return _AT_ONCE[type(step)](self, step)

    async def in_series(self, steps: Sequence[do.Step]) -> tuple[Result, ...]:
        """Do these one after the other."""
        return tuple([await self.play(step) for step in steps])

    def changed(self, step: do.Update) -> Credential:
        """The credential that an update is about, with its changes."""
        if isinstance(step.credential, Credential):
            return attrs.evolve(step.credential, **step.changes)
        known = self.kernel.credentials.get(step.credential)
        if known is None:
            raise UnknownCredential(f"there is no credential {step.credential!r} to change", argument="credential")
        return attrs.evolve(known, **step.changes)

    async def sleep(self, seconds: float) -> None:
        """Let them pass."""
        await trio.sleep(seconds)

    def seen(self, id: str) -> Seen | None:
        """A credential with its state, None when it is not there."""
        credential = self.kernel.credentials.get(id)
        return credential and Seen(credential=credential, state=self.kernel.credentials.state(id))

    async def _read(self, step: do.Stream, chunks: list[Chunk]) -> None:
        async with self.kernel.stream(step.ask) as stream:
            while step.take is None or len(chunks) < step.take:
                try:
                    chunks.append(await anext(stream))
                except StopAsyncIteration:
                    return
                await trio.sleep(step.pause)

    async def together(self, steps: Sequence[do.Step]) -> tuple[Result, ...]:
        """Do these at the same time; gives their results in the order of the steps."""
        results: dict[int, Result] = {}

        async def play(number: int, step: do.Step) -> None:
            results[number] = await self.play(step)

        async with trio.open_nursery() as nursery:
            for number, step in enumerate(steps):
                nursery.start_soon(play, number, step)
        return tuple(results[number] for number in range(len(steps)))


def heard(text: str) -> str:
    """A configuration of a scenario, with the observer that its report comes from."""
    return f"{text}\n[observers.report]\n"


_AWAITED: Mapping[type[do.Step], Callable[[Stage, Any], Awaitable[Any]]] = {
    do.Execute: lambda stage, step: stage.kernel.execute(step.ask),
    do.Count: lambda stage, step: stage.kernel.count(step.ask),
    do.Wait: lambda stage, step: stage.sleep(step.seconds),
    do.Together: lambda stage, step: stage.together(step.steps),
    do.Series: lambda stage, step: stage.in_series(step.steps),
    do.Reload: lambda stage, step: stage.kernel.reload(scripted_config(heard(step.config))),
    do.Refresh: lambda stage, step: _backdoor.refresh(stage.kernel, step.credential),
    do.Register: lambda stage, step: stage.kernel.credentials.register(step.credential),
    do.Update: lambda stage, step: stage.kernel.credentials.update(stage.changed(step)),
    do.Remove: lambda stage, step: stage.kernel.credentials.remove(step.credential),
    do.Disable: lambda stage, step: stage.kernel.credentials.disable(step.credential),
    do.Enable: lambda stage, step: stage.kernel.credentials.enable(step.credential),
}

_AT_ONCE: Mapping[type[do.Step], Callable[[Stage, Any], Any]] = {
    do.Inspect: lambda stage, step: stage.seen(step.credential),
    do.Models: lambda stage, _: stage.kernel.models(),
    do.Reset: lambda stage, step: stage.kernel.credentials.reset(step.credential),
    do.Pick: lambda stage, step: _backdoor.pick(stage.kernel, step.ask, step.tried),
    do.RecordOutcome: lambda stage, step: _backdoor.record(stage.kernel, step.credential, step.verdict, step.model),
    do.Announce: lambda stage, step: _backdoor.announce(stage.kernel, step.credential, step.models),
    do.Stick: lambda stage, step: _backdoor.stick(stage.kernel, step.affinity, step.model, step.credential),
    do.Play: lambda stage, step: stage.upstreams.script(*step.scripts, credential=step.credential),
}
