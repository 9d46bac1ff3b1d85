"""What a scenario may do, step by step, as plain data."""

from collections.abc import Iterable
from typing import Any

import attrs

from turnout._values import Ask, Credential, refuse
from turnout._verdicts import Failure, Verdict
from turnout.testing._scripted import Script, not_negative


def _ask(ask: Ask | str) -> Ask:
    return Ask(model=ask) if isinstance(ask, str) else ask


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        refuse(f"several names are due, not the text {names!r}", "names")
    return tuple(names)


def checked_steps(steps: "Iterable[Step]") -> "tuple[Step, ...]":
    """The steps, if all of them are; raises InvalidAsk."""
    steps = tuple(steps)
    for step in steps:
        if not isinstance(step, Step):
            refuse(f"a {type(step).__name__} is no step of a scenario", "steps")
    return steps


def _verdict(step: object, field: object, value: Any) -> None:  # noqa: ARG001 # a validator's arguments
    if not isinstance(value, Verdict):
        refuse(f"a verdict is due, not {value!r}", "verdict")


def scripted(script: Script | Verdict) -> Script:
    """A script as it is; a verdict as the script of a call that ends so. Raises InvalidAsk for anything else."""
    if isinstance(script, Script):
        return script
    if not isinstance(script, Verdict):
        refuse(f"a Script or a verdict is due, not {script!r}", "script")
    return Script(failure=script) if isinstance(script, Failure) else Script()


def _scripts(scripts: Iterable[Script | Verdict]) -> tuple[Script, ...]:
    return tuple(scripted(one) for one in scripts)


@attrs.frozen
class Step:
    """One thing that is done."""


@attrs.frozen
class Execute(Step):
    """Call without a stream; gives the `Answer`.

    Attributes:
        ask: or just the model's name.
        cancel_after: seconds after which the client goes away, None for never.
    """

    ask: Ask = attrs.field(converter=_ask)
    cancel_after: float | None = attrs.field(default=None, kw_only=True, validator=not_negative)


@attrs.frozen
class Count(Step):
    """Count tokens; gives the `Answer`."""

    ask: Ask = attrs.field(converter=_ask)
    cancel_after: float | None = attrs.field(default=None, kw_only=True, validator=not_negative)


@attrs.frozen
class Stream(Step):
    """Call with a stream; gives the chunks that came, also when it fails later.

    Attributes:
        ask: or just the model's name.
        take: chunks after which the client leaves; None to stay to the end.
        pause: seconds that the client takes over each chunk.
        cancel_after: seconds after which the client goes away, None for never.
    """

    ask: Ask = attrs.field(converter=_ask)
    take: int | None = attrs.field(default=None, kw_only=True, validator=not_negative)
    pause: float = attrs.field(default=0.0, kw_only=True, validator=not_negative)
    cancel_after: float | None = attrs.field(default=None, kw_only=True, validator=not_negative)


@attrs.frozen
class Pick(Step):
    """Pick a credential as a call would, without calling it; gives its id. Rotations move on as for a call."""

    ask: Ask = attrs.field(converter=_ask)
    tried: tuple[str, ...] = attrs.field(default=(), converter=_names, kw_only=True)


@attrs.frozen
class RecordOutcome(Step):
    """Record how a call that somebody else made has ended (C10)."""

    credential: str
    verdict: Verdict = attrs.field(validator=_verdict)
    model: str = ""


@attrs.frozen
class Wait(Step):
    """Let so many seconds pass."""

    seconds: float = attrs.field(validator=not_negative)


@attrs.frozen
class Inspect(Step):
    """Look at a credential; gives what was `Seen` of it, None when there is no such credential."""

    credential: str


@attrs.frozen
class Models(Step):
    """Look at what is served; gives each `Model`."""


@attrs.frozen
class Register(Step):
    """Register a credential; gives it as it is in force."""

    credential: Credential


@attrs.frozen
class Update(Step):
    """Update a credential; gives it as it is in force. `changes` are attributes to replace in what is in force now."""

    credential: Credential | str
    changes: dict[str, Any] = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Remove(Step):
    """Remove a credential."""

    credential: str


@attrs.frozen
class Disable(Step):
    """Switch a credential off."""

    credential: str


@attrs.frozen
class Enable(Step):
    """Switch a credential on."""

    credential: str


@attrs.frozen
class Reset(Step):
    """Forget the cooldowns and errors of a credential."""

    credential: str


@attrs.frozen
class Announce(Step):
    """From now on a credential serves exactly these models."""

    credential: str
    models: tuple[str, ...] = attrs.field(converter=_names)


@attrs.frozen
class Stick(Step):
    """Have a session prefer a credential for a model."""

    affinity: str
    model: str
    credential: str


@attrs.frozen
class Refresh(Step):
    """Have a credential refreshed, and wait for that; gives the `Failure`, None when there was none."""

    credential: str


@attrs.frozen
class Reload(Step):
    """Put another configuration in force."""

    config: str


@attrs.frozen
class Play(Step):
    """Add scripts for calls with one credential, or with any when `credential` is empty."""

    credential: str
    scripts: tuple[Script, ...] = attrs.field(converter=_scripts)


@attrs.frozen
class Together(Step):
    """Do these at the same time, and wait for all of them; gives their results."""

    steps: tuple[Step, ...] = attrs.field(converter=checked_steps)


@attrs.frozen
class Series(Step):
    """Do these one after the other, inside of `Together`; gives their results."""

    steps: tuple[Step, ...] = attrs.field(converter=checked_steps)
