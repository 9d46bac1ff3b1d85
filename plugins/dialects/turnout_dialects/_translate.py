"""Whole bodies: read into the intermediate form, write from it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from turnout.errors import InvalidAsk
from turnout_dialects import (
    _anthropic_reply,
    _anthropic_request_read,
    _anthropic_request_write,
    _chat_reply,
    _chat_request_read,
    _chat_request_write,
    _gemini_reply,
    _gemini_request_read,
    _gemini_request_write,
    _responses_reply,
    _responses_request_read,
    _responses_request_write,
)
from turnout_dialects._errors import BadReply, BadRequest, Untranslatable
from turnout_dialects._form import (
    ANTHROPIC,
    CHAT,
    CUTS,
    DIALECTS,
    GEMINI,
    RESPONSES,
    Reasoning,
    Reply,
    Request,
    ToolCall,
    ToolResult,
    Usage,
)
from turnout_dialects._json import Node, decoded, encoded, is_whole
from turnout_dialects._thinking import from_suffix

_REQUEST_READERS: Mapping[str, Callable[[Node], Request]] = {
    CHAT: _chat_request_read.read_request,
    RESPONSES: _responses_request_read.read_request,
    ANTHROPIC: _anthropic_request_read.read_request,
    GEMINI: _gemini_request_read.read_request,
}
_REQUEST_WRITERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    CHAT: _chat_request_write.write_request,
    RESPONSES: _responses_request_write.write_request,
    ANTHROPIC: _anthropic_request_write.write_request,
    GEMINI: _gemini_request_write.write_request,
}
_REPLY_READERS: Mapping[str, Callable[[Node, str], Reply]] = {
    CHAT: _chat_reply.read_reply,
    RESPONSES: _responses_reply.read_reply,
    ANTHROPIC: _anthropic_reply.read_reply,
    GEMINI: _gemini_reply.read_reply,
}
_REPLY_WRITERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    CHAT: _chat_reply.write_reply,
    RESPONSES: _responses_reply.write_reply,
    ANTHROPIC: _anthropic_reply.write_reply,
    GEMINI: _gemini_reply.write_reply,
}

_PATHS: Mapping[str, Mapping[str, str]] = {
    "stop": {CHAT: "stop", ANTHROPIC: "stop_sequences", GEMINI: "generationConfig.stopSequences"},
    "logprobs": {CHAT: "logprobs", RESPONSES: "top_logprobs", GEMINI: "generationConfig.responseLogprobs"},
    "format": {CHAT: "response_format", RESPONSES: "text.format", GEMINI: "generationConfig.responseMimeType"},
    "turns": {CHAT: "messages", RESPONSES: "input", ANTHROPIC: "messages", GEMINI: "contents"},
}


def translate_request(
    body: bytes, source: str, target: str, *, model: str, stream: bool, thinking: str | None = None
) -> bytes:
    """A client's request of dialect `source` as a body for an upstream of dialect `target`.

    Args:
        body: the client's body.
        source: the client's dialect.
        target: the upstream's, another one: within one dialect bytes pass through (`same`).
        model: the upstream's name of the model, without suffix; `gemini.generate` has it in the path, not in the body.
        stream: whether a stream is wanted, whatever the body says.
        thinking: the suffix of the model name (C7.1); it wins over the body. None, or one that no reader of C7.1
            takes, leaves the body's own wish.

    Raises:
        BadRequest: the body is not sound JSON, or not what its own dialect allows.
        Untranslatable: it is, but `target` cannot say it.
    """
    _check(source, target)
    try:
        request = read_request(body, source)
        if thinking is not None and (wanted := from_suffix(thinking)) is not None:
            include = request.thinking.include if request.thinking else None
            request = msgspec.structs.replace(request, thinking=msgspec.structs.replace(wanted, include=include))
        _check_roles(request)
        _refuse(request, target)
        made = _REQUEST_WRITERS[target](request, model=model, stream=stream)
        if not made[_PATHS["turns"][target]]:
            raise Untranslatable(_PATHS["turns"][source], f"nothing is said that {target} could hold")
        return encoded(made)
    except RecursionError:
        raise BadRequest("", "it is nested too deeply") from None


def read_request(body: bytes, dialect: str) -> Request:
    """A request in the intermediate form. Raises BadRequest, Untranslatable."""
    return _REQUEST_READERS[dialect](decoded(body, BadRequest))


def translate_reply(body: bytes, source: str, target: str, *, model: str, id: str, now: float) -> bytes:
    """An upstream's whole reply of dialect `source` as one of dialect `target`.

    Args:
        body: the upstream's body.
        source: the upstream's dialect.
        target: the client's, another one.
        model: the name that the client asked for.
        id: unique for this reply; the target's own prefix (`chatcmpl-`, `msg_`, `resp_`) is put before it.
        now: POSIX seconds, for the dialects that tell when.

    Raises:
        BadReply: not sound JSON, not a finished reply, or a call whose arguments the target cannot hold.
        ErrorEvent: an error object instead of a reply.
    """
    _check(source, target)
    try:
        reply = _without_cut_calls(read_reply(body, source, id), target)
        return encoded(_REPLY_WRITERS[target](reply, model=model, id=id, now=now))
    except RecursionError:
        raise BadReply("", "it is nested too deeply") from None
    except InvalidAsk as exc:
        raise BadReply("", str(exc)) from None


def read_reply(body: bytes, dialect: str, id: str) -> Reply:
    """A reply in the intermediate form; calls without an id get one made from `id`. Raises BadReply, ErrorEvent."""
    return _REPLY_READERS[dialect](decoded(body, BadReply), id)


def _without_cut_calls(reply: Reply, target: str) -> Reply:
    """Leave out a call that was cut in the middle of its arguments, where the target holds arguments as an object."""
    if reply.stop not in CUTS or target not in {ANTHROPIC, GEMINI}:
        return reply
    kept = (part for part in reply.parts if not isinstance(part, ToolCall) or is_whole(part.arguments or "{}"))
    return msgspec.structs.replace(reply, parts=tuple(kept))


def usage_of(body: bytes, dialect: str) -> Usage | None:
    """The tokens that a whole reply tells; None when it tells none, or is no reply."""
    try:
        node = decoded(body, BadReply)
        if dialect == GEMINI:
            return _gemini_reply.read_usage(node)
        if dialect == ANTHROPIC:
            return _anthropic_reply.read_usage(node.node("usage"))
        return _chat_reply.read_chat_usage(node) if dialect == CHAT else _responses_reply.read_response_usage(node)
    except BadReply:
        return None


def same(a: str, b: str) -> bool:
    """Whether bytes pass through from `a` to `b` unread. Raises ValueError for a dialect that is none of `DIALECTS`."""
    for dialect in (a, b):
        if dialect not in DIALECTS:
            raise ValueError(f"unknown dialect {dialect!r}; there are {', '.join(sorted(DIALECTS))}")
    return a == b


def _check(source: str, target: str) -> None:
    if same(source, target):
        raise ValueError(f"{source} to itself needs no translation: pass the bytes through")


_FOREIGN = {"user": (ToolCall, Reasoning), "assistant": (ToolResult,)}


def _check_roles(request: Request) -> None:
    """Only the model thinks and calls, only the client tells results. Raises BadRequest."""
    for turn in request.turns:
        foreign = _FOREIGN[turn.role]
        for part in turn.parts:
            if isinstance(part, foreign):
                path = part.at if isinstance(part, ToolCall | ToolResult) else ""
                kind = {ToolCall: "call", ToolResult: "result"}.get(type(part), "thought")
                raise BadRequest(path or _PATHS["turns"][request.source], f"a {kind} cannot be said by the {turn.role}")


def _refuse(request: Request, target: str) -> None:
    """What a whole dialect cannot say. Raises Untranslatable."""
    if not request.turns:
        raise Untranslatable(_PATHS["turns"][request.source], "something besides instructions must be said")
    if request.stop and target == RESPONSES:
        raise Untranslatable(_PATHS["stop"][request.source], "openai.responses has no stop sequences")
    if request.top_logprobs is not None and target == ANTHROPIC:
        raise Untranslatable(_PATHS["logprobs"][request.source], "anthropic.messages has no log probabilities")
    if request.format and request.format.schema is None and target == ANTHROPIC:
        raise Untranslatable(_PATHS["format"][request.source], "anthropic.messages needs a schema for JSON")
