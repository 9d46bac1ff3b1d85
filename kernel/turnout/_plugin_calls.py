"""The border between kernel and plugin code: whatever a plugin raises becomes an error the kernel has words for.

A failure of the upstream may be wrapped or grouped by the plugin's own nurseries; it is found anywhere in the chain
(C2.1.2, O52). Everything else that a plugin raises is its bug and ends the one call it served, `SystemExit`,
`KeyboardInterrupt` and `GeneratorExit` of its own included (design 7). Cancellation is never touched.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import PurePath
from types import TracebackType
from typing import Any, Protocol, TypeGuard, TypeVar

import trio

from turnout._origin_flaw import origin_flaw
from turnout.errors import PluginError, TurnoutError, UpstreamFailed

Seam = TypeVar("Seam")


def _related(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        this = queue.pop(0)
        if this is None or id(this) in seen:
            continue
        seen.add(id(this))
        yield this
        if isinstance(this, BaseExceptionGroup):
            queue.extend(this.exceptions)
        queue.append(this.__cause__ or (None if this.__suppress_context__ else this.__context__))


def upstream_failure(error: BaseException) -> UpstreamFailed | None:
    """The upstream's failure inside an error, its groups and its causes; None when there is none."""
    return next((this for this in _related(error) if isinstance(this, UpstreamFailed)), None)


class plugin_code:  # noqa: N801 # a context manager reads as words
    """Run code of one plugin: raises UpstreamFailed or PluginError in place of whatever it raises.

    Errors of Turnout and cancellation pass untouched; a group of a cancellation and others is the cancellation: what
    else a plugin's tasks met while they were cancelled counts no more (C9.3).
    """

    __slots__ = ("_group", "_name")

    def __init__(self, group: str, name: str) -> None:
        self._group = group
        self._name = name

    def wrong(self, reason: str) -> PluginError:
        """The error for a plugin that gave what its protocol does not allow."""
        return PluginError(reason, group=self._group, name=self._name)

    def text(self, given: object, what: str) -> str:
        """The text that its method `what` gave; raises PluginError for anything else (acceptance H10)."""
        if not isinstance(given, str):
            raise self.wrong(f"`{what}` gave a {type(given).__name__} where a text is due")
        return given

    def origin(self, given: object, what: str) -> str:
        """The origin that its method `what` gave; raises PluginError for anything but `scheme://host:port`."""
        origin = self.text(given, what)
        if flaw := origin_flaw(origin):
            raise self.wrong(f"`{what}` gave no origin: {flaw}")
        return origin

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.translate(error)

    def translate(self, error: BaseException) -> None:
        """Raise the error that the kernel has words for; nothing where `error` passes untouched.

        For the hot path: an `except` costs nothing until it catches, entering and leaving this border 1.5 µs.
        """
        if isinstance(error, TurnoutError | trio.Cancelled) or _is_ours(error):
            return
        if isinstance(error, BaseExceptionGroup):
            cancelled, rest = error.split(trio.Cancelled)
            if cancelled is not None:
                if rest is not None:
                    raise cancelled from None
                return
        if (failure := upstream_failure(error)) is not None:
            raise failure from error
        raise self.wrong(f"raised {type(error).__name__}{_place(error)}") from error


def _is_ours(error: BaseException) -> bool:
    """Whether a coroutine of the kernel's own is being closed.

    Python closes what it awaits first, by an exit of its own. So the trace of ours has no frame of the plugin; where
    there is one, the plugin raised it.
    """
    trace = error.__traceback__
    return isinstance(error, GeneratorExit) and (trace is None or trace.tb_next is None)


def _place(error: BaseException) -> str:
    """Where it was raised, so that an author finds it; the text of an exception may hold a secret and is never told.

    Nothing for what the system refuses: that says enough by itself, and its place is the standard library.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = error.__traceback__
    if trace is None or isinstance(error, OSError):
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {'/'.join(PurePath(trace.tb_frame.f_code.co_filename).parts[-2:])}:{trace.tb_lineno}"


def offers(plugin: object, seam: Callable[..., Seam]) -> TypeGuard[Seam]:
    """Whether a plugin has every member of an optional protocol of `turnout.abc`, None counting as missing.

    It says what `isinstance` says, which works out the protocol's members anew each time (Python 3.11: 20 µs and more).
    """
    return all(getattr(plugin, name, None) is not None for name in _members(seam))


@cache
def _members(seam: Any) -> tuple[str, ...]:
    parts = [vars(one) for one in seam.__mro__ if getattr(one, "_is_protocol", False) and one is not Protocol]
    names = {name for part in parts for name in (*part, *part.get("__annotations__", ()))}
    return tuple(sorted(name for name in names if not name.startswith("_")))
