"""The ASGI application: the one door. It judges, admits, finds the page, and turns every failure into an answer.

Order: framing, host, origin, key, place, page. Nothing that depends on the client's body or on the kernel happens
before the key is judged, and only pages that declare themselves public are served without one (S1, S4).
"""

import itertools
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from logging import Logger
from typing import final

import turnout_wire
from turnout import Decision
from turnout.errors import Draining, PluginError, TurnoutError
from turnout_http import _answers
from turnout_http._admission import Admission
from turnout_http._answering import Answering
from turnout_http._door import Door
from turnout_http._faults import chain
from turnout_http._framing import Head, check_framing, read_head
from turnout_http._judged import Judged
from turnout_http._keys import Client, Headers, KeyRing, Strikes
from turnout_http._origins import Hosts, is_foreign
from turnout_http._pages import CHAT, Audience, Page, dialect_of, pattern
from turnout_http._refusals import Refusal
from turnout_http._settings import Settings
from turnout_http._visit import ANSWER, HEAD, VISIT, Receive, Scope, Send, Visit

_CHALLENGE = ((b"www-authenticate", b"Bearer"),)
"""What a 401 has to name (RFC 9110, 15.5.2)."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@final
class App:
    """The application that a server runs."""

    def __init__(
        self,
        pages: Sequence[Page],
        settings: Settings,
        hosts: Hosts,
        *,
        admission: Admission,
        explain: Callable[[str], Decision | None],
        log: Logger,
        now: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._ring = KeyRing(())
        self.follow(pages, settings, hosts)
        self._strikes = Strikes()
        self._explain = explain
        self._log = log
        self._now = now
        self._prefix = f"req-{secrets.token_hex(6)}-"
        self._numbers = itertools.count(1)
        self.draining = False

    def follow(self, pages: Sequence[Page], settings: Settings, hosts: Hosts) -> None:
        """From the next request on, serve these pages under these settings; places that are taken stay taken."""
        self._exact = {page.path.encode(): page for page in pages if "{" not in page.path}
        self._patterns = [(pattern(page.path), page) for page in pages]
        self._hosts = hosts
        self._ring = KeyRing(settings.keys, self._ring)  # another one: heads that were judged before are judged again
        self._admission.limits = settings.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; raises nothing but cancellation."""
        if scope["type"] != "http":
            await _refuse_other_protocol(scope, receive, send)
            return
        visit = Visit(f"{self._prefix}{next(self._numbers):x}", {}, "", CHAT)
        scope[VISIT] = visit
        reply = Answering(self, visit, send, scope.get(ANSWER))
        try:
            page = self._let_in(scope, visit)
            if page is not None and not visit.client:
                await page(scope, receive, reply)
            elif b"upgrade" in visit.head:
                await self._serve_socket(page, scope, receive, reply)
            else:
                await self._admission.enter(visit.client)
                try:
                    await (page or self._find(scope))(scope, receive, reply)
                finally:
                    self._admission.leave(visit.client)
        except Exception as error:  # noqa: BLE001  # the border: every failure becomes an answer (A2, A3)
            await self._answer_failure(error, reply, visit)

    def _let_in(self, scope: Scope, visit: Visit) -> Page | None:
        """Judge a head, and note in the visit what it says; the client stays empty on a public page, which has none.

        Gives the page, None when the path names none as it stands. Raises Refusal.
        """
        remembered = scope.get(HEAD)
        judged = None if remembered is None else remembered.judged
        if isinstance(judged, Judged) and judged.ring is self._ring:
            return judged.let_in(visit)
        visit.head = head = read_head(scope["headers"])
        visit.dialect = dialect_of(scope["raw_path"], head)
        check_framing(scope, head)
        self._check_caller(scope, head)
        page = self._exact.get(scope["raw_path"])
        if page is not None and page.audience is Audience.PUBLIC and b"upgrade" not in head:
            return page
        client = self._judge(scope["headers"], scope.get("client"))
        visit.client, visit.key, visit.tag = client.id, client.key, client.tag
        sent_id = head.get(b"x-request-id", b"")
        if _SANE_ID.fullmatch(sent_id):
            visit.id = sent_id.decode()
            return page
        visit.id = client.request_id(visit.id)
        if remembered is not None:
            lasting = {name: value for name, value in head.items() if name != b"content-length"}
            remembered.judged = Judged(self._ring, page, lasting, client, visit.dialect)
        return page

    def _find(self, scope: Scope) -> Page:
        """The page of a path that holds a name, or is spelled with escapes; raises Refusal when there is none."""
        for path, page in self._patterns:
            if (match := path.fullmatch(scope["path"])) is not None:
                scope["path_params"] = match.groupdict()
                return page
        raise Refusal("not_found", "there is no such page")

    async def _serve_socket(self, page: Page | None, scope: Scope, receive: Receive, reply: Send) -> None:
        """A websocket takes no place among the requests: each of its turns does."""
        visit: Visit = scope[VISIT]
        if page is None or page.socket is None:
            raise Refusal("bad_request", "malformed request: no websocket is served here", close=True)
        if self.draining:
            raise Draining("this server is closing")

        @asynccontextmanager
        async def admit() -> AsyncIterator[None]:
            self._judge(scope["headers"], scope.get("client"))
            await self._admission.enter(visit.client)
            try:
                yield
            finally:
                self._admission.leave(visit.client)

        def tell(error: Exception, id: str, committed: bool) -> turnout_wire.HttpAnswer:
            told = self._tellable(error, id)
            return _answers.error_answer(told, visit.dialect, now=self._now(), request_id=id, committed=committed)

        async with self._admission.socket(visit.client):
            await page.socket(Door(admit, tell), visit, receive, reply)

    def _check_caller(self, scope: Scope, head: Head) -> None:
        host = head[b"host"]
        server = scope.get("server")
        if not self._hosts.allows(host, server[0] if server else ""):
            raise Refusal("misdirected", "this name is not served here; the setting `hosts` lists names", close=True)
        origin = head.get(b"origin")
        if origin is not None and is_foreign(origin, host):
            raise Refusal("forbidden", "pages of other origins may not call", close=True)

    def _judge(self, headers: Headers, peer: tuple[str, int] | None) -> Client:
        client = self._ring.judge(headers)
        if client is not None:
            return client
        if self._strikes.strike(peer[0] if peer else "", self._now()):
            raise Refusal(
                "rate_limited", "too many wrong keys from this address", retry_after=Strikes.WINDOW, close=True
            )
        raise Refusal(
            "unauthorized", "a valid key is needed: authorization: Bearer KEY", close=True, headers=_CHALLENGE
        )

    def _tellable(self, error: Exception, id: str) -> TurnoutError:
        """The error if a client may hear of it; else it goes to the log, and the client hears that there was one."""
        if isinstance(error, TurnoutError) and error.code != "internal":
            return error
        whose = f"{error}; " if isinstance(error, PluginError) else ""  # made of names and types only, never of texts
        self._log.error("request %s failed: %s%s", id, whose, chain(error))
        return TurnoutError("internal error")

    async def _answer_failure(self, failure: Exception, reply: Answering, visit: Visit) -> None:
        error = self._tellable(failure, visit.id)
        if visit.streaming:
            await _answers.end_stream(reply, error, visit.dialect, now=self._now(), request_id=visit.id)
        elif not visit.started:
            shown = self._explain(visit.id) if b"x-turnout-explain" in visit.head else None
            shown = _answers.own_decision(shown, visit)
            await _answers.send_error(
                reply,
                error,
                visit.dialect,
                now=self._now(),
                request_id=visit.id,
                headers=_answers.decision_header(shown),
            )


async def _refuse_other_protocol(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
