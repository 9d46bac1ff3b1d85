"""The values that travel through the house: frozen, slotted, checked when they are built.

A credential's configuration and secrets (`Credential`) live apart from what outcomes change (`CredentialState`), so
that recording an outcome never copies a token and a cooldown never overwrites one.

Times are POSIX seconds unless a name says otherwise; None means unset and is neither past nor future (C0.2).
"""

import copy
import enum
import hmac
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NewType, NoReturn, final

import attrs

from turnout._verdicts import Verdict
from turnout.errors import InvalidAsk

if TYPE_CHECKING:
    import attr
    import httpx

Seconds = NewType("Seconds", float)
"""A duration in a plugin's `Settings`: written `"30s"`, `"1h30m"`, `"250ms"` in TOML, a float of seconds in code."""

ByteCount = NewType("ByteCount", int)
"""A size in a plugin's `Settings`: written `"64KiB"`, `"32MiB"` or a whole number in TOML, bytes in code."""

EMPTY: Mapping[str, Any] = MappingProxyType({})
"""A shared empty read-only mapping."""

MASK = "***"


@final
class Secret:
    """A text that never shows itself: `repr`, `str`, `format` and pickles give `***`.

    Equality takes the same time wherever two secrets differ. `reveal()` is called only in the functions that
    `tests/rules` lists.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InvalidAsk(f"a secret is a text, not {type(text).__name__}", argument="text")
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (MASK,)

    def __copy__(self) -> "Secret":
        return self  # a copy stays in the process, so it is no mask that would be sent upstream

    def __deepcopy__(self, memo: object) -> "Secret":
        return self


@final
class Metadata(Mapping[str, Any]):
    """What a provider keeps about a credential (tokens, e-mail, expiry, overrides): read-only JSON, masked in `repr`.

    Two are equal when their content is. It may hold secrets, so nothing prints it; a pickle of it is empty.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] = EMPTY) -> None:
        if not isinstance(items, Mapping):
            refuse(f"Metadata is made of a mapping, not {type(items).__name__}", "items")
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __contains__(self, key: object) -> bool:  # `Mapping` would raise and catch a KeyError
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<Metadata of {len(self._items)} keys>"

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Metadata) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # nested JSON is not hashable

    def __reduce__(self) -> tuple[type["Metadata"], tuple[()]]:
        return Metadata, ()

    def __copy__(self) -> "Metadata":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Metadata":
        return Metadata(copy.deepcopy(self._items, memo))


class Status(enum.Enum):
    """Status of a credential or of one model on it (C1.5). Only `DISABLED` influences picking."""

    UNKNOWN = "unknown"
    ACTIVE = "active"
    PENDING = "pending"
    REFRESHING = "refreshing"
    ERROR = "error"
    DISABLED = "disabled"


ACTIVE: Final = Status.ACTIVE
ERROR: Final = Status.ERROR
DISABLED: Final = Status.DISABLED
"""To be used where it counts: a member that is looked up on its enum costs 0.45 µs on Python 3.11, a global 0.02."""


def _attributes(value: Mapping[str, str]) -> MappingProxyType[str, str]:
    if not isinstance(value, Mapping):
        refuse(f"Credential.attributes must be a mapping, not {type(value).__name__}", "attributes")
    return _frozen_mapping(value)


def _frozen_mapping(value: Mapping[str, Any]) -> MappingProxyType[str, Any]:
    return value if type(value) is MappingProxyType else MappingProxyType(dict(value))


def _key(text: str) -> str:
    return text.strip().lower() if isinstance(text, str) else text


def _not_blank(instance: object, attribute: "attr.Attribute[str]", value: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidAsk(
            f"{type(instance).__name__}.{attribute.name} must be a non-blank text", argument=attribute.name
        )


def _id_or_none_yet(instance: object, attribute: "attr.Attribute[str]", value: str) -> None:
    if value != "":  # a credential may get its id when it is registered (C3.2)
        _not_blank(instance, attribute, value)


@final
@attrs.frozen(kw_only=True)
class ErrorRecord:
    """What went wrong last, safe to show: the short code of a verdict and its scrubbed message (C1.4)."""

    code: str = ""
    message: str = ""
    retryable: bool = False

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class Quota:
    """Rate-limit state (C1.3). `backoff_level` is the exponent of C10.6, 0 to 11."""

    exceeded: bool = False
    reason: str = ""
    next_recover_at: float | None = None
    backoff_level: int = 0


NO_QUOTA = Quota()


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class ModelState:
    """What is known about one model on one credential (C1.2)."""

    status: Status = Status.ACTIVE
    status_message: str = ""
    unavailable: bool = False
    next_retry_after: float | None = None
    last_error: ErrorRecord | None = None
    quota: Quota = NO_QUOTA
    updated_at: float | None = None


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class CredentialState:
    """What outcomes change about a credential.

    Attributes:
        models: state per recorded name: the base name of the model as the upstream side knows it (O27, O28).
        needs_login: why nobody but a person can renew this credential, empty when that is not so.
        refused: a digest of the secret that `needs_login` is about: with another one it no longer holds.
        unusable_until: its token has ended and could not be renewed; tried again then (O57). None while it is usable.
        reset_at: POSIX seconds at which an operator had all of it forgotten (O22): older words of others do not count.
            None for never.
    """

    status: Status = Status.ACTIVE
    status_message: str = ""
    unavailable: bool = False
    next_retry_after: float | None = None
    last_error: ErrorRecord | None = None
    quota: Quota = NO_QUOTA
    models: MappingProxyType[str, ModelState] = attrs.field(default=EMPTY, converter=_frozen_mapping)
    updated_at: float | None = None
    needs_login: str = ""
    refused: str = ""
    unusable_until: float | None = None
    reset_at: float | None = None


CLEAN = CredentialState()
"""The state of a credential about which nothing bad is known."""


@final
@attrs.frozen(kw_only=True)
class Credential:
    """One account or key at one provider: who it is and what it may use (C1.1).

    Attributes:
        id: unique and stable; what logs and decision records show. Empty: the kernel makes one when it is registered.
        provider: key of the configured provider, lower-cased and trimmed.
        api_key: the key, when it has one; the contract's attribute `api_key`.
        index: stable short identifier (C1.7), assigned by the kernel when empty.
        origin: `scheme://host:port` that this credential may be sent to; the kernel takes it from the provider.
        disabled: the operator's decision; no outcome changes it (O23).
        attributes: configuration, text to text (C1.17).
        metadata: mutable provider state; None means that it has none and is never persisted (C3.7).
        runtime: in-memory companion of the provider, never kept (C2.3).
    """

    id: str = attrs.field(validator=_id_or_none_yet)
    provider: str = attrs.field(validator=_not_blank, converter=_key)
    api_key: Secret | None = None
    index: str = ""
    label: str = ""
    prefix: str = ""
    file_name: str = ""
    proxy_url: Secret | None = None
    origin: str = ""
    disabled: bool = False
    attributes: Mapping[str, str] = attrs.field(default=EMPTY, converter=_attributes, repr=False)
    metadata: Metadata | None = None
    created_at: float | None = None
    updated_at: float | None = None
    last_refreshed_at: float | None = None
    next_refresh_after: float | None = None
    runtime: object = attrs.field(default=None, repr=False, eq=False)


class Operation(enum.Enum):
    """What a client wants done with a model."""

    GENERATE = "generate"
    COUNT = "count"
    EMBED = "embed"


@final
@attrs.frozen(kw_only=True)
class Ask:
    """What a client wants, as the kernel sees it. The kernel reads neither payload nor headers.

    Attributes:
        model: the name as the client sent it: prefix, base and thinking suffix (C7).
        payload: the request body, passed on unread.
        dialect: format of the payload, such as `openai.chat`.
        operation: generate, count or embed; whether it streams is said by the kernel method that is called.
        headers: request headers that a provider may pass on; the frontend has kept only allowed ones.
        id: request id for logs and the decision record; the kernel makes one when empty.
        client: who asks, by a name of the frontend's that is no key, for the decision record; empty when it has none.
        affinity: key of the client's session or cache (C12), None when it has none; the kernel keeps only a digest.
        pin: id of the only credential that may serve this ask (C5.11), None for any.
        deadline: seconds the whole call may take, None for the configured total.
        session: id of a long-lived downstream session (C3.6), empty when there is none.
        websocket: the request came over a downstream websocket (C5.9.3).
        metadata: whatever frontends and providers agree on; the kernel passes it on.
    """

    model: str
    payload: bytes = attrs.field(default=b"", repr=False)
    dialect: str = ""
    operation: Operation = Operation.GENERATE
    headers: Mapping[str, str] = attrs.field(default=EMPTY, repr=False)
    id: str = ""
    client: str = ""
    affinity: str | None = attrs.field(default=None, repr=False)
    pin: str | None = None
    deadline: float | None = None
    session: str = ""
    websocket: bool = False
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, repr=False)


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class Call:
    """One attempt, as a provider gets it.

    Attributes:
        model: name to send upstream, thinking suffix included when there is one.
        transport: connections bound to this credential's origin; it refuses any other. Scripted providers get None.
    """

    ask: Ask
    credential: Credential
    model: str
    transport: "httpx.AsyncBaseTransport | None" = attrs.field(default=None, repr=False)


@final
@attrs.frozen(kw_only=True)
class Remaining:
    """What is left of a credential's limits at its upstream, as an answer said.

    Attributes:
        share: of the limit that is used up most, from 0.0 for nothing left to 1.0 for all of it.
        until: POSIX seconds; from then on nothing is known any more, for that limit has begun anew.
    """

    share: float
    until: float

    def __attrs_post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            refuse(f"remaining.share lies between 0 and 1, not at {self.share!r}", "remaining.share")


@final
@attrs.frozen(kw_only=True)
class Reply:
    """What a provider gives back for a call that does not stream.

    Attributes:
        headers: those a client may see.
        remaining: what the upstream says is left of the credential's limits for this model; None when it says nothing.
    """

    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(default=EMPTY, repr=False)
    remaining: Remaining | None = None


class Chunk(NamedTuple):
    """A piece of a stream: the bytes as they came, and whether a client can use them (payload, see the glossary)."""

    data: bytes
    payload: bool = True


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class Outcome:
    """How one upstream call ended, for one credential and model (C10.1).

    Attributes:
        credential: id.
        model: recorded name: base name of the upstream side (O27, O28); empty for the credential as a whole.
    """

    credential: str
    provider: str
    model: str
    verdict: Verdict


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class Attempt:
    """One line of a decision record. Times are seconds since the call began."""

    credential: str
    provider: str
    model: str
    began: float
    ended: float
    verdict: Verdict


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class Decision:
    """How one call was conducted: who was asked, how each attempt ended, who served it. No prompts, no secrets.

    Attributes:
        id: request id.
        model: the name as the client sent it.
        began: POSIX seconds.
        took: seconds until the answer, or until the first payload of a stream.
        passes: how many passes were begun.
        waited: seconds spent waiting for recoveries.
        attempts: in order.
        skipped: (credential id, why) of those that were left out, at most twenty.
        served_by: id of the credential that served it, empty when none did.
        error: code of the error the caller got, empty on success.
        client: `Ask.client`; clients choose ids, so a frontend that shows a record compares it first (S8).
    """

    id: str
    model: str
    operation: Operation
    stream: bool
    began: float
    took: float
    passes: int
    waited: float
    attempts: tuple[Attempt, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    served_by: str = ""
    upstream_model: str = ""
    error: str = ""
    client: str = ""


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class Answer:
    """A finished call: the provider's reply, and how it came about (O42)."""

    reply: Reply
    decision: Decision


@final
@attrs.frozen(kw_only=True)
class Model:
    """A model as clients see it in a listing.

    Attributes:
        name: name to ask for, prefix included.
        providers: keys of the providers that serve it.
        ready: how many credentials could serve it now (O61).
    """

    name: str
    providers: tuple[str, ...]
    ready: int


@final
@attrs.frozen(kw_only=True)
class Readiness:
    """Whether a kernel can serve calls.

    Attributes:
        ready: False while it starts or drains, or when no credential is ready for any model.
        draining: it is closing.
        problems: short texts without secrets or credential names, empty when all is well.
    """

    ready: bool
    draining: bool = False
    problems: tuple[str, ...] = ()


@final
@attrs.frozen(kw_only=True)
class Record:
    """A versioned record of a store.

    Attributes:
        kind: `secret` for what must be sealed, `state` for what outcomes change.
        version: starts at 1 and grows with each write.
    """

    kind: str
    id: str
    data: bytes = attrs.field(repr=False)
    version: int


def refuse(message: str, argument: str) -> NoReturn:
    """Raise `InvalidAsk` for a bad argument of a public call."""
    raise InvalidAsk(message, argument=argument)


def refuse_all(refusals: Sequence[InvalidAsk]) -> None:
    """Raise these, several of them as one group; return when there is none."""
    if len(refusals) > 1:
        raise ExceptionGroup(f"{len(refusals)} values are refused", refusals)
    for refusal in refusals:
        raise refusal
