"""Replies of `openai.chat`.

`platform.openai.com/docs/api-reference/chat/object` as the types of the vendor's SDK 3.54 tell it (read 2026-11-23).
`reasoning_content` is DeepSeek's name for what was thought (`api-docs.deepseek.com/guides/reasoning_model`),
`reasoning` that of OpenRouter, Groq and vLLM; OpenAI itself shows none.
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._chat_request_read import read_call, read_thoughts
from turnout_dialects._chat_request_write import written_call
from turnout_dialects._errors import ErrorEvent
from turnout_dialects._form import Part, Reasoning, Refusal, Reply, Text, ToolCall, Usage
from turnout_dialects._json import Node
from turnout_dialects._openai import read_logprobs, read_usage, written_logprobs, written_usage
from turnout_dialects._turns import with_signatures

STOPS = {
    "stop": "end",
    "length": "length",
    "tool_calls": "calls",
    "function_call": "calls",
    "content_filter": "filter",
}
WRITTEN_STOPS = {
    "end": "stop",
    "sequence": "stop",
    "length": "length",
    "calls": "tool_calls",
    "filter": "content_filter",
    "refusal": "content_filter",
}


def read_reply(body: Node, id: str) -> Reply:  # noqa: ARG001  # only Gemini has calls without ids
    """A chat completion in the intermediate form. Raises BadReply, ErrorEvent."""
    if body.has("error"):
        raise ErrorEvent(body.any("error"))
    choices = body.nodes("choices")
    if not choices:
        body.fail("choices", "is missing or empty")
    message = choices[0].need("message")
    parts = with_signatures(_parts(message))
    return Reply(
        parts=parts,
        stop=read_stop(choices[0], parts),
        usage=read_chat_usage(body),
        logprobs=read_logprobs(choices[0].node("logprobs"), "content"),
    )


def read_chat_usage(body: Node) -> Usage | None:
    """Usage of a completion or a chunk."""
    return read_usage(body.node("usage"), "prompt", "completion")


def read_stop(choice: Node, parts: Iterable[Part]) -> str:
    """Why it stopped; a refusal in words is one, whatever the finish reason says."""
    parts = tuple(parts)
    if any(isinstance(part, Refusal) for part in parts):
        return "refusal"
    return stop_of(choice.text("finish_reason"), called=any(isinstance(part, ToolCall) for part in parts))


def stop_of(reason: str, *, called: bool) -> str:
    """Why it stopped by its finish reason.

    Calls are told by what was said: OpenAI says `stop` when a function was chosen by name, look-alikes with any call;
    and where no call is left that other dialects have, none is to be waited for.
    """
    stop = STOPS.get(reason, "end")
    return ("calls" if called else "end") if stop in {"end", "calls"} else stop


def _parts(message: Node) -> Iterable[Part]:
    if thought := message.text_or_none("reasoning_content") or message.text_or_none("reasoning"):
        yield Reasoning(thought)
    yield from read_content(message)
    if refusal := message.text_or_none("refusal"):
        yield Refusal(refusal)
    for call in message.nodes("tool_calls"):
        if (
            function := call.node("function")
        ) is not None:  # calls of other kinds are not for clients of other dialects
            yield from read_call(call, function)


def read_content(holder: Node) -> Iterable[Text | Reasoning]:
    """What a message or a delta says: a text, or with Mistral an array of texts and thoughts, when it reasons.

    Kinds that are unknown, or point to a source, are left out.
    """
    if type(holder.any("content")) is not list:
        if text := holder.text_or_none("content"):
            yield Text(text)
        return
    for part in holder.nodes("content"):
        kind = part.text("type")
        if kind == "text":
            yield Text(part.text("text"))
        elif kind == "thinking":
            yield read_thoughts(part)


def write_reply(reply: Reply, *, model: str, id: str, now: float) -> dict[str, Any]:
    """The reply as a chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": _join(reply, Text), "refusal": _join(reply, Refusal)}
    if thought := _join(reply, Reasoning, "\n\n"):
        message["reasoning_content"] = thought
    if calls := list(_calls(reply.parts)):
        message["tool_calls"] = calls
    refused = message["refusal"] is not None
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "logprobs": {"content": written_logprobs(reply.logprobs), "refusal": None} if reply.logprobs else None,
        "finish_reason": "stop" if refused else WRITTEN_STOPS[reply.stop],
    }
    made = {
        "id": f"chatcmpl-{id}",
        "object": "chat.completion",
        "created": int(now),
        "model": model,
        "choices": [choice],
    }
    return made | ({"usage": written_usage(reply.usage, "prompt", "completion")} if reply.usage else {})


def _join(reply: Reply, kind: type[Text] | type[Refusal] | type[Reasoning], between: str = "") -> str | None:
    return between.join(part.text for part in reply.parts if isinstance(part, kind) and part.text) or None


def _calls(parts: Iterable[Part]) -> Iterable[dict[str, Any]]:
    signed: Reasoning | None = None
    for part in parts:
        if isinstance(part, ToolCall):
            yield written_call(part, signed)
        signed = part if isinstance(part, Reasoning) else None
