"""Answers as ASGI messages: whole ones, errors in the client's dialect, and the end of a broken stream."""

import json
from collections.abc import Mapping
from typing import Any

import turnout_wire
from turnout import Decision
from turnout.errors import TurnoutError
from turnout_http._answering import CLOSE, Answering, RawHeaders
from turnout_http._refusals import Refusal
from turnout_http._visit import Visit

ATTEMPTS_SHOWN = 20


async def send_error(
    send: Answering, error: TurnoutError, dialect: str, *, now: float, request_id: str, headers: RawHeaders
) -> None:
    """The answer to a request that failed before anything of an answer was sent."""
    answer = error_answer(error, dialect, now=now, request_id=request_id)
    own = [*raw_headers(answer.headers), *headers]
    if isinstance(error, Refusal):
        own += error.headers
        if error.close:
            own.append(CLOSE)
    await send.whole(answer.body, status=answer.status, headers=own)


def error_answer(
    error: TurnoutError, dialect: str, *, now: float, request_id: str, committed: bool = False
) -> turnout_wire.HttpAnswer:
    """What is said of an error in a dialect; `committed`: a part of the answer was sent already."""
    if isinstance(error, Refusal):
        return turnout_wire.refusal(
            error.kind,
            str(error),
            dialect,
            request_id=request_id,
            retry_after=error.retry_after,
            param=error.param,
        )
    return turnout_wire.answer(error, dialect, now=now, request_id=request_id, committed=committed)


async def end_stream(send: Answering, error: TurnoutError, dialect: str, *, now: float, request_id: str) -> None:
    """Tell in the stream's own dialect that it broke, and end it without the dialect's mark of a good end."""
    event = turnout_wire.in_band(error, dialect, now=now, request_id=request_id)
    await send.go_on({"type": "http.response.body", "body": event, "more_body": False})


_OURS = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "keep-alive",
        "server",
        "set-cookie",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-content-type-options",
        "x-request-id",
    }
)
"""Headers of an answer that only this frontend or its server may set."""


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Headers from outside as bytes, without those that are ours to set and without any that could split an answer."""
    if not headers:
        return []
    return [
        (name.lower().encode(), value.encode("latin-1"))
        for name, value in headers.items()
        if name.lower() not in _OURS and name.isascii() and _fits_header(value)
    ]


def _fits_header(value: str) -> bool:
    return value.isprintable() and value.isascii()


def own_decision(decision: Decision | None, visit: Visit) -> Decision | None:
    """The record, if it is of a call by the client of this visit; None for another one's, whatever its id (S8)."""
    return decision if decision is not None and decision.client == visit.tag else None


def decision_header(decision: Decision | None) -> RawHeaders:
    """The decision record as one header of compact JSON: no prompts and no secrets are in it."""
    if decision is None:
        return []
    text = json.dumps(decision_json(decision), separators=(",", ":"))
    return [(b"x-turnout-decision", text.encode())]


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision record in words and numbers; seconds of its attempts count from its beginning."""
    return {
        "id": decision.id,
        "model": decision.model,
        "operation": decision.operation.value,
        "stream": decision.stream,
        "took": round(decision.took, 6),
        "passes": decision.passes,
        "waited": round(decision.waited, 3),
        "attempts": [
            {
                "credential": attempt.credential,
                "provider": attempt.provider,
                "model": attempt.model,
                "began": round(attempt.began, 6),
                "ended": round(attempt.ended, 6),
                "verdict": type(attempt.verdict).__name__,
            }
            for attempt in decision.attempts[-ATTEMPTS_SHOWN:]
        ],
        "skipped": [list(pair) for pair in decision.skipped],
        "served_by": decision.served_by,
        "upstream_model": decision.upstream_model,
        "error": decision.error,
    }
