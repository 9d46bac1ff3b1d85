"""The protocols that plugins implement.

An entry point names a class with `api = 1`. Optional on the class: `Settings`, an attrs class that is structured
strictly from the plugin's own TOML table, and `open(settings, context)`, an async context manager that yields the
instance; without it the class is called with no arguments (or with `settings` when it declares `Settings`). The
context manager is entered, and left, in one task of its own, so it may hold nurseries and cancel scopes.

Capabilities beyond the minimum are the small protocols named `…er` or `Has…` below: the kernel looks for them once,
when the plugin is loaded. Nobody implements stubs.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from logging import Logger
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import attrs

from turnout._events import Event
from turnout._values import (
    Answer,
    Ask,
    Call,
    Chunk,
    Credential,
    Decision,
    Model,
    Outcome,
    Readiness,
    Record,
    Remaining,
    Reply,
    Secret,
)

if TYPE_CHECKING:  # so that the pure ring may name protocols without importing trio
    from socket import socket

    import httpx
    import trio

    from turnout._lasting import LastingScope

__all__ = [
    "API",
    "Allotment",
    "Allotter",
    "AnswerStream",
    "BatchObserver",
    "Binder",
    "Candidate",
    "Change",
    "Claim",
    "Counter",
    "Embedder",
    "Exposer",
    "Frontend",
    "HasRemaining",
    "HasTokenOrigin",
    "KeyRotator",
    "Learner",
    "Lease",
    "Leaser",
    "Limits",
    "Listener",
    "ModelLister",
    "Observer",
    "Places",
    "PluginContext",
    "Provider",
    "ProxyJudge",
    "Reader",
    "Ready",
    "Reconfigurable",
    "Refresher",
    "ReplyStream",
    "RequestPreparer",
    "Selector",
    "Sender",
    "SessionCloser",
    "Share",
    "Store",
    "Switch",
    "TakesNowait",
    "Tier",
    "Translator",
    "Transport",
    "Watcher",
]

API = 1
"""The version of these protocols. A plugin declares the one it was written for as `api`."""


@attrs.frozen(kw_only=True)
class Limits:
    """The deadlines of design 11 in seconds, for plugins that must keep one themselves.

    The kernel enforces `headers`, `first_payload`, `idle` and `total` with cancel scopes; `connect` (DNS, connect and
    TLS together) is the transport's.
    """

    connect: float = 5.0
    headers: float = 600.0
    first_payload: float = 120.0
    idle: float = 120.0
    total: float = 3600.0


@attrs.frozen(kw_only=True)
class PluginContext:
    """What a plugin is handed when it is opened: never the kernel, the ledger or the store.

    Attributes:
        key: key of its table, such as `openrouter` in `[providers.openrouter]`.
        group: entry-point group.
        limits: deadlines in force.
        drain: seconds that open calls get to finish when the kernel closes; it ends them by itself then.
        now: reads the kernel's clock, POSIX seconds; follows the mock clock in tests.
        draw: a random number in [0, 1).
        log: logger of its own, `turnout.GROUP.KEY`.
        briefly: for a store: it is opened for one command, maybe beside a process that runs on it.
        sockets: for a `Binder`: what it serves on, when another process has bound its addresses. Its own, to close.
    """

    key: str
    group: str
    limits: Limits
    drain: float
    now: Callable[[], float]
    draw: Callable[[], float]
    log: Logger
    briefly: bool = False
    sockets: "tuple[socket, ...]" = ()


class ReplyStream(Protocol):
    """An open stream of an upstream: headers, then chunks.

    `__anext__` gives the next chunk, raises `StopAsyncIteration` at a proper end and `UpstreamFailed` otherwise. It
    must be cancellable at every wait, and must not be an async generator that holds a cancel scope or a nursery
    across a yield.
    """

    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    async def __anext__(self) -> Chunk: ...


class TakesNowait(Protocol):
    """A `ReplyStream` that tells what has come already, so that the kernel need not wait for each chunk by itself."""

    def take_nowait(self) -> Chunk | None:
        """The next chunk, if what it is made of has come; None otherwise. Raises as `__anext__` does."""
        ...

    def wait(self, enough: Callable[[], bool] | None = None) -> Coroutine[Any, Any, None]:
        """Wait until `take_nowait`, which has just given None, has something; may raise `UpstreamFailed`.

        It may wait longer where `enough` is given: whoever reads from the upstream asks that whenever something has
        come, and wakes the waiting task only when it gives True. `enough` raises nothing, takes what has come, and
        must not be asked inside of `take_nowait`. Who always wakes the task may leave it alone.
        """
        ...


class HasRemaining(Protocol):
    """A `ReplyStream` whose upstream says what is left of the credential's limits, as `Reply.remaining` does.

    Looked at once, when the first payload is here.
    """

    remaining: Remaining | None


class Provider(Protocol):
    """Talks to one kind of upstream. Never retries, waits for a cooldown or logs payloads.

    Failures are raised as `turnout.errors.UpstreamFailed`; anything else is a bug of the provider and ends the call.
    """

    api: ClassVar[int]

    @property
    def dialects(self) -> frozenset[str]:
        """Formats it speaks natively, such as `openai.chat`; asks in others reach only a `Translator`."""
        ...

    def origin(self, credential: Credential) -> str:
        """`scheme://host:port` that this credential may be sent to; raises ValueError when it has no usable one."""
        ...

    async def execute(self, call: Call) -> Reply:
        """One call that does not stream; waits for the upstream."""
        ...

    def stream(self, call: Call) -> AbstractAsyncContextManager[ReplyStream]:
        """Open a stream. Entering waits until the upstream accepted; leaving closes its connection, undrained.

        What it gives may say `closes_at_once = True` when leaving never waits: the kernel sets no limit for it then.
        """
        ...


@runtime_checkable
class Translator(Protocol):
    """A provider that takes asks in dialects that its upstream does not speak, and answers in them."""

    @property
    def translated(self) -> frozenset[str]:
        """Those dialects. Raise UpstreamFailed(Inexpressible) for an ask of them that the upstream's cannot say."""
        ...


@runtime_checkable
class Counter(Protocol):
    """A provider that can count tokens."""

    async def count(self, call: Call) -> Reply:
        """Count the tokens of a request; raises UpstreamFailed(CountUnsupported) where the upstream cannot."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """A provider that can embed."""

    async def embed(self, call: Call) -> Reply:
        """Give embeddings."""
        ...


@runtime_checkable
class Refresher(Protocol):
    """A provider whose credentials can be renewed."""

    async def refresh(self, credential: Credential, transport: "httpx.AsyncBaseTransport | None") -> Credential | None:
        """A renewed credential, None to keep the one given; raises UpstreamFailed."""
        ...

    def refresh_lead(self, credential: Credential) -> float | None:
        """Seconds before its expiry at which a credential should be renewed (C2.4); None: only when asked to."""
        ...


@runtime_checkable
class HasTokenOrigin(Protocol):
    """A `Refresher` whose credentials are renewed elsewhere than where they are used."""

    def token_origin(self, credential: Credential) -> str:
        """`scheme://host:port` that `refresh` may reach; its transport is bound to that, and calls' never are (S11)."""
        ...


@runtime_checkable
class ModelLister(Protocol):
    """A provider that can ask its upstream which models a credential serves."""

    async def models(self, credential: Credential, transport: "httpx.AsyncBaseTransport | None") -> Iterable[str]:
        """Names as the upstream writes them; raises UpstreamFailed."""
        ...


@runtime_checkable
class RequestPreparer(Protocol):
    """A provider that can put a credential on any HTTP request (C13)."""

    def prepare(self, request: "httpx.Request", credential: Credential) -> None:
        """Put the credential on the request; raises ValueError when it does not belong to the credential's origin."""
        ...


@runtime_checkable
class Sender(Protocol):
    """A provider that sends an arbitrary HTTP request with a credential (C13.4)."""

    async def send(
        self, request: "httpx.Request", credential: Credential, transport: "httpx.AsyncBaseTransport | None"
    ) -> "httpx.Response":
        """Put the credential on the request, send it and give the response, body read."""
        ...


@runtime_checkable
class SessionCloser(Protocol):
    """A provider that keeps something per execution session (C2.2)."""

    async def close_session(self, session: str) -> None:
        """Let go of what belongs to this session. `__all_execution_sessions__` means every one."""
        ...


class Candidate(Protocol):
    """A ready credential, as a selector sees it. Read-only; the same object serves until the credential changes."""

    @property
    def id(self) -> str:
        """Id of the credential."""
        ...

    @property
    def provider(self) -> str:
        """Key of its provider."""
        ...

    @property
    def priority(self) -> int:
        """Higher is better (C1.12.1)."""
        ...

    @property
    def parent(self) -> str:
        """Virtual parent (C1.12.3), empty when it has none."""
        ...

    @property
    def attributes(self) -> Mapping[str, str]:
        """The credential's attributes: configuration, no secrets."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls that this credential serves right now, over all models."""
        ...

    @property
    def latency(self) -> float | None:
        """Moving average of seconds to the reply or first payload; None before the first one."""
        ...

    @property
    def remaining(self) -> Remaining | None:
        """What its upstream said last is left of its limits for this model; None when it said nothing.

        It may be out of date: see its `until`, and `Ready.now`.
        """
        ...


class Tier(Protocol):
    """Ready candidates of one priority, those already tried or not allowed by a pin left out."""

    priority: int

    def __iter__(self) -> Iterator[Candidate]:
        """In the order of the providers asked for, then by id (C5.5)."""
        ...

    def first(self) -> Candidate:
        """The first in that order; O(1) amortised."""
        ...

    def following(self) -> Candidate:
        """The one whose turn it is after the last choice: providers alternate, then parents, then ids (C5.7, C5.10).

        The schedule owns the mark of the last choice and moves it when a selector's choice is called; O(1) amortised.
        """
        ...


class Ready(Protocol):
    """What a selector chooses from: never empty, best tier first. Valid only during `select`."""

    now: float
    """POSIX seconds of this pick."""

    @property
    def best(self) -> Tier:
        """The highest tier that has a ready candidate (C5.8)."""
        ...

    @property
    def tiers(self) -> Sequence[Tier]:
        """Every tier that has one, highest first."""
        ...


class Selector(Protocol):
    """Chooses among ready credentials. Synchronous and pure: no I/O, no clock, randomness only from `draw`."""

    api: ClassVar[int]

    def select(self, ready: Ready, ask: Ask, draw: Callable[[], float]) -> Candidate | None:
        """One of the candidates; None leaves the call without one (C2.5)."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A selector that learns from outcomes."""

    def observe(self, outcome: Outcome, took: float) -> None:
        """Hear how an attempt ended and how many seconds it took."""
        ...


class Store(Protocol):
    """Keeps versioned records. Every method may wait; each is cancellable without leaving half a record behind."""

    api: ClassVar[int]

    async def list(self) -> Iterable[Record]:
        """Every sound record; a damaged one is set aside, logged and left out. Raises StoreError."""
        ...

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        """Write a record durably and give its new version.

        `if_version` is the version it must have now: 0 for none yet, None for any. Raises StoreConflict when it has
        another one, StoreError when it cannot be written; then the old record is intact.
        """
        ...

    async def delete(self, kind: str, id: str) -> None:
        """Remove a record; nothing happens when there is none. Raises StoreError."""
        ...


@attrs.frozen(kw_only=True)
class Change:
    """A record that somebody else has written or removed.

    Attributes:
        record: as it is now; None when it is gone.
    """

    kind: str
    id: str
    record: Record | None


@runtime_checkable
class Watcher(Protocol):
    """A store that others may write to at the same time."""

    def watch(self) -> AsyncIterator[Sequence[Change]]:
        """What others have changed since the last `list`, each record once; what this one wrote is left out.

        `__anext__` waits for changes and never ends. It raises StoreError, and may be asked again then.
        """
        ...


@attrs.frozen(kw_only=True)
class Lease:
    """The sole right to renew one credential.

    Attributes:
        id: of the credential.
        fence: grows with every lease of this id, whoever gets it.
        until: POSIX seconds on the store's clock.
    """

    id: str
    fence: int
    until: float


@runtime_checkable
class Leaser(Protocol):
    """A store that can say which of several processes may renew a credential."""

    def lease(self, id: str, seconds: float) -> AbstractAsyncContextManager[Lease | None]:
        """Hold a lease for so long at most; None while somebody else holds it. Leaving the block gives it back.

        Does not wait for others, and ends within two seconds (G3). While it is held, a save of the credential's secret
        by a holder whose lease somebody else has taken since is a StoreConflict, whatever its version. No nursery or
        cancel scope may stay open across the block. Raises StoreError.
        """
        ...


@attrs.frozen(kw_only=True)
class Share:
    """What another process showed with its last claim on a limit.

    Attributes:
        used: places that it used.
        wanted: places that it asked for.
    """

    used: int
    wanted: int


@attrs.frozen(kw_only=True)
class Claim:
    """What one process wants of a limit that all who share a store keep together.

    Attributes:
        name: of the limit.
        limit: places in all.
        used: places in use: they are held whatever the others have.
        wanted: places to hold from now on; if they are fewer than those in use, the others come free as calls end.
        seconds: for which they are held at most, by the store's clock.
    """

    name: str
    limit: int
    used: int
    wanted: int
    seconds: float

    def granted(self, others: int) -> int:
        """How many of them it may use while the others hold so many; it holds these, or those in use if more."""
        return max(0, min(self.wanted, self.limit - others))


@attrs.frozen(kw_only=True)
class Allotment:
    """What became of a claim.

    Attributes:
        granted: places that may be used until the next claim, or until the seconds are over. Fewer than are in use when
            the others hold the rest: then as many must come free first.
        others: who else has claims on the limit that are not over.
    """

    granted: int
    others: Sequence[Share]


@runtime_checkable
class Allotter(Protocol):
    """A store that divides limits among the processes that share it, so that together they keep them."""

    async def allot(self, claims: Sequence[Claim]) -> Sequence[Allotment]:
        """Put these claims in place of the earlier ones of this process, and give what each got, in order.

        Each is judged by `Claim.granted`, one after the other, whoever else claims meanwhile. What is kept need not
        survive a crash. Waits for two seconds at most; raises StoreError.
        """
        ...


@runtime_checkable
class Reader(Protocol):
    """A store that can give one record without listing all of them."""

    async def read(self, kind: str, id: str) -> Record | None:
        """The record as it is now, whoever wrote it; None when there is none. Raises StoreError, also when damaged."""
        ...


@runtime_checkable
class KeyRotator(Protocol):
    """A store that seals its records."""

    async def rotate_key(self) -> int:
        """Seal with a new master key from now on, and re-wrap what is there; gives how many records that were.

        Others may use the store meanwhile. Raises StoreError; then both keys are kept, and it may be tried again.
        """
        ...


class Transport(Protocol):
    """Opens connections to upstreams and pools them."""

    api: ClassVar[int]

    def for_credential(self, credential: Credential) -> "httpx.AsyncBaseTransport":
        """Connections for this credential, bound to its origin; cheap, called once per attempt. Does not wait.

        The stream of a response may say `closes_at_once = True` when its `aclose()` never waits and never fails:
        a provider then closes it without a shield and a limit. It may have two methods beside `__anext__`:
        `read_nowait()` gives the bytes that have come, empty at the end and None when there are none yet, and raises
        what `__anext__` raises; `wait(enough=None)`, once that has given None, waits until it has something, and with
        `enough` as `TakesNowait.wait` does.

        It may have a method `post(posting, body)` as well, for a POST that goes out again and again with another body.
        A posting has the `url`, the `headers` without the body's length, which nobody changes, and `made`, where the
        transport keeps what it made of them. It waits for the head of the answer, raises what `handle_async_request`
        raises, and gives a tuple: status, headers, what has come of the body, and the rest as a stream or None.
        """
        ...


@runtime_checkable
class ProxyJudge(Protocol):
    """A transport that uses proxies, and whose class knows which. With any other a credential may have none."""

    @classmethod
    def proxy_flaw(cls, proxy: Secret) -> str:
        """Why no credential can use this proxy, without showing it, and what to do; empty when they can.

        Asked of the class as well, so that a configuration is checked before anything is open.
        """
        ...


class AnswerStream(Protocol):
    """A stream that has been committed: its first payload is here."""

    headers: Mapping[str, str]
    decision: Decision

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    async def __anext__(self) -> Chunk: ...

    async def hand_on(self, take: Callable[[bytes], bool]) -> bytes | None:
        """Give every chunk's bytes to `take` as soon as they have come, until it gives False or the stream ends.

        `take` must not wait, and is called in whichever task has read the bytes, so that the one that waits here need
        not be woken for each of them. When it gives False, it has taken them all the same, but wants no more for now:
        None is given, and `hand_on` may be called again. Otherwise gives the bytes that came together with the end,
        which `take` has not been given: often the whole stream, sometimes none. Raises what `__anext__` and `take`
        raise, once what came before is taken.
        """
        ...


class Places(Protocol):
    """Places under limits of a frontend's own, counted over every process that shares a store which is an `Allotter`.

    A name says what is counted, and for whom: the same in every process, and nothing secret.
    """

    async def enter(self, name: str, limit: int) -> bool:
        """Take a place; False when there is none. Waits only while others may give one back that they do not use."""
        ...

    def leave(self, name: str) -> None:
        """Give a place back."""
        ...


class Switch(Protocol):
    """What a frontend may do with the kernel, and nothing else."""

    @property
    def places(self) -> Places:
        """Places under limits that hold over all processes."""
        ...

    async def execute(self, ask: Ask, under: "LastingScope | None" = None) -> Answer:
        """Conduct a call that does not stream; raises TurnoutError.

        `under` is for a task that makes one call after another: the scope that it keeps open meanwhile.
        """
        ...

    def stream(self, ask: Ask, under: "LastingScope | None" = None) -> AbstractAsyncContextManager[AnswerStream]:
        """Conduct a streaming call; entering waits for the first payload and raises TurnoutError."""
        ...

    async def count(self, ask: Ask, under: "LastingScope | None" = None) -> Answer:
        """Count tokens."""
        ...

    async def embed(self, ask: Ask, under: "LastingScope | None" = None) -> Answer:
        """Embed."""
        ...

    def models(self) -> Sequence[Model]:
        """What clients may ask for, sorted by name."""
        ...

    def readiness(self) -> Readiness:
        """Whether calls can be served now."""
        ...

    async def wait_draining(self) -> None:
        """Wait until the kernel begins to close. Then stop accepting, let calls finish, and return from `serve`."""
        ...

    def explain(self, id: str) -> Decision | None:
        """The decision record of a recent call, None when it is not known any more.

        Of calls with the same id it is the last one's, whoever made it: `Decision.client` says who.
        """
        ...

    def expose(self) -> Mapping[str, str]:
        """Text that observers offer, such as metrics: media type to text."""
        ...

    async def close_session(self, session: str) -> None:
        """Say that the long-lived session of earlier asks (`Ask.session`) is over (C3.6.4); providers are told."""
        ...

    def keep(self, name: str, credential: str) -> None:
        """Remember that this credential's upstream keeps something for a client, which will name it later (C17.3).

        `name` must be one that no other client can give, for whoever gives it is taken for the owner (S8): make it of
        the client's key and the upstream's id.
        """
        ...

    async def keeper(self, name: str) -> str | None:
        """Id of the credential to pin an ask to (`Ask.pin`) that names what is kept; None when nobody is known to.

        May wait for the store, which has what other processes remember.
        """
        ...


class Frontend(Protocol):
    """Serves clients and turns their requests into asks."""

    api: ClassVar[int]

    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        """Serve until draining is over; report addresses such as `http://127.0.0.1:8080` once listening."""
        ...


@runtime_checkable
class Binder(Protocol):
    """A frontend's class whose addresses can be bound before it is opened, so that several processes serve on them."""

    def bind(self, settings: Any) -> "Sequence[socket]":
        """A class method: sockets that listen, not blocking, where these settings say.

        Raises OSError when the system refuses an address; its `strerror` is what the operator reads.

        Each process hands them to `open` as `context.sockets`; several accept from one, so accepting must not block.
        """
        ...


@runtime_checkable
class Listener(Protocol):
    """A frontend's class that says where it will listen, so that an address in two tables is refused before a start."""

    def listens(self, settings: Any) -> "Sequence[str]":
        """A class method: the addresses of these settings, each always written alike, such as `127.0.0.1:8080`.

        Without those that no other table can take, such as a port that the system picks.
        """
        ...


@runtime_checkable
class Reconfigurable(Protocol):
    """A frontend that can take on new settings while it serves."""

    def check(self, settings: Any) -> None:
        """Raise ConfigError for settings that take a restart, saying which."""
        ...

    def reconfigure(self, settings: Any) -> None:
        """Take on settings that `check` let pass; calls under way finish on the old ones. Raises nothing."""
        ...


class Observer(Protocol):
    """Hears events, from a bounded queue of its own: a slow one loses events, and that is counted."""

    api: ClassVar[int]

    async def hear(self, event: Event) -> None:
        """Take notice of one event."""
        ...


@runtime_checkable
class BatchObserver(Protocol):
    """An observer that takes events many at a time, at a third of what they cost one by one; `hear` is not called."""

    async def hear_batch(self, events: Sequence[Event]) -> None:
        """Take notice of some events, in order; at least one. What it raises counts for all of them."""
        ...


@runtime_checkable
class Exposer(Protocol):
    """An observer that has text to show, such as metrics."""

    def expose(self) -> Mapping[str, str]:
        """Media type to text."""
        ...
