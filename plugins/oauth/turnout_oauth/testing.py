"""A double of a token endpoint, for the tests of providers: strict about refresh tokens, or slow, wrong, or dead.

    server = OAuthServer()
    server.issue("rt-1")                                   # a login that somebody did
    tokens = await drive(refresh_token(settings, Secret("rt-1"), now=0.0), OAuthTransport(server))

`OAuthServer.answer` is plain: bytes of a form in, status, headers and body out, so it serves over sockets as well.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote_plus

import attrs
import httpx
import trio

TOKEN_URL: Final = "http://127.0.0.1:9/token"  # noqa: S105  # where, not what
"""For memory transports; nothing listens there."""

JSON: Final[Mapping[str, str]] = {"content-type": "application/json", "cache-control": "no-store"}


@attrs.frozen(kw_only=True)
class Answer:
    """What the endpoint says."""

    status: int = 200
    headers: Mapping[str, str] = JSON
    body: bytes = b""


def told(status: int = 200, **fields: Any) -> Answer:
    """An answer of JSON."""
    return Answer(status=status, body=json.dumps(fields).encode())


class OAuthServer:
    """A token endpoint that spends each refresh token once and revokes the whole family at a second use.

    Attributes:
        client: id and secret that it knows; no secret: a public client.
        grace: a spent token gives the same successor again, as some servers do for lost answers.
        rotate: give a new refresh token with each answer.
        expires_in: what it says about the life of access tokens; None to say nothing.
        takes: seconds until it answers.
        instead: an answer, or a failure of the way, that stands for every answer; the token is spent all the same
            when `instead_spends` is true, which is an answer that got lost.
        forms: every form it got, in order.
        headers: and the headers that came with them.
        reuses: how often a spent token was used.
        at_once, most_at_once: requests under way.
        asked: set by the first request.
    """

    def __init__(self, client: tuple[str, str] = ("client", "s3cret-of-the-client")) -> None:
        self.client = client
        self.grace = False
        self.rotate = True
        self.expires_in: object = 3600
        self.takes = 0.0
        self.instead: Answer | Exception | None = None
        self.instead_spends = False
        self.forms: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.reuses = 0
        self.at_once = self.most_at_once = 0
        self.asked = trio.Event()
        self._live: dict[str, str] = {}
        self._spent: dict[str, tuple[str, str]] = {}
        self._count = 0

    def issue(self, token: str) -> None:
        """Know this refresh token from now on, as the first of a family."""
        self._live[token] = token

    def live(self) -> set[str]:
        """Refresh tokens that would be taken now."""
        return set(self._live)

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Answer a request at once. Raises what `instead` says."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.forms.append(form)
        self.headers.append(dict(headers))
        self.asked.set()
        if self.instead is not None:
            if self.instead_spends:
                self._granted(form, headers)
            if isinstance(self.instead, Exception):
                raise self.instead
            return self.instead
        return self._granted(form, headers)

    def _granted(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        grant = form.get("grant_type", "")
        if grant.endswith("jwt-bearer"):
            return self._tokens("") if form.get("assertion", "").count(".") == 2 else told(400, error="invalid_grant")
        if not self._knows(form, headers):
            return told(401, error="invalid_client", error_description="who are you?")
        if grant == "client_credentials":
            return self._tokens("")
        if grant == "refresh_token":
            return self._renewed(form.get("refresh_token", ""))
        return told(400, error="unsupported_grant_type")

    def _knows(self, form: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        id, secret = self.client
        kind, _, pair = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            given = base64.b64decode(pair).decode().split(":")
            return [unquote_plus(part) for part in given] == [id, secret]
        return (form.get("client_id", ""), form.get("client_secret", "")) == (id, secret)

    def _renewed(self, token: str) -> Answer:
        if token in self._live:
            family = self._live[token]
            if not self.rotate:
                return self._tokens("")
            del self._live[token]
            successor = f"{family}.{self._count + 1}"
            self._spent[token] = family, successor
            self._live[successor] = family
            return self._tokens(successor)
        if token not in self._spent:
            return told(400, error="invalid_grant", error_description="unknown refresh token")
        family, successor = self._spent[token]
        if self.grace and successor in self._live:
            return self._tokens(successor)
        self.reuses += 1
        self._live = {one: whose for one, whose in self._live.items() if whose != family}
        reused = {"code": "refresh_token_reused", "message": f"{token} has been used before"}
        return told(401, error=reused)

    def _tokens(self, refresh_token: str) -> Answer:
        self._count += 1
        fields: dict[str, Any] = {"access_token": f"at-{self._count}", "token_type": "Bearer"}
        if refresh_token:
            fields["refresh_token"] = refresh_token
        if self.expires_in is not None:
            fields["expires_in"] = self.expires_in
        return told(**fields)


class OAuthTransport(httpx.AsyncBaseTransport):
    """A transport that reaches one `OAuthServer` and nothing else.

    Attributes:
        open: requests and answers that are not closed yet.
    """

    def __init__(self, server: OAuthServer) -> None:
        self._server = server
        self.open = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer after `takes` seconds."""
        server = self._server
        self.open += 1
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        answered = False
        try:
            found = server.answer(await request.aread(), request.headers)
            await trio.sleep(server.takes)
            answered = True
        finally:
            server.at_once -= 1
            self.open -= not answered
        return httpx.Response(found.status, headers=dict(found.headers), stream=_Body(self, found.body))


class _Body(httpx.AsyncByteStream):
    def __init__(self, transport: OAuthTransport, body: bytes) -> None:
        self._transport = transport
        self._body = body
        self._given = 0
        self._open = True

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._given >= len(self._body):
            raise StopAsyncIteration
        begin, self._given = self._given, self._given + 16_384
        return self._body[begin : self._given]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._open:
            self._open = False
            self._transport.open -= 1
