"""A switch without a kernel, for frontend authors: it plays what it is told and remembers what it was asked."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Self, final

import attrs
import trio

from turnout._handing_on import hand_on_each
from turnout._lasting import LastingScope
from turnout._shared_limits import SharedLimits
from turnout._values import EMPTY, Answer, Ask, Chunk, Decision, Model, Operation, Readiness, Reply
from turnout.abc import Places
from turnout.errors import Draining

Execute = Callable[[Ask], Awaitable[Reply]]
Stream = Callable[[Ask], AsyncGenerator[Chunk, None]]
CloseSession = Callable[[str], Awaitable[None]]


async def answer_ok(_ask: Ask) -> Reply:
    """The reply of a switch that was told nothing."""
    await trio.lowlevel.checkpoint()
    return Reply(body=b'{"object":"chat.completion"}')


async def stream_two(_ask: Ask) -> AsyncGenerator[Chunk, None]:
    """The stream of a switch that was told nothing: one event, then the mark of a good end."""
    await trio.lowlevel.checkpoint()
    yield Chunk(b'data: {"n":1}\n\n')
    yield Chunk(b"data: [DONE]\n\n", payload=False)


async def close_quietly(_session: str) -> None:
    """How a switch that was told nothing closes a session."""
    await trio.lowlevel.checkpoint()


@final
class ScriptedStream:
    """A committed stream that plays a script."""

    def __init__(self, script: AsyncGenerator[Chunk, None], first: Chunk, decision: Decision) -> None:
        self.headers: Mapping[str, str] = EMPTY
        self.decision = decision
        self._script = script
        self._first: Chunk | None = first

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._script)

    async def hand_on(self, take: Callable[[bytes], bool]) -> bytes | None:
        """See `turnout.abc.AnswerStream`; the end never comes together with anything."""
        return await hand_on_each(self.__anext__, take)


@final
@attrs.define(kw_only=True, eq=False)
class ScriptedSwitch:
    """A `turnout.abc.Switch`.

    Attributes:
        on_execute: plays a call that does not stream.
        on_stream: plays a stream; what it raises before its first chunk is raised on entering.
        on_close_session: plays what closing a session does.
        served_by: the credential that decision records name.
        asks: everything it was asked, in order.
        closed_sessions: the sessions it was told are over.
        keepers: what it was told to remember of who keeps what.
        cancelled: how many calls were cancelled.
        open: how many calls are running.
        places: under limits, of this one process.
    """

    on_execute: Execute = answer_ok
    on_stream: Stream = stream_two
    on_close_session: CloseSession = close_quietly
    served_by: str = ""
    served: Sequence[Model] = (Model(name="fast", providers=("openai",), ready=1),)
    ready: bool = True
    exposed: Mapping[str, str] = EMPTY
    asks: list[Ask] = attrs.field(factory=list)
    closed_sessions: list[str] = attrs.field(factory=list)
    keepers: dict[str, str] = attrs.field(factory=dict)
    cancelled: int = 0
    open: int = 0
    places: Places = attrs.field(factory=SharedLimits)
    _decisions: dict[str, Decision] = attrs.field(factory=dict)
    _scopes: set[trio.CancelScope] = attrs.field(factory=set)
    _draining: trio.Event = attrs.field(factory=trio.Event)

    async def execute(self, ask: Ask, under: LastingScope | None = None) -> Answer:  # noqa: ARG002 # a call plays alone
        """Play `on_execute`."""
        decision = self._note(ask, stream=False)
        with self._counted():
            reply = await self.on_execute(ask)
        return Answer(reply=reply, decision=decision)

    @asynccontextmanager
    async def stream(
        self,
        ask: Ask,
        under: LastingScope | None = None,  # noqa: ARG002 # a call plays alone
    ) -> AsyncIterator[ScriptedStream]:
        """Play `on_stream`."""
        decision = self._note(ask, stream=True)
        with self._counted():
            async with aclosing(self.on_stream(ask)) as script:
                yield ScriptedStream(script, await anext(script), decision)

    async def count(self, ask: Ask, under: LastingScope | None = None) -> Answer:
        """Play `on_execute`."""
        return await self.execute(ask, under)

    async def embed(self, ask: Ask, under: LastingScope | None = None) -> Answer:
        """Play `on_execute`."""
        return await self.execute(ask, under)

    def models(self) -> Sequence[Model]:
        """What it was told to serve."""
        return self.served

    def readiness(self) -> Readiness:
        """Ready as told, until it drains."""
        draining = self._draining.is_set()
        return Readiness(ready=self.ready and not draining, draining=draining)

    async def wait_draining(self) -> None:
        """Wait for `drain`."""
        await self._draining.wait()

    def drain(self, patience: float = 0.0) -> None:
        """Begin to close: new calls are refused from now on, open ones are ended after `patience` seconds."""
        self._draining.set()
        for scope in self._scopes:
            scope.deadline = trio.current_time() + patience

    def explain(self, id: str) -> Decision | None:
        """A record that says nothing but what was asked."""
        return self._decisions.get(id)

    def expose(self) -> Mapping[str, str]:
        """What it was told to expose."""
        return self.exposed

    async def close_session(self, session: str) -> None:
        """Note that the session is over, and play `on_close_session`."""
        self.closed_sessions.append(session)
        await self.on_close_session(session)

    def keep(self, name: str, credential: str) -> None:
        """Remember it."""
        self.keepers[name] = credential

    async def keeper(self, name: str) -> str | None:
        """What `keep` was told."""
        await trio.lowlevel.checkpoint()
        return self.keepers.get(name)

    def _note(self, ask: Ask, *, stream: bool) -> Decision:
        if self._draining.is_set():
            raise Draining("this switch is closing")
        self.asks.append(ask)
        decision = Decision(
            id=ask.id,
            model=ask.model,
            operation=Operation.GENERATE,
            stream=stream,
            began=0.0,
            took=0.0,
            passes=1,
            waited=0.0,
            attempts=(),
            served_by=self.served_by,
            client=ask.client,
        )
        self._decisions[ask.id] = decision
        return decision

    def _counted(self) -> "_Counted":
        return _Counted(self, self._scopes)


@final
class _Counted:
    """Counts a call while it runs and notes its cancellation; a drain ends it with `Draining`, as a kernel does."""

    def __init__(self, switch: ScriptedSwitch, scopes: set[trio.CancelScope]) -> None:
        self._switch = switch
        self._scopes = scopes
        self._scope = trio.CancelScope()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self._scopes.add(self._scope)
        self._switch.open += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._switch.open -= 1
        self._scopes.discard(self._scope)
        self._switch.cancelled += kind is not None and issubclass(kind, trio.Cancelled)
        done = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise Draining("the time for open calls is over")
        return bool(done)
