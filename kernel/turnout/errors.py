"""Everything that Turnout raises, sorted by whose fault it was.

    TurnoutError
    ├── CallerError        the ask itself is wrong: sending it again will not help
    ├── PoolError          nobody in the pool can take the call now
    ├── UpstreamFailed     an upstream was called and failed; also what providers raise
    ├── DeadlineExceeded   the call's own time ran out
    ├── Draining           this kernel is closing: another one may take the call
    ├── ConfigError        the operator's file or setting is wrong
    ├── PluginError        a plugin broke its contract
    └── StoreError         what is kept could not be read or written

Each has a `code` that clients may match on (C6.1) and a message that holds no secret.
"""

from collections.abc import Sequence
from typing import ClassVar

from turnout._verdicts import Failure

__all__ = [
    "CallerError",
    "ConfigError",
    "CoolingDown",
    "DeadlineExceeded",
    "Draining",
    "InvalidAsk",
    "NoCredential",
    "NotSupported",
    "PluginError",
    "PoolError",
    "StoreConflict",
    "StoreError",
    "TurnoutError",
    "Unavailable",
    "UnknownCredential",
    "UnknownModel",
    "UpstreamFailed",
]


class TurnoutError(Exception):
    """The root: catch this to catch everything that Turnout raises on purpose."""

    code: ClassVar[str] = "internal"


class CallerError(TurnoutError):
    """The ask is wrong. The sibling `UpstreamFailed` says that the upstream judged it so."""

    code: ClassVar[str] = "bad_request"


class InvalidAsk(CallerError, ValueError):
    """An argument of a public call is wrong; nothing has changed.

    Attributes:
        argument: the name of the argument, or a path inside it.
    """

    code: ClassVar[str] = "invalid_request"

    def __init__(self, message: str, *, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


class UnknownCredential(InvalidAsk):
    """No credential has the id that was named; nothing has changed."""

    code: ClassVar[str] = "auth_not_found"


class NotSupported(CallerError):
    """The provider of this credential cannot do what was asked (C13)."""

    code: ClassVar[str] = "not_supported"


class UnknownModel(CallerError):
    """No credential is configured to serve this model. The sibling `NoCredential` has some, but none eligible.

    Attributes:
        model: the name as the client sent it.
        served: names that are served, sorted, at most twenty.
    """

    code: ClassVar[str] = "model_not_found"

    def __init__(self, model: str, served: Sequence[str] = ()) -> None:
        self.model = model
        self.served = tuple(served[:20])
        more = len(served) - len(self.served)
        names = ", ".join(self.served) + (f" and {more} more" if more > 0 else "")
        super().__init__(f"unknown model {model!r}; served here: {names or 'none'}")


class PoolError(TurnoutError):
    """Nobody in the pool can take the call now.

    Attributes:
        until: POSIX seconds of the soonest recovery, None when nothing is known.
    """

    code: ClassVar[str] = "auth_unavailable"

    def __init__(self, message: str = "no auth available", *, until: float | None = None) -> None:
        super().__init__(message)
        self.until = until


class NoCredential(PoolError):
    """No credential is eligible at all: none exists, or the pin or the tries so far leave none (C5.12)."""

    code: ClassVar[str] = "auth_not_found"


class Unavailable(PoolError):
    """Candidates exist, none is ready, and no rate limit is the reason (C5.12 with O15).

    Also: nobody is known to serve the model, and a provider has still to say which models it serves.
    """

    code: ClassVar[str] = "auth_unavailable"


class CoolingDown(PoolError):
    """Every candidate waits for a time, and a rate limit is among the reasons (C5.12 with O15, C6.2).

    Attributes:
        model: the requested model, suffix included; may be empty.
        provider: named when exactly one provider was involved (O8), else None.
        until: POSIX seconds of the soonest recovery.
    """

    code: ClassVar[str] = "model_cooldown"

    def __init__(self, *, model: str, until: float, provider: str | None = None) -> None:
        self.model = model
        self.provider = provider
        shown = f"model {model}" if model else "requested model"
        via = f" via provider {provider}" if provider else ""
        super().__init__(f"All credentials for {shown} are cooling down{via}", until=until)


class UpstreamFailed(TurnoutError):
    """An upstream was called and failed.

    Providers raise it, with a verdict, from `execute`, from entering `stream` and from a stream's `__anext__`; it is
    also what a caller gets when every attempt failed: the last one.

    Attributes:
        verdict: why, in the kernel's words; `verdict.detail` may hold the upstream's own answer.
        until: POSIX seconds of the soonest recovery in the pool, as the kernel knows it; None from a provider.

    Raises TypeError for a verdict that is no failure, such as a class in place of an instance of it.
    """

    code: ClassVar[str] = "upstream_error"

    def __init__(self, verdict: Failure, *, until: float | None = None) -> None:
        if not isinstance(verdict, Failure):
            given = f"the class {verdict.__name__}" if isinstance(verdict, type) else f"a {type(verdict).__name__}"
            raise TypeError(f"the verdict of a failure must be a Failure, not {given}")
        super().__init__(verdict.message or verdict.code)
        self.verdict = verdict
        self.until = until


class DeadlineExceeded(TurnoutError):
    """The call's total time ran out. A limit of one attempt is `UpstreamFailed` with `TimedOut` instead."""

    code: ClassVar[str] = "upstream_timeout"


class Draining(TurnoutError):
    """The kernel is closing and takes no new calls, or the time that open streams had to finish is over."""

    code: ClassVar[str] = "draining"


class ConfigError(TurnoutError):
    """The configuration is wrong; nothing of it has been applied.

    Attributes:
        problems: every problem found, each as a paragraph that says where, what and what to do.
    """

    code: ClassVar[str] = "config"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n\n".join(self.problems))


class PluginError(TurnoutError):
    """A plugin could not be loaded, or broke its contract while it served one call.

    Attributes:
        reason: what is wrong, and where it helps what to do.
        group: entry-point group, such as `turnout.providers`.
        name: name inside the group.
        distribution: name and version of the distribution it came from, empty when unknown.
        reason: what is wrong and what to do, without the three above.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, reason: str, *, group: str, name: str, distribution: str = "") -> None:
        self.reason = reason
        self.reason = reason
        self.group = group
        self.name = name
        self.distribution = distribution
        origin = f" (from {distribution})" if distribution else ""
        super().__init__(f"{group.removeprefix('turnout.').removesuffix('s')} {name!r}{origin}: {reason}")


class StoreError(TurnoutError):
    """A store could not read or write. What is in memory stays valid."""

    code: ClassVar[str] = "store"


class StoreConflict(StoreError):
    """A record was changed by somebody else since it was read: read it again and merge.

    Attributes:
        current: version that the store holds now, 0 when the record is gone.
    """

    code: ClassVar[str] = "store_conflict"

    def __init__(self, message: str, *, current: int) -> None:
        super().__init__(message)
        self.current = current
