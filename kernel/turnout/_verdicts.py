"""Verdicts: how an attempt ended, in the kernel's vocabulary.

A provider translates what happened on its wire into one of these; the kernel never sees a status code. A verdict
says whom the failure speaks against (`blame`), and how far the request got (`sent`), because that decides what may
be tried again.
"""

import enum
from typing import ClassVar, Final, final

import attrs


class Blame(enum.Enum):
    """Whom a failure speaks against, and so what the attempt loop does next."""

    NOBODY = "nobody"
    """Nothing is learned about anybody: try the next credential."""
    REQUEST = "request"
    """The client's own mistake: every credential would refuse it, so the call ends at once."""
    CREDENTIAL = "credential"
    """This credential cannot serve the model now: walk on to the next one."""
    ORIGIN = "origin"
    """The upstream or the way to it is ill: its other credentials are likely to fail in the same way."""


ON_ORIGIN: Final = Blame.ORIGIN
"""As globals, here and below: a member that is looked up on its enum costs 0.45 µs on Python 3.11."""


class Sent(enum.Enum):
    """How far the request got before the attempt failed."""

    NO = "no"
    """Not one byte of it reached the upstream: trying again can bill nobody twice."""
    MAYBE = "maybe"
    """It was sent and no byte of an answer came: trying again may bill twice."""
    ANSWERED = "answered"
    """The upstream answered."""


MAYBE: Final = Sent.MAYBE
ANSWERED: Final = Sent.ANSWERED


@attrs.frozen(kw_only=True)
class Verdict:
    """How an attempt ended: `Done` or a `Failure`."""


@final
@attrs.frozen(kw_only=True)
class Done(Verdict):
    """The attempt succeeded: a reply came, or a stream ended by itself after a payload."""


@attrs.frozen(kw_only=True)
class Failure(Verdict):
    """Why an attempt failed.

    Attributes:
        message: one short line for people. The provider has removed every secret from it.
        sent: how far the request got.
        retry_after: seconds that the upstream asked us to wait, unclamped; None when it said nothing.
        detail: whatever lets a frontend relay the upstream's own answer; the kernel never looks inside.

    Raises TypeError for a `message` that is no text, and the like: a header's "5" is no number of seconds.
    """

    code: ClassVar[str] = "upstream_error"
    blame: ClassVar[Blame] = Blame.NOBODY

    message: str = ""
    sent: Sent = Sent.ANSWERED
    retry_after: float | None = None
    detail: object = attrs.field(default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        after: object = self.retry_after
        if after is not None and (isinstance(after, bool) or not isinstance(after, int | float)):
            raise TypeError(f"retry_after must be a number of seconds or None, not a {type(after).__name__}")
        if not isinstance(self.message, str):
            raise TypeError(f"message must be a text, not a {type(self.message).__name__}")
        if not isinstance(self.sent, Sent):
            raise TypeError(f"sent must be a Sent, not a {type(self.sent).__name__}")


@final
@attrs.frozen(kw_only=True)
class RateLimited(Failure):
    """The credential has used up a limit (429)."""

    code: ClassVar[str] = "rate_limited"
    blame: ClassVar[Blame] = Blame.CREDENTIAL


@final
@attrs.frozen(kw_only=True)
class Unauthorized(Failure):
    """The upstream refuses the credential itself (401): a refresh may cure it."""

    code: ClassVar[str] = "unauthorized"
    blame: ClassVar[Blame] = Blame.CREDENTIAL


@final
@attrs.frozen(kw_only=True)
class PaymentRequired(Failure):
    """The account may not be used for this: spent, unpaid or forbidden (402, 403)."""

    code: ClassVar[str] = "payment_required"
    blame: ClassVar[Blame] = Blame.CREDENTIAL


@final
@attrs.frozen(kw_only=True)
class ModelMissing(Failure):
    """The upstream does not know the model for this credential (404)."""

    code: ClassVar[str] = "not_found"
    blame: ClassVar[Blame] = Blame.CREDENTIAL


@final
@attrs.frozen(kw_only=True)
class ModelUnsupported(Failure):
    """The upstream knows the model but not for this account or plan (C6.3.1)."""

    code: ClassVar[str] = "model_not_supported"
    blame: ClassVar[Blame] = Blame.CREDENTIAL


@final
@attrs.frozen(kw_only=True)
class Transient(Failure):
    """The upstream failed in a way that passes (408, 5xx)."""

    code: ClassVar[str] = "upstream_error"
    blame: ClassVar[Blame] = Blame.ORIGIN


@final
@attrs.frozen(kw_only=True)
class Overloaded(Failure):
    """The upstream says that it has too much to do (529, 503 with that meaning)."""

    code: ClassVar[str] = "overloaded"
    blame: ClassVar[Blame] = Blame.ORIGIN


@final
@attrs.frozen(kw_only=True)
class Unreachable(Failure):
    """No connection came about, or it broke before an answer: DNS, connect, TLS, reset."""

    code: ClassVar[str] = "upstream_unreachable"
    blame: ClassVar[Blame] = Blame.ORIGIN


class Phase(enum.Enum):
    """Which limit ran out."""

    CONNECT = "connect"
    HEADERS = "headers"
    FIRST_PAYLOAD = "first_payload"
    IDLE = "idle"


HEADERS: Final = Phase.HEADERS
FIRST_PAYLOAD: Final = Phase.FIRST_PAYLOAD
IDLE: Final = Phase.IDLE


@final
@attrs.frozen(kw_only=True)
class TimedOut(Failure):
    """A limit of the attempt ran out before the upstream did its part."""

    code: ClassVar[str] = "upstream_timeout"
    blame: ClassVar[Blame] = Blame.ORIGIN

    phase: Phase = Phase.HEADERS


@final
@attrs.frozen(kw_only=True)
class Protocol(Failure):
    """The upstream broke its protocol: cut off, malformed, redirected, too large."""

    code: ClassVar[str] = "upstream_protocol"
    blame: ClassVar[Blame] = Blame.ORIGIN


@final
@attrs.frozen(kw_only=True)
class InvalidRequest(Failure):
    """The client's own mistake, as the upstream sees it (C6.3.2, 413, 422)."""

    code: ClassVar[str] = "bad_request"
    blame: ClassVar[Blame] = Blame.REQUEST


@final
@attrs.frozen(kw_only=True)
class CountUnsupported(Failure):
    """The upstream has no endpoint that counts tokens (O41): nobody is benched for that."""

    code: ClassVar[str] = "not_supported"
    blame: ClassVar[Blame] = Blame.NOBODY


@final
@attrs.frozen(kw_only=True)
class Inexpressible(Failure):
    """The upstream's API has no way to say this request, so nothing was sent; another provider's may have one.

    Nobody is benched, and the provider's other credentials are left out of the call. `detail` may hold the `InvalidAsk`
    that says which part of the request it is; without one the API lacks the whole operation.
    """

    code: ClassVar[str] = "not_supported"
    blame: ClassVar[Blame] = Blame.NOBODY


@final
@attrs.frozen(kw_only=True)
class Empty(Failure):
    """The stream ended before its first payload (C9.3, O34)."""

    code: ClassVar[str] = "empty_stream"
    blame: ClassVar[Blame] = Blame.NOBODY


@final
@attrs.frozen(kw_only=True)
class Failed(Failure):
    """Any other refusal: nothing is learned from it, the next credential is tried."""

    code: ClassVar[str] = "upstream_error"
    blame: ClassVar[Blame] = Blame.NOBODY


FAILURES: tuple[type[Failure], ...] = (
    RateLimited,
    Unauthorized,
    PaymentRequired,
    ModelMissing,
    ModelUnsupported,
    Transient,
    Overloaded,
    Unreachable,
    TimedOut,
    Protocol,
    InvalidRequest,
    CountUnsupported,
    Inexpressible,
    Empty,
    Failed,
)
"""Every failure there is. Tables that map verdicts are tested against this list."""
