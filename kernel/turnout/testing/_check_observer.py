"""The laws that every observer keeps: it takes every event, soon, and holds nobody up."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

import attrs
import trio

from turnout._events import (
    CallDecided,
    CredentialRegistered,
    CredentialRemoved,
    CredentialUpdated,
    Event,
    OutcomeRecorded,
    PluginFailed,
    RefreshFailed,
    Reloaded,
    StoreFailed,
)
from turnout._values import Attempt, Decision, Operation, Outcome
from turnout._verdicts import Done, Phase, RateLimited, TimedOut, Unreachable
from turnout.abc import BatchObserver, Exposer, Observer
from turnout.testing._blocking import QUICK, longest_step
from turnout.testing._cancelling import swallows
from turnout.testing._hung import Hanging, watching
from turnout.testing._law import Laws

_law = Laws("Observer", "Observers")

OpenObserver = Callable[[], AbstractAsyncContextManager[Observer]]
"""Opens an observer with its settings."""

AT = 1_800_000_000.0
PATIENCE = 5.0
"""Seconds that one event may take (H9); a kernel gives up after them."""

STRANGERS = 3000
TEXT_MOST = 256 * 1024
"""Bytes that an exposition may grow by when `STRANGERS` model names have been asked for: clients choose those."""


@attrs.frozen(kw_only=True)
class _Unheard(Event):
    """An event of a later release."""

    what: str = "new"


async def check_observer(open_observer: OpenObserver) -> None:
    """Check that an observer keeps the laws of `turnout.abc.Observer`.

    `open_observer` opens one, and a new one when called again. Raises AssertionError that says which law was broken and
    where it is written. Waits only as long as the observer does.
    """
    async with watching(_law) as hanging:
        await _check(open_observer, hanging)


async def _check(open_observer: OpenObserver, hanging: Hanging) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_observer() as observer:
        _check_exposition(observer, "before the first event")
        for event in _events():
            with hanging.ended(PATIENCE, "`hear`"):
                await _heard(observer, event)
            longest = await longest_step(partial(_heard, observer, event))
            _law(longest <= QUICK, f"`hear` does not block ({type(event).__name__} took {longest * 1000:.0f} ms)")
        if isinstance(observer, BatchObserver):
            with hanging.ended(PATIENCE, "`hear_batch`"):
                await _check_batches(observer)
        _check_exposition(observer, "after events")
        await _check_cancellation(observer, hanging)
        await _check_strangers(observer)
    after = trio.lowlevel.current_statistics().tasks_living
    _law(after == before, "no task of an observer outlives its context manager")


def _events() -> Iterator[Event]:
    for registered in (CredentialRegistered, CredentialUpdated, CredentialRemoved):
        yield registered(at=AT, credential="a", provider="p")
    for verdict in (Done(), RateLimited(retry_after=3, message='"\n\\'), TimedOut(phase=Phase.IDLE)):
        outcome = Outcome(credential='a"\n\\ü', provider="p", model="m", verdict=verdict)
        yield OutcomeRecorded(at=AT, outcome=outcome, took=0.0)
    yield CallDecided(at=AT, decision=_decision("m", ()))
    failed = Attempt(credential="a", provider="p", model="m", began=0.0, ended=1.0, verdict=Unreachable())
    yield CallDecided(at=AT, decision=_decision("m", (failed,), error="upstream_error"))
    for next_try in (None, AT + 60):
        yield RefreshFailed(at=AT, credential="a", provider="p", reason="r", next_try=next_try)
    yield StoreFailed(at=AT, kind="state", credential="a", reason="no space")
    yield PluginFailed(at=AT, group="turnout.stores", name="n", reason="r")
    yield Reloaded(at=AT, generation=2)
    yield _Unheard(at=AT)
    yield CredentialRemoved(at=AT - 100, credential="never registered", provider="p")


def _decision(model: str, attempts: tuple[Attempt, ...], error: str = "") -> Decision:
    return Decision(
        id="request-1",
        model=model,
        operation=Operation.GENERATE,
        stream=False,
        began=AT,
        took=0.5,
        passes=1,
        waited=0.0,
        attempts=attempts,
        served_by="" if error else "a",
        error=error,
    )


async def _heard(observer: Observer, event: Event) -> None:
    kind = type(event).__name__.strip("_")
    what = f"{kind} of a later release" if isinstance(event, _Unheard) else kind
    with trio.move_on_after(PATIENCE) as scope:
        try:
            await _awaited(observer, event)
        except attrs.exceptions.FrozenError:
            _law(False, "events are read only")
        except AssertionError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 # any of them breaks the law
            _law(False, f"`hear` takes every event and passes over what it does not know: {what} raised {error!r:.100}")
    _law(not scope.cancelled_caught, f"`hear` is done with an event within {PATIENCE:g} s ({what})")


async def _awaited(observer: Observer, event: Event) -> None:
    hearing = observer.hear(event)
    _law(inspect.isawaitable(hearing), "`hear` is an async function")
    await hearing


async def _check_batches(observer: BatchObserver) -> None:
    with trio.move_on_after(PATIENCE) as scope:
        for batch in (tuple(_events()), (Reloaded(at=AT, generation=2),)):
            try:
                hearing = observer.hear_batch(batch)
                _law(inspect.isawaitable(hearing), "`hear_batch` is an async function")
                await hearing
            except AssertionError:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 # any of them breaks the law
                _law(False, f"`hear_batch` takes any events, as `hear` does; it raised {error!r:.100}")
    _law(not scope.cancelled_caught, f"`hear_batch` is done with some events within {PATIENCE:g} s")


async def _check_cancellation(observer: Observer, hanging: Hanging) -> None:
    for event in _events():
        with hanging.ended(PATIENCE, "`hear`, cancelled"):
            swallowed = await swallows(partial(_awaited, observer, event))
        kind = type(event).__name__.strip("_")
        _law(not swallowed, f"a cancellation is let pass: nothing is given or raised in its place (`hear`, {kind})")
    if isinstance(observer, BatchObserver):
        with hanging.ended(PATIENCE, "`hear_batch`, cancelled"):
            swallowed = await swallows(partial(observer.hear_batch, tuple(_events())))
        _law(not swallowed, "a cancellation of `hear_batch` is let pass: nothing is given or raised in its place")
    for event in _events():
        await _heard(observer, event)


async def _check_strangers(observer: Observer) -> None:
    before = _exposed(observer)
    for number in range(STRANGERS):
        await _heard(observer, CallDecided(at=AT, decision=_decision(f"stranger-{number}-{'x' * 100}", (), "unknown")))
    grown = len(_exposed(observer)) - len(before)
    _law(grown <= TEXT_MOST, "what is exposed does not grow with what clients ask for; `Decision.model` is their text")


def _check_exposition(observer: Observer, when: str) -> None:
    shown = _exposition(observer)
    _law(isinstance(shown, Mapping), f"`expose` is a plain function that gives media types and texts ({when})")
    texts = all(isinstance(kind, str) and "/" in kind and isinstance(text, str) for kind, text in shown.items())
    _law(texts, f"`expose` gives media types such as text/plain, each with its text ({when})")


def _exposition(observer: Observer) -> Mapping[str, str]:
    if not isinstance(observer, Exposer):
        return {}
    try:
        shown: object = observer.expose()
    except Exception as error:  # noqa: BLE001 # any of them breaks the law
        _law(False, f"`expose` raises nothing; it raised {type(error).__name__}")
    if inspect.iscoroutine(shown):
        shown.close()
    return shown  # type: ignore[return-value] # judged by the caller


def _exposed(observer: Observer) -> str:
    return "".join(_exposition(observer).values())
