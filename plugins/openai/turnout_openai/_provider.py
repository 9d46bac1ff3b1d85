"""The provider: puts an ask on the wire with a credential, and turns what comes back into a reply or a verdict."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx
import msgspec

from turnout import Call, Credential, Failure, Reply, Sent, Unauthorized
from turnout.abc import PluginContext
from turnout.errors import InvalidAsk, UpstreamFailed
from turnout_openai._answer import head_of
from turnout_openai._chat_stream import OpenChatStream
from turnout_openai._renewing import Renewing
from turnout_openai._response_events import RESPONSE_EVENTS
from turnout_openai._settings import OpenAISettings, endpoint, origin_of, origin_of_url, parsed_base
from turnout_wire import check_headers, reply_headers, request_headers, secrets_of, status_of_error, verdict, with_model
from turnout_wire.exchange import Exchange, broken
from turnout_wire.stream import OpenStream

CHAT = "openai.chat"
RESPONSES = "openai.responses"
EMBEDDINGS = "openai.embeddings"

_HEADER = "header:"

_POSTED_KEPT = 10_000
"""Credentials whose headers are kept ready."""

_NOTHING_MADE: tuple[None, httpx.Headers] = (None, httpx.Headers())


class OpenAI:
    """Provider for OpenAI and every service that speaks its chat completions (C2.1).

    Requests and answers pass as the bytes that came. Only the value of the top-level `model` is replaced, and only
    when the upstream's name for it is another one (C2.1.1).
    """

    api: ClassVar[int] = 1
    dialects: ClassVar[frozenset[str]] = frozenset({CHAT, EMBEDDINGS, RESPONSES})
    Settings = OpenAISettings

    def __init__(self, settings: OpenAISettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in Retry-After are measured by it."""
        self._settings = settings
        self._now = now
        self._posted: dict[str, tuple[Credential, httpx.Headers]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: OpenAISettings, context: PluginContext) -> AsyncIterator["OpenAI"]:
        """A provider on the kernel's clock; one that renews tokens when the settings say where."""
        yield (cls if settings.oauth is None else RenewingOpenAI)(settings, now=context.now)

    def origin(self, credential: Credential) -> str:
        """`scheme://host:port` that this credential may be sent to; raises ValueError for an unusable `base_url`."""
        return origin_of(self._base_url(credential))

    async def execute(self, call: Call) -> Reply:
        """A chat completion, or a response, in one piece."""
        if call.ask.dialect == RESPONSES:
            return await self._reply(call, "/responses", "output")
        return await self._reply(call, "/chat/completions", "choices")

    async def embed(self, call: Call) -> Reply:
        """Embeddings."""
        return await self._reply(call, "/embeddings", "data")

    def stream(self, call: Call) -> OpenChatStream | OpenStream:
        """A chat completion, or a response, event by event."""
        if call.ask.dialect == RESPONSES:
            return OpenStream(
                lambda: self._exchange(call, "/responses"),
                RESPONSE_EVENTS,
                headers=lambda exchange: reply_headers(exchange.response.headers, RESPONSES),
                judge=lambda exchange, status, body: self._judge(call.credential, exchange, status, body),
            )
        return OpenChatStream(
            lambda: self._exchange(call, "/chat/completions"),
            headers=lambda exchange: reply_headers(exchange.response.headers, CHAT),
            judge=lambda exchange, status, body: self._judge(call.credential, exchange, status, body),
        )

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of the models that the upstream lists for this credential."""
        request = httpx.Request(
            "GET", endpoint(self._base_url(credential), "/models"), headers=self._headers(credential)
        )
        async with Exchange(_given(transport), request) as exchange:
            body = await self._body(credential, exchange, "data")
        return [name for entry in _listed(body) if isinstance(name := entry.get("id"), str)]

    def prepare(self, request: httpx.Request, credential: Credential) -> None:
        """Put the credential on a request (C13.2); raises ValueError when it goes to another origin."""
        if origin_of_url(request.url) != self.origin(credential):
            raise ValueError("the request does not go to the origin of the credential")
        for name, value in self._headers(credential).items():
            request.headers[name] = value

    async def send(
        self, request: httpx.Request, credential: Credential, transport: httpx.AsyncBaseTransport | None
    ) -> httpx.Response:
        """Send any request with the credential (C13.4) and give the response, whatever its status, body read."""
        self.prepare(request, credential)
        async with Exchange(_given(transport), request) as exchange:
            body = await exchange.read_body()
        return httpx.Response(exchange.status, headers=exchange.response.headers, content=body, request=request)

    async def _reply(self, call: Call, path: str, member: str) -> Reply:
        async with self._exchange(call, path) as exchange:
            body = await self._body(call.credential, exchange, member)
        return Reply(body=body, headers=reply_headers(exchange.response.headers, CHAT))

    async def _body(self, credential: Credential, exchange: Exchange, member: str) -> bytes:
        """The body of a successful answer that has this member; raises UpstreamFailed for any other."""
        if not 200 <= exchange.status < 300:
            raise UpstreamFailed(self._judge(credential, exchange, exchange.status, await exchange.read_error()))
        if exchange.encoded:
            raise broken("the answer is compressed, although none was asked for")
        body = await exchange.read_body()
        head = head_of(body)
        if head.error:
            raise UpstreamFailed(self._judge(credential, exchange, status_of_error(head.error), body))
        if not head.has(member):
            raise broken(f"the answer is not a JSON object with {member!r}")
        return body

    def _judge(self, credential: Credential, exchange: Exchange, status: int, body: bytes) -> Failure:
        secrets = (*secrets_of(credential), parsed_base(self._base_url(credential)).host)
        return verdict(status, body, exchange.response.headers, now=self._now(), secrets=secrets)

    def _exchange(self, call: Call, path: str) -> Exchange:
        ask = call.ask
        payload = ask.payload if call.model == ask.model else with_model(ask.payload, call.model)
        headers = httpx.Headers(self._posting(call.credential))
        headers["content-length"] = str(len(payload))
        if ask.headers:
            headers.update(request_headers(ask.headers, CHAT))
        url = endpoint(self._base_url(call.credential), path)
        # A stream instead of `content=`, with which httpx would build the headers three times
        return Exchange(
            _given(call.transport), httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(payload))
        )

    def _posting(self, credential: Credential) -> httpx.Headers:
        """The headers of every call with this credential, made and checked once for each snapshot of it.

        What was 18 µs a call is 4: copying httpx's headers is cheaper than building them. Raises what `_headers` does.
        """
        made_for, headers = self._posted.get(credential.id, _NOTHING_MADE)
        if made_for is not credential:
            host = parsed_base(self._base_url(credential)).netloc.decode("ascii")
            own = {"host": host, **self._headers(credential), "content-type": "application/json"}
            headers = httpx.Headers(own)
            if len(self._posted) >= _POSTED_KEPT:  # those of credentials that were removed go at last
                self._posted.clear()
            self._posted[credential.id] = (credential, headers)
        return headers

    def _headers(self, credential: Credential) -> dict[str, str]:
        """What every request of this credential carries; its own `header:NAME` attributes win (C1.17).

        Raises UpstreamFailed(Unauthorized) for a key or attribute that no header can carry: nothing is sent, and the
        next credential is tried.
        """
        headers = {"accept-encoding": "identity", "user-agent": "turnout"}
        if token := self._token(credential):
            headers["authorization"] = f"Bearer {token}"
        elif credential.api_key:
            headers["authorization"] = f"Bearer {credential.api_key.reveal()}"
        if self._settings.organization:
            headers["openai-organization"] = self._settings.organization
        if self._settings.project:
            headers["openai-project"] = self._settings.project
        for name, value in credential.attributes.items():
            if name.startswith(_HEADER):
                headers[name.removeprefix(_HEADER).lower()] = value
        try:
            check_headers(headers.items())
        except InvalidAsk as exc:
            raise UpstreamFailed(Unauthorized(message=f"credential unusable: {exc}", sent=Sent.NO)) from None
        return headers

    def _token(self, credential: Credential) -> str:  # noqa: ARG002  # for the provider that has tokens
        """The bearer token that goes before the credential's key, empty for none."""
        return ""

    def _base_url(self, credential: Credential) -> str:
        return credential.attributes.get("base_url") or self._settings.base_url


class RenewingOpenAI(Renewing, OpenAI):
    """Credentials may have tokens instead of keys. A class of its own, for keys alone cannot be renewed."""

    def __init__(self, settings: OpenAISettings, *, now: Callable[[], float]) -> None:
        """`settings.oauth` must be given."""
        if settings.oauth is None:
            raise ValueError("the oauth table is missing")
        super().__init__(settings, now=now)
        self._oauth = settings.oauth


def _given(transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncBaseTransport:
    if transport is None:
        raise TypeError("this provider needs a transport")
    return transport


def _listed(body: bytes) -> list[Mapping[str, Any]]:
    try:
        found = msgspec.json.decode(body)["data"]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise broken("the list of models is not sound JSON") from None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
