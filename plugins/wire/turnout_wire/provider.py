"""What every provider over HTTP does alike: credentials onto requests, answers to replies or verdicts.

A provider for one API is a subclass that says how a credential is shown, and which path and which members belong to
which operation. Requests and answers pass as the bytes that came.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import httpx
import msgspec

from turnout import Call, Credential, Failure, Operation, Remaining, Reply, Sent, Unauthorized
from turnout.errors import InvalidAsk, UpstreamFailed
from turnout_wire._failure import UPSTREAM_EXCEPTIONS, verdict_of_exception
from turnout_wire._headers import check_headers, reply_fields, reply_head, request_headers
from turnout_wire._heads import Members, told
from turnout_wire._json import with_model
from turnout_wire._origins import endpoint, origin_of, origin_of_url, parsed_base
from turnout_wire._passing import Grammar
from turnout_wire._remaining import Gauge
from turnout_wire._scrub import Known, secrets_of
from turnout_wire._verdict import Mark, error_alone, status_of_error, verdict
from turnout_wire.exchange import COMPRESSED, PLAIN, Exchange, Fields, Posting, broken, posted
from turnout_wire.stream import OpenStream

_HEADER = "header:"

_KEPT = 10_000
"""Credentials whose headers are kept ready."""

_PLAIN = frozenset(name.encode() for name in PLAIN)

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_PATHS = 16
"""Postings that are kept for one credential: a path may name the model."""

_NOTHING_MADE: tuple[None, dict[str, Posting]] = (None, {})


class HttpProvider(ABC):
    """A provider on a base URL; a credential's own `base_url` attribute wins.

    Attributes:
        marks: what its refusals mean beyond their status.
    """

    marks: Sequence[Mark] = ()

    def __init__(self, base_url: str, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers are measured by it."""
        self._base = base_url
        self._now = now
        self._gauge = Gauge()
        self._known = Known()
        self._ready: dict[str, tuple[Credential, dict[str, Posting]]] = {}

    @abstractmethod
    def shown(self, credential: Credential) -> dict[str, str]:
        """The headers that show a credential to the upstream, lower-case."""

    def origin(self, credential: Credential) -> str:
        """`scheme://host:port` that this credential may be sent to; raises ValueError for an unusable `base_url`."""
        return origin_of(self.base_url(credential))

    def base_url(self, credential: Credential) -> str:
        """Where the API is for this credential."""
        return credential.attributes.get("base_url") or self._base

    def now(self) -> float:
        """POSIX seconds."""
        return self._now()

    def prepare(self, request: httpx.Request, credential: Credential) -> None:
        """Put the credential on a request (C13.2); raises ValueError when it goes to another origin."""
        if origin_of_url(request.url) != self.origin(credential):
            raise ValueError("the request does not go to the origin of the credential")
        for name, value in self.headers(credential).items():
            request.headers[name] = value

    async def send(
        self, request: httpx.Request, credential: Credential, transport: httpx.AsyncBaseTransport | None
    ) -> httpx.Response:
        """Send any request with the credential (C13.4) and give the response, whatever its status, body read."""
        self.prepare(request, credential)
        async with Exchange.of(given(transport), request) as exchange:
            body = await exchange.read_body()
        return httpx.Response(exchange.status, headers=exchange.headers, content=body, request=request)

    def headers(self, credential: Credential) -> dict[str, str]:
        """What every request of this credential carries; its own `header:NAME` attributes win (C1.17).

        Raises UpstreamFailed(Unauthorized) for a key or attribute that no header can carry: nothing is sent, and the
        next credential is tried.
        """
        headers = {"accept-encoding": "identity", "user-agent": "turnout", **self.shown(credential)}
        for name, value in credential.attributes.items():
            if name.startswith(_HEADER):
                headers[name.removeprefix(_HEADER).lower()] = value
        try:
            check_headers(headers.items())
        except InvalidAsk as exc:
            raise UpstreamFailed(Unauthorized(message=f"credential unusable: {exc}", sent=Sent.NO)) from None
        return headers

    def payload(self, call: Call) -> bytes:
        """The body to send: the client's own, its `model` replaced when the upstream has another name for it."""
        ask = call.ask
        return ask.payload if call.model == ask.model else with_model(ask.payload, call.model)

    async def posted(self, call: Call, path: str, members: Members, *, dialect: str) -> Reply:
        """The reply to a POST of the call's payload; waits. Raises UpstreamFailed."""
        if call.ask.headers:
            return await self._replied(self.begun(call, path, dialect=dialect), call, members, dialect)
        payload, transport = self.payload(call), given(call.transport)
        sending = posted(transport, self._posting(call.credential, path), payload)
        try:
            answer = await sending
        except UPSTREAM_EXCEPTIONS as exc:
            raise UpstreamFailed(verdict_of_exception(exc)) from exc
        status, fields, body, rest = answer
        head = reply_head(fields, dialect) if rest is None and 200 <= status < 300 else None
        if head is None or head.encoding not in _PLAIN or head.length not in {None, len(body)}:
            return await self._replied(Exchange.begun(answer), call, members, dialect)
        # All here and as it should be, as nearly always: an exchange took 30 of the 480 function calls of a call
        self._check(call.credential, body, fields, members, call.ask.operation)
        return Reply(body=body, headers=head.kept, remaining=self.remaining(call, head.kept, dialect=dialect))

    async def _replied(self, exchange: Exchange, call: Call, members: Members, dialect: str) -> Reply:
        async with exchange:
            body = await self.body(call.credential, exchange, members, call.ask.operation)
        headers = reply_fields(exchange.fields, dialect)
        return Reply(body=body, headers=headers, remaining=self.remaining(call, headers, dialect=dialect))

    def remaining(self, call: Call, headers: Mapping[str, str], *, dialect: str) -> Remaining | None:
        """What the headers that a client may see say is left of the credential's limits; None when they name none."""
        if not headers:
            return None
        return self._gauge.read(headers, dialect, call.credential.id, call.model, now=self._now())

    def streamed(self, call: Call, path: str, grammar: Grammar, *, dialect: str) -> OpenStream:
        """The stream that answers a POST of the call's payload."""
        return OpenStream(
            lambda: self.begun(call, path, dialect=dialect),
            grammar,
            headers=lambda exchange: reply_fields(exchange.fields, dialect),
            remaining=lambda headers: self.remaining(call, headers, dialect=dialect),
            judge=lambda exchange, status, body: self.judge(call.credential, status, body, exchange.headers),
        )

    async def listed(
        self, credential: Credential, transport: httpx.AsyncBaseTransport | None, path: str, member: str
    ) -> list[Mapping[str, object]]:
        """The objects in a member of a listing, or of a bare array. Waits; raises UpstreamFailed."""
        url = endpoint(self.base_url(credential), path)
        request = httpx.Request("GET", url, headers=self.headers(credential))
        async with Exchange.of(given(transport), request) as exchange:
            body = await self.body(credential, exchange, ())
        try:
            page = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise broken("the listing is not sound JSON") from None
        if isinstance(page, dict):
            if member not in page:
                raise broken(f"the listing has no {member!r}")
            page = page[member]
        return [entry for entry in page if isinstance(entry, dict)] if isinstance(page, list) else []

    def begun(self, call: Call, path: str, *, dialect: str) -> Exchange:
        """The exchange of a POST; raises UpstreamFailed for a credential that cannot be sent."""
        payload, transport = self.payload(call), given(call.transport)
        posting = self._posting(call.credential, path)
        if not call.ask.headers:
            return Exchange.posting(transport, posting, payload)
        return Exchange.of(transport, posting.request(payload, request_headers(call.ask.headers, dialect)))

    def _posting(self, credential: Credential, path: str) -> Posting:
        """The posting of every call to a path with this credential, made and checked once for each snapshot of it.

        Building the headers for each call cost 18 µs, and turning them into bytes 10. Raises what `headers` does.
        """
        made_for, postings = self._ready.get(credential.id, _NOTHING_MADE)
        if made_for is not credential:
            if len(self._ready) >= _KEPT:  # those of credentials that were removed go at last
                self._ready.clear()
                self._known.clear()
            self._ready[credential.id] = (credential, postings := {})
            self._known.learn(credential)
        posting = postings.get(path)
        if posting is None:
            host = parsed_base(self.base_url(credential)).netloc.decode("ascii")
            headers = {"host": host, **self.headers(credential), "content-type": "application/json"}
            if len(postings) >= _PATHS:
                postings.clear()
            posting = Posting(endpoint(self.base_url(credential), path), httpx.Headers(headers))
            postings[path] = posting
        return posting

    async def body(
        self, credential: Credential, exchange: Exchange, members: Members, operation: Operation = Operation.GENERATE
    ) -> bytes:
        """The body of a success that has one of these members; raises UpstreamFailed for any other answer.

        Without members it may be anything but an error.
        """
        if not 200 <= exchange.status < 300:
            error = await exchange.read_error()
            headers = exchange.headers
            raise UpstreamFailed(self.judge(credential, exchange.status, error, headers, operation))
        if exchange.encoded:
            raise broken(COMPRESSED)
        body = await exchange.read_body()
        self._check(credential, body, exchange.fields, members, operation)
        return body

    def _check(
        self, credential: Credential, body: bytes, fields: Fields, members: Members, operation: Operation
    ) -> None:
        """Raise UpstreamFailed unless a whole body is a success that has one of these members."""
        said, found = told(body, members)
        if said := said or self.error_within(body, members):
            headers = httpx.Headers(fields)
            alone = error_alone(said, body)
            raise UpstreamFailed(self.judge(credential, status_of_error(said), alone, headers, operation))
        if members and not found:
            raise broken(f"the answer is not a JSON object with {' or '.join(map(repr, members))}")

    def judge(
        self,
        credential: Credential,
        status: int,
        body: bytes,
        headers: Mapping[str, str] = _NO_HEADERS,
        operation: Operation = Operation.GENERATE,
    ) -> Failure:
        """The verdict of a refusal. No secret that this upstream has been sent gets out, whosever it is (S45)."""
        secrets = self.secrets_in(body.decode("utf-8", "replace"), credential)
        found = verdict(status, body, headers, now=self._now(), operation=operation, secrets=secrets, marks=self.marks)
        return self.refined(found, body)

    def refined(self, found: Failure, body: bytes) -> Failure:  # noqa: ARG002  # for those whose bodies say more
        """The verdict with what only this vendor's body says; the same here."""
        return found

    def error_within(self, body: bytes, members: Members) -> object:  # noqa: ARG002  # for those who hide it deeper
        """The error that a success with these members tells elsewhere than in its `error`; None for none, as here."""
        return None

    def secrets_in(self, text: str, credential: Credential) -> tuple[str, ...]:
        """What `scrub` must take out of a text of this upstream: the credential's secrets, others' in it, the host."""
        host = parsed_base(self.base_url(credential)).host
        return (*secrets_of(credential), *self._known.within(text), host)


def given(transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncBaseTransport:
    """The transport of a call; raises TypeError when there is none."""
    if transport is None:
        raise TypeError("this provider needs a transport")
    return transport
