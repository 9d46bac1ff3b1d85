"""What a provider puts around its operations, so that clients of every dialect can call it.

    class Mine(HttpProvider):
        dialects = frozenset({"openai.chat"})
        into = {Operation.GENERATE: ("openai.chat",)}
        translated = translated_to(into)

        @translating
        async def execute(self, call): ...    # gets calls in `dialects` only

        @translating_stream
        def stream(self, call): ...

A call in one of the provider's own dialects passes untouched, with two exceptions: its model has a thinking suffix
(C7.1), which becomes the vendor's own parameter; or its conversation holds what another vendor thought in an earlier,
translated turn, or a chat holds a signature of Google's for another vendor, which is left out. Any other is translated
on its way in, its answer on the way back; then headers of one vendor never reach the client of another. What the
provider's own operation raises comes out as it is.
"""

import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial, wraps
from types import TracebackType
from typing import Any, Protocol, TypeVar

import attrs

from turnout import Call, CountUnsupported, Credential, Failure, Inexpressible, InvalidRequest, Operation, Reply, Sent
from turnout import Protocol as ProtocolBroken
from turnout.abc import ReplyStream
from turnout.errors import InvalidAsk, UpstreamFailed
from turnout_dialects._errors import BadReply, ErrorEvent, Untranslatable
from turnout_dialects._foreign import may_hold_foreign, without_foreign
from turnout_dialects._json import encoded
from turnout_dialects._suffix import split_suffix, with_thinking
from turnout_dialects._translated_stream import TranslatedStream
from turnout_dialects._ways import (
    ANTHROPIC_WAYS,
    CHAT_WAYS,
    GEMINI_WAYS,
    OPENAI_WAYS,
    Into,
    Way,
    translated_to,
    way,
)
from turnout_wire import scrub, status_of_error

__all__ = [
    "ANTHROPIC_WAYS",
    "CHAT_WAYS",
    "GEMINI_WAYS",
    "OPENAI_WAYS",
    "Into",
    "TranslatingProvider",
    "translated_to",
    "translating",
    "translating_stream",
]


class TranslatingProvider(Protocol):
    """What the decorators need of a provider."""

    @property
    def into(self) -> Into:
        """The dialects of its upstream, per operation."""
        ...

    @property
    def translated(self) -> frozenset[str]:
        """The dialects that are translated into those, `translated_to(into)`, without its own."""
        ...

    def now(self) -> float:
        """POSIX seconds."""
        ...

    def judge(self, credential: Credential, status: int, body: bytes, /) -> Failure:
        """The verdict of an error that the upstream told; it shows no secret."""
        ...

    def secrets_in(self, text: str, credential: Credential, /) -> Sequence[str]:
        """What must not be shown of a text that the upstream wrote."""
        ...


P = TypeVar("P", bound=TranslatingProvider)
Whole = Callable[[P, Call], Coroutine[Any, Any, Reply]]
Stream = Callable[[P, Call], AbstractAsyncContextManager[ReplyStream]]


def translating(native: Whole[P]) -> Whole[P]:
    """`execute`, `count` or `embed` of a provider, for clients of other dialects as well."""

    @wraps(native)
    def operation(self: P, call: Call) -> Coroutine[Any, Any, Reply]:
        if call.ask.dialect in self.translated:
            return _translated(self, native, call)
        return native(self, _own(call))

    return operation


def translating_stream(native: Stream[P]) -> Stream[P]:
    """`stream` of a provider, for clients of other dialects as well."""

    @wraps(native)
    def operation(self: P, call: Call) -> AbstractAsyncContextManager[ReplyStream]:
        if call.ask.dialect in self.translated:
            return _Opening(self, native, call)
        return native(self, _own(call))

    return operation


async def _translated(provider: P, native: Callable[[P, Call], Awaitable[Reply]], call: Call) -> Reply:
    found = _way(provider, call, stream=False)
    reply = await native(provider, _on_the_way(call, found))
    try:
        body = found.reply(reply.body, id=_new_id(), now=provider.now())
        return Reply(body=body, remaining=reply.remaining)
    except BadReply as exc:
        raise UpstreamFailed(_verdict(exc, provider, call)) from None


def _own(call: Call) -> Call:
    """A call in its upstream's own dialect as that vendor takes it."""
    if call.model[-1:] == ")":
        call = _thinking(call)
    ask = call.ask
    if not may_hold_foreign(ask.payload, ask.dialect, call.model):
        return call
    return attrs.evolve(call, ask=attrs.evolve(ask, payload=without_foreign(ask.payload, ask.dialect)))


def _thinking(call: Call) -> Call:
    """The call with its suffix as the vendor's own parameter; as it is when no vendor has one for it."""
    base, suffix = split_suffix(call.model)
    if suffix is None:
        return call
    try:
        payload = with_thinking(call.ask.payload, call.ask.dialect, model=base, suffix=suffix)
    except InvalidAsk as exc:
        raise UpstreamFailed(_refused(exc)) from None
    return attrs.evolve(call, model=base, ask=attrs.evolve(call.ask, payload=payload))


def _way(provider: TranslatingProvider, call: Call, *, stream: bool) -> Way:
    ask = call.ask
    into = provider.into.get(ask.operation, ())
    try:
        found = way(
            ask.payload,
            ask.dialect,
            into,
            operation=ask.operation,
            asked=ask.model,
            model=call.model,
            stream=stream,
        )
    except InvalidAsk as exc:
        raise UpstreamFailed(_refused(exc)) from None
    if found is None:
        message = f"{ask.dialect} cannot be translated for this upstream"
        kind = CountUnsupported if ask.operation is Operation.COUNT else Inexpressible
        raise UpstreamFailed(kind(message=message, sent=Sent.NO))
    return found


def _refused(exc: InvalidAsk) -> Failure:
    """The client's mistake ends the call; what only this upstream cannot say is asked of another provider."""
    kind = Inexpressible if isinstance(exc, Untranslatable) else InvalidRequest
    return kind(message=f"not to be sent: {exc.argument}", sent=Sent.NO, detail=exc)


def _on_the_way(call: Call, found: Way) -> Call:
    """The call as the provider's own upstream gets it: none of the client's headers is meant for that vendor."""
    ask = attrs.evolve(call.ask, payload=found.payload, dialect=found.target, model=found.upstream, headers={})
    return attrs.evolve(call, ask=ask, model=found.upstream)


def _verdict(exc: BadReply, provider: TranslatingProvider, call: Call) -> Failure:
    """What a reply means that cannot be translated: an error as if it had its status (B22), or nonsense (B15)."""
    if isinstance(exc, ErrorEvent):
        return provider.judge(call.credential, status_of_error(exc.error), encoded({"error": exc.error}))
    text = str(exc)
    return ProtocolBroken(message=scrub(text, provider.secrets_in(text, call.credential)))


def _new_id() -> str:
    """An id that no other reply has: calls that Gemini gives no id get theirs from it."""
    return secrets.token_hex(12)


class _Opening:
    """A streaming call to another vendor's upstream, as an async context manager."""

    __slots__ = ("_call", "_native", "_provider", "_source")

    def __init__(self, provider: P, native: Stream[P], call: Call) -> None:
        self._provider: TranslatingProvider = provider
        self._native = partial(native, provider)
        self._call = call

    async def __aenter__(self) -> ReplyStream:
        call, provider = self._call, self._provider
        found = _way(provider, call, stream=True)
        self._source = self._native(_on_the_way(call, found))
        source = await self._source.__aenter__()
        machine = found.stream(id=_new_id(), now=provider.now())
        return TranslatedStream(source, machine, lambda exc: _verdict(exc, provider, call))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._source.__aexit__(kind, error, trace)
