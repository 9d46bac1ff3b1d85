"""Replies of `gemini.generate`.

`ai.google.dev/api/generate-content` as the types of the vendor's SDK 3.4 tell it (read 2026-11-23). Its prompt tokens
include cached ones, its candidate tokens leave out thoughts.
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import BadReply, ErrorEvent
from turnout_dialects._form import GEMINI, Logprob, Part, Reasoning, Refusal, Reply, Text, ToolCall, Usage
from turnout_dialects._gemini_parts import UNSIGNED, PartReader, camel
from turnout_dialects._json import Node, parsed
from turnout_dialects._seal import seal
from turnout_dialects._turns import with_signatures

_FILTERS = {
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT"),
    *("IMAGE_RECITATION", "MODEL_ARMOR", "JAILBREAK"),
}
_TOLD = (Text, Reasoning, ToolCall)
WRITTEN_STOPS = {
    "end": "STOP",
    "sequence": "STOP",
    "length": "MAX_TOKENS",
    "calls": "STOP",
    "filter": "SAFETY",
    "refusal": "SAFETY",
}


def read_reply(body: Node, id: str) -> Reply:
    """A response in the intermediate form. Raises BadReply, ErrorEvent."""
    if body.has("error"):
        raise ErrorEvent(body.any("error"))
    candidate = first_candidate(body)
    if candidate is None:
        if not is_blocked(body):
            body.fail("candidates", "is missing or empty")
        return Reply(parts=(), stop="filter", usage=read_usage(body))
    parts = with_signatures(read_parts(candidate, PartReader(f"call_{id}", [])))
    reason = candidate.text_or_none("finishReason")
    if reason is None:
        candidate.fail("finishReason", "is missing")
    return Reply(
        parts=parts,
        stop=read_stop(reason, called=any(isinstance(part, ToolCall) for part in parts)),
        usage=read_usage(body),
        logprobs=read_logprobs(candidate),
    )


def first_candidate(body: Node) -> Node | None:
    """The first answer, None when there is none."""
    candidates = body.nodes("candidates")
    return candidates[0] if candidates else None


def is_blocked(body: Node) -> bool:
    """Whether the prompt itself was refused."""
    feedback = body.node("promptFeedback")
    return feedback is not None and feedback.has("blockReason")


def read_parts(candidate: Node, reader: PartReader) -> Iterable[Part]:
    """What the model said, in order."""
    content = candidate.node("content")
    for part in content.nodes("parts") if content else ():
        for found in reader.read(camel(part), strict=False):
            if isinstance(found, _TOLD):
                yield found


def read_stop(reason: str, *, called: bool) -> str:
    """Why it stopped; Gemini says STOP when it calls, too."""
    if reason == "MAX_TOKENS":
        return "length"
    if reason in _FILTERS:
        return "filter"
    return "calls" if called else "end"


def read_usage(body: Node) -> Usage | None:
    """Usage of a response or an event."""
    usage = body.node("usageMetadata")
    if usage is None:
        return None
    thoughts = usage.count("thoughtsTokenCount")
    return Usage(
        input=usage.count("promptTokenCount") + usage.count("toolUsePromptTokenCount"),
        cached=usage.count("cachedContentTokenCount"),
        output=usage.count("candidatesTokenCount") + thoughts,
        reasoning=thoughts,
    )


def read_logprobs(candidate: Node) -> tuple[Logprob, ...]:
    """Log probabilities of the chosen tokens, with their alternatives."""
    result = candidate.node("logprobsResult")
    if result is None:
        return ()
    tops = [tuple(_logprob(one) for one in top.nodes("candidates")) for top in result.nodes("topCandidates")]
    return tuple(
        Logprob(one.token, one.logprob, tops[place] if place < len(tops) else ())
        for place, one in enumerate(_logprob(chosen) for chosen in result.nodes("chosenCandidates"))
    )


def _logprob(one: Node) -> Logprob:
    return Logprob(one.text_or_none("token") or "", one.number("logProbability") or 0.0)


def write_reply(reply: Reply, *, model: str, id: str, now: float) -> dict[str, Any]:  # noqa: ARG001  # as its siblings
    """The reply as a response."""
    parts = written_parts(reply.parts)
    made = written_event(model=model, id=id, parts=parts, stop=reply.stop, usage=reply.usage)
    if reply.logprobs:
        made["candidates"][0]["logprobsResult"] = written_logprobs(reply.logprobs)
    return made


def written_event(
    *, model: str, id: str, parts: list[dict[str, Any]], stop: str | None = None, usage: Usage | None = None
) -> dict[str, Any]:
    """A response, or one event of a stream; `stop` None while it goes on."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if stop:
        candidate["finishReason"] = WRITTEN_STOPS[stop]
    made: dict[str, Any] = {"candidates": [candidate], "modelVersion": model, "responseId": id}
    return made | ({"usageMetadata": written_usage(usage)} if usage else {})


def written_parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Parts of an answer; a signature goes to the part behind it. Raises BadReply for arguments that are no object.

    Gemini refuses a history whose first call of a turn is not signed: one of another vendor's says that it is none.
    """
    made: list[dict[str, Any]] = []
    signature: str | None = None
    called = False
    for part in parts:
        if isinstance(part, Reasoning):
            if signature:
                made.append({"text": "", "thoughtSignature": signature})
            if part.text:
                made.append({"text": part.text, "thought": True})
            signature = seal(part.signature, GEMINI)
            continue
        written = written_part(part)
        if written is None:
            continue
        if isinstance(part, ToolCall) and not called:
            called = True
            signature = signature or UNSIGNED
        if signature:
            written["thoughtSignature"] = signature
            signature = None
        made.append(written)
    return made + ([{"text": "", "thoughtSignature": signature}] if signature else [])


def written_part(part: Part) -> dict[str, Any] | None:
    """One part without signature; None for kinds that a model does not say."""
    if isinstance(part, Text | Refusal):
        return {"text": part.text}
    if isinstance(part, ToolCall):
        args = parsed(part.arguments, part.at, BadReply)
        return {"functionCall": {"id": part.id, "name": part.name, "args": args}}
    return None


def written_usage(usage: Usage) -> dict[str, Any]:
    """Usage as Gemini tells it."""
    made: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": max(0, usage.output - usage.reasoning),
        "totalTokenCount": usage.total,
    }
    if usage.cached:
        made["cachedContentTokenCount"] = usage.cached
    return made | ({"thoughtsTokenCount": usage.reasoning} if usage.reasoning else {})


def written_logprobs(logprobs: Iterable[Logprob]) -> dict[str, Any]:
    """Log probabilities as Gemini tells them."""
    listed = list(logprobs)
    return {
        "chosenCandidates": [_written(one) for one in listed],
        "topCandidates": [{"candidates": [_written(top) for top in one.top]} for one in listed],
    }


def _written(one: Logprob) -> dict[str, Any]:
    return {"token": one.token, "logProbability": one.logprob}
