"""The provider `openai` passes `check_provider`, and `check_provider` catches providers that break its laws."""

import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
import trio
from kit_laws import laws_of, unproven

from turnout import Ask, Call, Chunk, Credential, Failed, Failure, Reply, Sent, Unauthorized, Unreachable
from turnout.errors import UpstreamFailed
from turnout.testing import CANARY, check_provider
from turnout.testing import _check_provider as rules
from turnout_openai import OpenAI, OpenAISettings
from turnout_wire.testing import HttpDouble, events

ASK = Ask(model="m", dialect="openai.chat", payload=b'{"model":"m","messages":[]}')


def double() -> HttpDouble:
    return HttpDouble(reply=b'{"choices":[]}', events=events("a", "b", "c", "d"))


def settings() -> dict[str, Any]:
    return {"settings": OpenAISettings(), "now": lambda: 1_790_000_000.0}


async def test_openai_keeps_the_laws_of_a_provider(autojump_clock: trio.testing.MockClock) -> None:
    """Design 7: cancellation, back-pressure, verdicts, redaction, no retry, no leak (S40, S45, O37, D8)."""
    await check_provider(OpenAI(**settings()), double(), ASK)


class Retries(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except UpstreamFailed:
            return await super().execute(call)


class SaysSecrets(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except UpstreamFailed as failed:
            kind: Callable[..., Failure] = type(failed.verdict)
            raise UpstreamFailed(kind(message=f"with {CANARY}", sent=failed.verdict.sent)) from None


class LogsSecrets(OpenAI):
    async def execute(self, call: Call) -> Reply:
        logging.getLogger("rude").debug(
            "calling with %s", call.credential.api_key.reveal() if call.credential.api_key else ""
        )
        return await super().execute(call)


class LogsPrompts(OpenAI):
    async def execute(self, call: Call) -> Reply:
        logging.getLogger("rude").debug("calling with %s", call.ask.payload)
        return await super().execute(call)


class BlamesNobody(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except UpstreamFailed:
            raise UpstreamFailed(Failed()) from None


class SwallowsCancellation(OpenAI):
    async def execute(self, call: Call) -> Reply:
        with trio.CancelScope() as scope:
            try:
                return await super().execute(call)
            except trio.Cancelled:
                scope.cancel()
        return Reply(body=b"never mind")


class NeverCloses(OpenAI):
    async def execute(self, call: Call) -> Reply:
        assert call.transport is not None
        response = await call.transport.handle_async_request(httpx.Request("POST", "https://api.openai.com/"))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return Reply(body=b"".join([piece async for piece in response.stream]))


class Wrapped:
    """A stream context manager around the right one, to be spoilt."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.headers: Any = {}

    async def __aenter__(self) -> Any:
        self.stream = await self.inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self.inner.__aexit__(*error)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Chunk:
        chunk: Chunk = await self.stream.__anext__()
        return chunk


class EndsWell(Wrapped):
    async def __anext__(self) -> Chunk:
        try:
            return await super().__anext__()
        except UpstreamFailed:
            raise StopAsyncIteration from None


class MarksNothing(Wrapped):
    async def __anext__(self) -> Chunk:
        return Chunk((await super().__anext__()).data, payload=False)


class Drains(Wrapped):
    async def __aexit__(self, *error: object) -> Any:
        async for _ in self.stream:
            pass
        return await super().__aexit__(*error)


class ReadsAhead(Wrapped):
    async def __aenter__(self) -> Any:
        await super().__aenter__()
        self.chunks = iter([chunk async for chunk in self.stream])
        return self

    async def __anext__(self) -> Chunk:
        for chunk in self.chunks:
            return Chunk(*chunk)
        raise StopAsyncIteration


class Swallows(Wrapped):
    async def __aexit__(self, *error: object) -> Any:
        await super().__aexit__(*error)
        return True


class HasAListOfDialects(OpenAI):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.dialects: Any = ["openai.chat"]


class SpeaksOther(OpenAI):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.dialects: Any = frozenset({"other"})
        self.translated: Any = frozenset()


class OriginWithoutPort(OpenAI):
    def origin(self, credential: Credential) -> str:
        return "https://api.openai.com"


class OriginThatMoves(OpenAI):
    ports = itertools.count(1)

    def origin(self, credential: Credential) -> str:
        return f"https://api.openai.com:{next(self.ports)}"


class SaysNothing(OpenAI):
    async def execute(self, call: Call) -> Reply:
        await super().execute(call)
        return Reply(body=b"")


class NeverSent(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except UpstreamFailed as failed:
            raise UpstreamFailed(attrs.evolve(failed.verdict, sent=Sent.NO)) from None


class AlwaysAnswered(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except UpstreamFailed as failed:
            raise UpstreamFailed(attrs.evolve(failed.verdict, sent=Sent.ANSWERED)) from None


class BlamesTheCredential(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except UpstreamFailed as failed:
            raise UpstreamFailed(_blamed(failed.verdict)) from None


def _blamed(verdict: Failure) -> Failure:
    return Unauthorized(sent=verdict.sent) if isinstance(verdict, Unreachable) else verdict


class WaitsForMore(OpenAI):
    async def execute(self, call: Call) -> Reply:
        await super().execute(call)
        await trio.sleep_forever()
        raise AssertionError


class GivesText(OpenAI):
    async def execute(self, call: Call) -> Reply:
        reply: Any = Reply(body=(await super().execute(call)).body.decode())  # type: ignore[arg-type]
        return reply  # type: ignore[no-any-return]


class GivesADict(OpenAI):
    async def execute(self, call: Call) -> Any:
        return {"body": (await super().execute(call)).body}


class TellsItsKey(OpenAI):
    async def execute(self, call: Call) -> Reply:
        return attrs.evolve(await super().execute(call), headers={"x-used": f"Bearer {CANARY}"})


class CountsInHeaders(OpenAI):
    async def execute(self, call: Call) -> Reply:
        headers: Any = {"x-left": 5}
        return attrs.evolve(await super().execute(call), headers=headers)


class Stumbles(OpenAI):
    async def execute(self, call: Call) -> Reply:
        await super().execute(call)
        raise KeyError(call.model)


class Exits(OpenAI):
    async def execute(self, call: Call) -> Reply:
        await super().execute(call)
        raise SystemExit


class FailsSoundly(OpenAI):
    async def execute(self, call: Call) -> Reply:
        await super().execute(call)
        raise UpstreamFailed(Failed())


class Blocks(OpenAI):
    async def execute(self, call: Call) -> Reply:
        time.sleep(0.03)  # noqa: ASYNC251 # it breaks the law
        return await super().execute(call)


class FailsInPlaceOfCancellation(OpenAI):
    async def execute(self, call: Call) -> Reply:
        try:
            return await super().execute(call)
        except trio.Cancelled:
            raise UpstreamFailed(Unreachable()) from None


class WithoutHeaders(Wrapped):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        del self.headers


class GivesBareBytes(Wrapped):
    async def __anext__(self) -> Any:
        return (await super().__anext__()).data


class NeverEnds(Wrapped):
    last = Chunk(b"")

    async def __anext__(self) -> Chunk:
        try:
            self.last = await super().__anext__()
        except StopAsyncIteration:
            await trio.lowlevel.checkpoint()
        return self.last


class GivesNothing(Wrapped):
    async def __anext__(self) -> Chunk:
        chunk = await super().__anext__()
        return chunk if chunk.payload else Chunk(b"", payload=False)


LEFT_BEHIND = "no task is left"
HANGS = "closing is bounded"

BROKEN: tuple[tuple[type[OpenAI], str], ...] = (
    (HasAListOfDialects, "`dialects` is a frozenset"),
    (SpeaksOther, "in a dialect of the provider"),
    (OriginWithoutPort, "scheme://host:port"),
    (OriginThatMoves, "has one origin"),
    (SaysNothing, "a sound call has a reply"),
    (GivesText, "a Reply whose body is bytes"),
    (GivesADict, "a Reply whose body is bytes"),
    (TellsItsKey, "no header holds a secret"),
    (CountsInHeaders, "of headers are texts"),
    (Stumbles, "nothing but UpstreamFailed is raised"),
    (Exits, "nothing but UpstreamFailed is raised"),
    (FailsSoundly, "answers soundly does not fail"),
    (FailsInPlaceOfCancellation, "raises no failure in place of that"),
    (Blocks, r"a provider does not block: no step takes long \(execute: "),
    (NeverSent, "was answered"),
    (BlamesTheCredential, "blames the origin"),
    (WaitsForMore, r"comes to its end when its upstream has come to its own \(a sound call\)"),
    (Retries, "never retries"),
    (SaysSecrets, "holds no secret"),
    (LogsSecrets, "nothing logs a secret"),
    (LogsPrompts, "nothing logs a prompt"),
    (BlamesNobody, " gives Protocol, not Failed"),
    (SwallowsCancellation, "can be cancelled"),
    (NeverCloses, "connection is closed"),
    (AlwaysAnswered, "execute of no_connection says how far the request got"),
)
"""Each with the law that it breaks."""


@pytest.mark.parametrize(("kind", "law"), BROKEN)
async def test_a_provider_that_breaks_a_law_is_told_which(
    kind: type[OpenAI], law: str, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(AssertionError, match=law):
        await check_provider(kind(**settings()), double(), ASK)


BROKEN_STREAMS: tuple[tuple[type[Wrapped], str], ...] = (
    (NeverEnds, r"comes to its end when its upstream has come to its own \(a sound stream\)"),
    (GivesNothing, "no chunk is empty"),
    (WithoutHeaders, "a reply and a stream have `headers`"),
    (GivesBareBytes, "Chunks whose data is bytes"),
    (EndsWell, "stream of broken_off raises UpstreamFailed"),
    (MarksNothing, "payloads of a stream are marked"),
    (Drains, "is not drained"),
    (ReadsAhead, "no faster than its client"),
    (Swallows, "does not swallow"),
)


@pytest.mark.parametrize(("wrapper", "law"), BROKEN_STREAMS)
async def test_a_stream_that_breaks_a_law_is_told_which(
    wrapper: type[Wrapped], law: str, autojump_clock: trio.testing.MockClock
) -> None:
    class Spoilt(OpenAI):
        def stream(self, call: Call) -> Any:
            return wrapper(super().stream(call))

    with pytest.raises(AssertionError, match=law):
        await check_provider(Spoilt(**settings()), double(), ASK)


async def test_a_provider_that_leaves_a_task_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:

        class LeavesATask(OpenAI):
            async def execute(self, call: Call) -> Reply:
                nursery.start_soon(trio.sleep, 1)
                return await super().execute(call)

        with pytest.raises(AssertionError, match=LEFT_BEHIND):
            await check_provider(LeavesATask(**settings()), double(), ASK)


async def test_a_provider_whose_closing_hangs_is_told(autojump_clock: trio.testing.MockClock) -> None:
    class Hangs(OpenAI):
        async def execute(self, call: Call) -> Reply:
            try:
                return await super().execute(call)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)

    with pytest.raises(AssertionError, match=HANGS):
        await check_provider(Hangs(**settings()), double(), ASK)


async def test_a_provider_that_shields_its_calls_is_told_where(autojump_clock: trio.testing.MockClock) -> None:
    class Shields(OpenAI):
        async def execute(self, call: Call) -> Reply:
            with trio.CancelScope(shield=True) as scope:
                reply = await super().execute(call)
            scope.shield = False
            return reply

    shields = r"a scope without a deadline shields \S+:\d+ \(cancelling execute of silent\)"
    with pytest.raises(AssertionError, match=shields):
        await check_provider(Shields(**settings()), double(), ASK)


def test_every_law_of_a_provider_has_a_broken_one() -> None:
    assert not unproven(laws_of(rules), [LEFT_BEHIND, HANGS, *(law for _, law in (*BROKEN, *BROKEN_STREAMS))])
