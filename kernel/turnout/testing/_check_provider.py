"""The laws that every provider keeps: one call is one exchange, and whatever happens to it, nothing is left behind."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

import attrs
import trio
import trio.testing

from turnout._values import Ask, Call, Chunk, Credential, Metadata, Reply, Secret
from turnout._verdicts import Blame, Failure, Sent
from turnout.abc import Provider, ReplyStream, Translator
from turnout.errors import UpstreamFailed
from turnout.testing._blocking import QUICK, longest_step
from turnout.testing._hung import Hanging, watching
from turnout.testing._law import Laws
from turnout.testing._scenes import CANARY, Scene, UpstreamDouble

T = TypeVar("T")

_law = Laws("Provider", "Providers")

_CLOSING = 2.0
"""Seconds that leaving a call may take, on Trio's clock, however the upstream behaves."""

_MOST_STEPS = 200

_SCENE = 60.0
"""Seconds that one call may take, on Trio's clock; no scene of an upstream's that answers takes any."""

_SHORTEST = 16
"""Characters of a request that is looked for in the log: less may stand there by chance."""

_SCENE_STEPS = 20_000
"""Steps of tasks that one call may take: one that never ends and never waits is not stopped by a clock that jumps."""


@attrs.frozen(kw_only=True)
class _Bench:
    """What every check needs."""

    provider: Provider
    double: UpstreamDouble
    ask: Ask
    credential: Credential
    hanging: Hanging

    def call(self, scene: Scene | str, *, stream: bool) -> Call:
        return Call(
            ask=self.ask,
            credential=self.credential,
            model=self.ask.model,
            transport=self.double.play(scene, stream=stream),
        )

    async def execute(self, scene: Scene | str) -> Reply:
        reply = await self.provider.execute(self.call(scene, stream=False))
        _law(type(reply) is Reply and type(reply.body) is bytes, "`execute` gives a Reply whose body is bytes")
        _check_headers(reply)
        return reply

    async def read(self, scene: Scene | str) -> list[Chunk]:
        async with self.provider.stream(self.call(scene, stream=True)) as stream:
            _check_headers(stream)
            chunks = [chunk async for chunk in stream]
        _law(all(_is_chunk(chunk) for chunk in chunks), "a stream gives Chunks whose data is bytes")
        return chunks

    def ways(self) -> Mapping[str, Callable[[Scene | str], Awaitable[object]]]:
        return {"execute": self.execute, "stream": self.read}

    @contextmanager
    def exchange(self, what: str) -> Any:
        """One call: at its end there was one exchange, and nothing is left of it."""
        before = self.double.exchanges
        tasks = trio.lowlevel.current_statistics().tasks_living
        began = trio.current_time()
        try:
            with self.hanging.ended(_SCENE, what), _patience(what):
                yield
        except (UpstreamFailed, AssertionError, _Left):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 # told as the provider's
            _law(False, f"whatever becomes of a call, nothing but UpstreamFailed is raised ({what})", error)
        _law(self.double.exchanges - before <= 1, f"a provider never retries by itself ({what})")
        _law(self.double.open == 0, f"the upstream's connection is closed when the call is over ({what})")
        _law(trio.lowlevel.current_statistics().tasks_living == tasks, f"no task is left when a call is over ({what})")
        _law(trio.current_time() - began <= _CLOSING + 1, f"closing is bounded ({what})")


async def check_provider(
    provider: Provider,
    double: UpstreamDouble,
    ask: Ask,
    *,
    attributes: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Check that a provider keeps the laws of `turnout.abc.Provider`.

    Args:
        provider: as it is used; it is called many times.
        double: the upstream that it talks to.
        ask: a sound one, in a dialect that the provider speaks or translates.
        attributes: of the credential that is used, which has `CANARY` as its key.
        metadata: of a credential that has tokens instead of a key; `CANARY` should be one of them.

    Raises AssertionError that says which law was broken and where it is written.

    Run it under Trio's mock clock with autojump: some checks
    wait for closing to give up.
    """
    credential = Credential(
        id="checked",
        provider="checked",
        api_key=Secret(CANARY) if metadata is None else None,
        attributes=attributes or {},
        metadata=None if metadata is None else Metadata(metadata),
    )
    async with watching(_law) as hanging:
        bench = _Bench(provider=provider, double=double, ask=ask, credential=credential, hanging=hanging)
        with _Listening(ask.payload.decode(errors="replace")):
            _check_class(bench)
            await _check_sound(bench)
            await _check_back_pressure(bench)
            await _check_leaving(bench)
            for name, kind in double.refusals.items():
                await _check_refusal(bench, name, kind)
            await _check_breaks(bench)
            await _check_silence(bench)
            await _check_cancelling_at_every_step(bench)


def _check_class(bench: _Bench) -> None:
    provider = bench.provider
    _law(isinstance(provider.dialects, frozenset), "`dialects` is a frozenset of names")
    taken = provider.dialects | (provider.translated if isinstance(provider, Translator) else frozenset())
    _law(bench.ask.dialect in taken, "the ask of this check is in a dialect of the provider")
    origin = provider.origin(bench.credential)
    _law(origin.count("://") == 1 and origin.rsplit(":", 1)[1].isdigit(), "an origin is scheme://host:port")
    _law(provider.origin(bench.credential) == origin, "a credential has one origin")


async def _check_sound(bench: _Bench) -> None:
    with bench.exchange("a sound call"):
        _law(bool((await _succeeds(bench.execute)).body), "a sound call has a reply")
    with bench.exchange("a sound stream"):
        chunks = await _succeeds(bench.read)
    _law(sum(chunk.payload for chunk in chunks) >= 2, "payloads of a stream are marked, and given as they come")
    _law(all(chunk.data for chunk in chunks), "no chunk is empty")
    for way, run in bench.ways().items():
        longest = await longest_step(partial(run, Scene.SOUND))
        _law(longest <= QUICK, f"a provider does not block: no step takes long ({way}: {longest * 1000:.0f} ms)")


async def _succeeds(run: Callable[[Scene], Awaitable[T]]) -> T:
    try:
        return await run(Scene.SOUND)
    except UpstreamFailed as error:
        _law(False, "what an upstream answers soundly does not fail", error)
        raise


def _check_headers(answer: Reply | ReplyStream) -> None:
    headers = getattr(answer, "headers", None)
    _law(isinstance(headers, Mapping), "a reply and a stream have `headers`")
    if isinstance(headers, Mapping):
        texts = [text for pair in headers.items() for text in pair]
        _law(all(isinstance(text, str) for text in texts), "names and values of headers are texts")
        _law(CANARY not in " ".join(texts), "no header holds a secret")


def _is_chunk(chunk: object) -> bool:
    return type(chunk) is Chunk and type(chunk.data) is bytes


async def _check_back_pressure(bench: _Bench) -> None:
    before = bench.double.bytes_read
    await bench.read(Scene.SOUND)
    whole = bench.double.bytes_read - before
    with bench.exchange("a slow reader"):
        before = bench.double.bytes_read
        async with bench.provider.stream(bench.call(Scene.SOUND, stream=True)) as stream:
            async for chunk in stream:
                if chunk.payload:
                    break
            await trio.testing.wait_all_tasks_blocked()
            taken = bench.double.bytes_read - before
            _law(taken < whole, "an upstream is read no faster than its client reads")
        _law(bench.double.bytes_read - before == taken, "a stream that is left is not drained")


@contextmanager
def _patience(what: str) -> Iterator[None]:
    with trio.move_on_after(_SCENE) as scope:
        counter = _Steps(scope)
        trio.lowlevel.add_instrument(counter)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(counter)
    _law(not scope.cancelled_caught, f"a call comes to its end when its upstream has come to its own ({what})")


class _Steps(trio.abc.Instrument):
    """Cancels a scope after many steps of tasks."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._left = _SCENE_STEPS

    def before_task_step(self, _: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


class _Left(Exception):
    """Raised in a stream's block, to leave it."""


async def _check_leaving(bench: _Bench) -> None:
    left = False
    with bench.exchange("leaving a stream by an exception"):
        try:
            async with bench.provider.stream(bench.call(Scene.SOUND, stream=True)) as stream:
                await _leave(stream)
        except _Left:
            left = True
    _law(left, "leaving a stream does not swallow the exception")


async def _leave(stream: ReplyStream) -> NoReturn:
    await anext(stream)
    raise _Left


async def _check_refusal(bench: _Bench, name: str, kind: type[Failure]) -> None:
    for way, run in bench.ways().items():
        what = f"{way} of the refusal {name}"
        verdict = await _failure(bench, run, name, what)
        _law(type(verdict) is kind, f"{what} gives {kind.__name__}, not {type(verdict).__name__}")
        _law(verdict.sent is Sent.ANSWERED, f"{what} was answered")


async def _check_breaks(bench: _Bench) -> None:
    for scene in (Scene.NO_CONNECTION, Scene.NO_ANSWER, Scene.BROKEN_OFF, Scene.CUT_SHORT):
        for way, run in bench.ways().items():
            what = f"{way} of {scene.value}"
            verdict = await _failure(bench, run, scene, what)
            _law(verdict.blame is Blame.ORIGIN, f"{what} blames the origin")
            _law(verdict.sent is _SENT.get(scene, Sent.ANSWERED), f"{what} says how far the request got")


_SENT = {Scene.NO_CONNECTION: Sent.NO, Scene.NO_ANSWER: Sent.MAYBE}


async def _failure(
    bench: _Bench, run: Callable[[Scene | str], Awaitable[object]], scene: Scene | str, what: str
) -> Failure:
    with bench.exchange(what):
        try:
            await run(scene)
        except UpstreamFailed as failed:
            shown = f"{failed!r} {failed} {failed.verdict!r} {_inside(failed.verdict.detail)}"
            _law(CANARY not in shown, f"a verdict holds no secret ({what})")
            return failed.verdict
    _law(False, f"{what} raises UpstreamFailed")
    raise AssertionError


async def _check_silence(bench: _Bench) -> None:
    for scene in (Scene.SILENT, Scene.SILENT_BODY, Scene.SILENT_LATER):
        for way, run in bench.ways().items():
            with bench.exchange(f"cancelling {way} of {scene.value}"), trio.move_on_after(1) as scope:
                await _cancelled(run, scene)
            _law(scope.cancelled_caught, f"{way} of {scene.value} waits, can be cancelled, and says so")


async def _cancelled(run: Callable[[Scene | str], Awaitable[object]], scene: Scene) -> None:
    try:
        await run(scene)
    except UpstreamFailed as error:
        _law(False, "a call that is cancelled raises no failure in place of that", error)


async def _check_cancelling_at_every_step(bench: _Bench) -> None:
    """Cancel a sound call after one step of the scheduler, after two, and so on until it runs through."""
    for way, run in bench.ways().items():
        for steps in range(_MOST_STEPS):
            with bench.exchange(f"cancelling {way} after {steps} steps"):
                if await _ran_through(run, steps):
                    break


async def _ran_through(run: Callable[[Scene | str], Awaitable[object]], steps: int) -> bool:
    done = False
    failed: Exception | None = None

    async def whole() -> None:
        nonlocal done, failed
        try:
            await _cancelled(run, Scene.SOUND)
            done = True
        except Exception as error:  # noqa: BLE001 # raised below, without the nursery's group around it
            failed = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole)
        for _ in range(steps):
            await trio.lowlevel.cancel_shielded_checkpoint()
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return done


def _inside(detail: object) -> str:
    """Everything that a detail holds, what it hides from `repr` included."""
    values = [getattr(detail, name) for name in _names(detail)]
    return " ".join(value.decode("latin-1") if isinstance(value, bytes) else repr(value) for value in (detail, *values))


def _names(detail: object) -> list[str]:
    if attrs.has(kind := type(detail)):
        return [attribute.name for attribute in attrs.fields(kind)]
    return list(getattr(detail, "__dict__", {}))


class _Listening(logging.Handler):
    """Hears every log record of the process meanwhile, at every level."""

    def __init__(self, prompt: str) -> None:
        super().__init__()
        self._prompt = prompt

    def __enter__(self) -> None:
        self._root = logging.getLogger()
        self._level = self._root.level
        self._root.addHandler(self)
        self._root.setLevel(logging.NOTSET)

    def __exit__(self, *_: object) -> None:
        self._root.setLevel(self._level)
        self._root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Judge one record."""
        shown = logging.Formatter().format(record)
        _law(CANARY not in shown, f"nothing logs a secret ({record.name})")
        whole = len(self._prompt) >= _SHORTEST and self._prompt in shown
        _law(not whole, f"nothing logs a prompt ({record.name})")
