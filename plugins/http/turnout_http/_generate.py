"""The hot page: a request in a dialect becomes an ask, and what comes back goes out as it came."""

from collections.abc import Mapping
from functools import partial
from typing import final

import turnout_wire
from turnout import Ask, LastingScope, Operation
from turnout.abc import AnswerStream, Switch
from turnout_http._answering import Answering, Outgoing, RawHeaders
from turnout_http._answers import decision_header, raw_headers
from turnout_http._body import check_values, is_plain, read_body
from turnout_http._framing import Head
from turnout_http._settings import ClientLimits
from turnout_http._stored import Stored, is_stored
from turnout_http._visit import CANCELS, LASTING, STREAMS, VISIT, WHOLE_BODY, Receive, Scope, Visit, while_present

NO_HEADERS: Mapping[str, str] = {}

EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
UNCACHED = (b"cache-control", b"no-cache")

BODY_KEYS = (
    "prompt_cache_key",  # OpenAI
    "session_id",  # OpenRouter
    "cachedContent",  # Google, which keeps it with one account
    "safety_identifier",  # OpenAI
    "user",
    "metadata.user_id",  # Anthropic
)
"""Members of a body that name a cache, a session or a user of the client, the most telling first."""

SESSION_HEADERS = (b"x-session-id", b"session-id", b"session_id", b"x-session-affinity")
"""Headers in which clients name a session of theirs; the members of the body come first."""

_IN_HEAD = frozenset(SESSION_HEADERS)


@final
class Generate:
    """Answers POST requests whose body names the model: streaming or not as the body says, or counts, or embeddings."""

    def __init__(
        self,
        switch: Switch,
        limits: ClientLimits,
        dialect: str,
        operation: Operation = Operation.GENERATE,
        stored: Stored | None = None,
    ) -> None:
        """`stored` is what the vendor keeps of this page's answers; None for a page whose answers are not kept."""
        self._switch = switch
        self._operation = operation
        self._whole = {
            Operation.GENERATE: switch.execute,
            Operation.COUNT: switch.count,
            Operation.EMBED: switch.embed,
        }[operation]
        self._limits = limits
        self._dialect = dialect
        self._stored = stored
        self._allowed = frozenset(name.encode() for name in turnout_wire.REQUEST_HEADERS[dialect])

    async def __call__(self, scope: Scope, receive: Receive, send: Answering) -> None:
        """Serve one request; raises TurnoutError for the door to answer."""
        visit: Visit = scope[VISIT]
        body = scope.get(WHOLE_BODY)
        if body is None or not is_plain(visit.head, body, self._limits):
            body = await read_body(receive, visit.head, self._limits)
        check_values(body)
        peek = turnout_wire.peek(body, texts=BODY_KEYS)
        ask = Ask(
            model=peek.model,
            payload=body,
            dialect=self._dialect,
            operation=self._operation,
            headers=self._forwarded(visit.head),
            id=visit.id,
            client=visit.tag,
            affinity=affinity_of(peek.texts, visit.head),
            pin=await self._stored.pin(visit, peek.members) if self._stored else None,
        )
        visit.storing = self._stored is not None and is_stored(peek.members)
        work = self._stream if peek.stream and self._operation is Operation.GENERATE else self._execute
        del peek  # decoded, a body is many times as large, and the call may last an hour
        if CANCELS in scope["extensions"]:
            await work(ask, visit, send, scope.get(LASTING))
        else:
            await while_present(receive, partial(work, ask, visit, send))

    async def _execute(self, ask: Ask, visit: Visit, send: Answering, under: LastingScope | None = None) -> None:
        answer = await self._whole(ask, under)
        if self._stored and visit.storing:
            self._stored.note(visit, turnout_wire.stored_by_reply(answer.reply.body), answer.decision.served_by)
        headers = raw_headers(answer.reply.headers)
        if b"x-turnout-explain" in visit.head:
            headers += decision_header(answer.decision)
        await send.whole(answer.reply.body, headers=headers)

    async def _stream(self, ask: Ask, visit: Visit, send: Answering, under: LastingScope | None = None) -> None:
        """Forward chunks untouched.

        The answer begins when the first payload is here, so that a failure before it can still have a status. What
        comes with the end goes out with it, once the stream has been left.
        """
        outgoing = Outgoing(send.go_on)
        last: bytes | None = None
        try:
            async with self._switch.stream(ask, under) as stream:
                headers: RawHeaders = [EVENT_STREAM, UNCACHED, *raw_headers(stream.headers)]
                if b"x-turnout-explain" in visit.head:
                    headers += decision_header(stream.decision)
                await send({"type": "http.response.start", "status": 200, "headers": headers, STREAMS: True})
                visit.streaming = True
                take = partial(self._note_and_take, visit, stream, outgoing) if visit.storing else outgoing.take
                while (last := await stream.hand_on(take)) is None:
                    await outgoing.rest
                self._note(visit, last, stream)
        except Exception:
            if last:
                await send.go_on({"type": "http.response.body", "body": last, "more_body": True})
            raise
        visit.streaming = False
        await send.go_on({"type": "http.response.body", "body": last, "more_body": False})

    def _note_and_take(self, visit: Visit, stream: AnswerStream, outgoing: Outgoing, piece: bytes) -> bool:
        self._note(visit, piece, stream)
        return outgoing.take(piece)

    def _note(self, visit: Visit, piece: bytes, stream: AnswerStream) -> None:
        """Take note of what the vendor keeps of a stream, if it does."""
        if self._stored and visit.storing:
            self._stored.note(visit, turnout_wire.stored_by_events(piece), stream.decision.served_by)

    def _forwarded(self, head: Head) -> Mapping[str, str]:
        """Those of the client's headers that may go upstream; nearly always none."""
        if self._allowed.isdisjoint(head):
            return NO_HEADERS
        names = self._allowed & head.keys()
        texts = {name.decode(): head[name].decode("latin-1") for name in names}
        return turnout_wire.request_headers(texts, self._dialect)


def affinity_of(members: Mapping[str, str], head: Head) -> str | None:
    """The client's own name for a session or cache; never anything made from its key (design 16).

    `members` are those of BODY_KEYS that the body has.
    """
    if members:
        return next(members[name] for name in BODY_KEYS if name in members)
    if not _IN_HEAD.isdisjoint(head):
        for header in SESSION_HEADERS:
            if head.get(header):
                return head[header].decode("latin-1")
    return None
