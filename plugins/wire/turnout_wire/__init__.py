"""Library for provider and frontend authors: HTTP outcomes to verdicts, server-sent events, JSON checks. No I/O."""

from turnout_wire._answers import HttpAnswer, answer, in_band, refusal, reset_time, tell
from turnout_wire._codes import CODES
from turnout_wire._failure import UPSTREAM_EXCEPTIONS, verdict_of_exception
from turnout_wire._headers import (
    REQUEST_HEADERS,
    check_header,
    check_headers,
    client_headers,
    reply_headers,
    request_headers,
)
from turnout_wire._hints import duration, retry_after
from turnout_wire._json import BadJSON, Peek, check_json, peek, texts_in, with_model
from turnout_wire._new_request import new_request
from turnout_wire._origins import endpoint, origin_of, origin_of_url, parsed_base
from turnout_wire._passing import Grammar, PassedEvents, Said, decoded
from turnout_wire._scrub import Known, scrub, secrets_of
from turnout_wire._shapes import SHAPES, Shape, Told
from turnout_wire._sse import EVENT_LIMIT, LINE_LIMIT, BlockReader, Event, EventTooLarge, read_event
from turnout_wire._stored import stored_and_named, stored_by_events, stored_by_reply
from turnout_wire._turns import Turn, read_turn, socket_error, socket_event
from turnout_wire._verdict import Mark, UpstreamAnswer, error_message, status_of_error, verdict

__all__ = [
    "CODES",
    "EVENT_LIMIT",
    "LINE_LIMIT",
    "REQUEST_HEADERS",
    "SHAPES",
    "UPSTREAM_EXCEPTIONS",
    "BadJSON",
    "BlockReader",
    "Event",
    "EventTooLarge",
    "Grammar",
    "HttpAnswer",
    "Known",
    "Mark",
    "PassedEvents",
    "Peek",
    "Said",
    "Shape",
    "Told",
    "Turn",
    "UpstreamAnswer",
    "answer",
    "check_header",
    "check_headers",
    "check_json",
    "client_headers",
    "decoded",
    "duration",
    "endpoint",
    "error_message",
    "in_band",
    "new_request",
    "origin_of",
    "origin_of_url",
    "parsed_base",
    "peek",
    "read_event",
    "read_turn",
    "refusal",
    "reply_headers",
    "request_headers",
    "reset_time",
    "retry_after",
    "scrub",
    "secrets_of",
    "socket_error",
    "socket_event",
    "status_of_error",
    "stored_and_named",
    "stored_by_events",
    "stored_by_reply",
    "tell",
    "texts_in",
    "verdict",
    "verdict_of_exception",
    "with_model",
]
