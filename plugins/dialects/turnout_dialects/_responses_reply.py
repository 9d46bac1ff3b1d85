"""Replies of `openai.responses`.

`platform.openai.com/docs/api-reference/responses/object` as the types of the vendor's SDK 3.54 tell it (read
2026-11-23).
"""

from collections.abc import Iterable
from typing import Any

from turnout_dialects._errors import ErrorEvent
from turnout_dialects._form import RESPONSES, Logprob, Part, Reasoning, Refusal, Reply, Text, ToolCall, Usage
from turnout_dialects._ids import call_id
from turnout_dialects._json import Node
from turnout_dialects._openai import read_logprobs, read_usage, written_logprobs, written_usage
from turnout_dialects._responses_request_read import read_call, read_reasoning
from turnout_dialects._responses_request_write import written_reasoning
from turnout_dialects._seal import seal


def read_reply(body: Node, id: str) -> Reply:  # noqa: ARG001  # only Gemini has calls without ids
    """A response in the intermediate form. Raises BadReply, ErrorEvent."""
    if body.has("error"):
        raise ErrorEvent(body.any("error"))
    parts: list[Part] = []
    logprobs: list[Logprob] = []
    for item in body.nodes("output"):
        parts.extend(_parts(item, logprobs))
    return Reply(
        parts=tuple(parts),
        stop=read_stop(body, parts),
        usage=read_response_usage(body),
        logprobs=tuple(logprobs),
    )


def read_response_usage(body: Node) -> Usage | None:
    """Usage of a response object."""
    return read_usage(body.node("usage"), "input", "output")


def read_stop(body: Node, parts: Iterable[Part]) -> str:
    """Why it stopped, from the status and what was said."""
    status = body.text_or_none("status") or "completed"
    if status == "incomplete":
        details = body.node("incomplete_details")
        return "filter" if details and details.text_or_none("reason") == "content_filter" else "length"
    if status != "completed":
        body.fail("status", f"{status!r} is not a finished reply")
    kinds = {type(part) for part in parts}
    if Refusal in kinds:
        return "refusal"
    return "calls" if ToolCall in kinds else "end"


def _parts(item: Node, logprobs: list[Logprob]) -> Iterable[Part]:
    kind = item.text("type")
    if kind == "reasoning":
        yield read_reasoning(item)
    elif kind == "function_call":
        yield read_call(item)
    elif kind == "message":
        for part in item.nodes("content"):
            said = part.text("type")
            if said == "output_text":
                logprobs.extend(read_logprobs(part, "logprobs"))
                yield Text(part.text("text"))
            elif said == "refusal":
                yield Refusal(part.text("refusal"))


def write_reply(reply: Reply, *, model: str, id: str, now: float) -> dict[str, Any]:
    """The reply as a response."""
    output: list[dict[str, Any]] = []
    said: list[Part] = []
    for part in reply.parts:
        if isinstance(part, Text | Refusal):
            said.append(part)
            continue
        _say(output, said, reply, id)
        said = []
        name = f"{id}_{len(output)}"
        if isinstance(part, ToolCall):
            output.append(written_call(part, name))
        elif isinstance(part, Reasoning):
            output.append(written_reasoning(part, *sealed(part, name)))
    _say(output, said, reply, id)
    return written_response(model=model, id=id, now=now, output=output, stop=reply.stop, usage=reply.usage)


def sealed(part: Reasoning, name: str) -> tuple[str, str]:
    """Id and `encrypted_content` of a reasoning item."""
    if part.signature and part.signature.origin == RESPONSES:
        return part.signature.id or f"rs_{name}", part.signature.value
    return f"rs_{name}", seal(part.signature, RESPONSES)


def _say(output: list[dict[str, Any]], said: list[Part], reply: Reply, id: str) -> None:
    if said:
        first = not any(item["type"] == "message" for item in output)
        content = [written_part(part, reply.logprobs if first and not place else ()) for place, part in enumerate(said)]
        output.append(written_message(f"{id}_{len(output)}", content))


def written_message(name: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """A finished message item."""
    return {"type": "message", "id": f"msg_{name}", "status": "completed", "role": "assistant", "content": content}


def written_part(part: Part, logprobs: tuple[Logprob, ...] = ()) -> dict[str, Any]:
    """Content of a message item."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    text = part.text if isinstance(part, Text) else ""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": written_logprobs(logprobs)}


def written_call(call: ToolCall, name: str) -> dict[str, Any]:
    """A finished function call item."""
    return {
        "type": "function_call",
        "id": f"fc_{name}",
        "call_id": call_id(call.id, RESPONSES),
        "name": call.name,
        "arguments": call.arguments or "{}",
        "status": "completed",
    }


def written_response(
    *, model: str, id: str, now: float, output: list[dict[str, Any]], stop: str | None, usage: Usage | None
) -> dict[str, Any]:
    """A response object; `stop` None is one in progress. The members that every client may rely on are all there."""
    cut = {"length": "max_output_tokens", "filter": "content_filter"}.get(stop or "")
    if stop == "refusal" and not any(_refuses(item) for item in output):
        cut = "content_filter"
    return {
        "id": f"resp_{id}",
        "object": "response",
        "created_at": int(now),
        "status": "incomplete" if cut else "completed" if stop else "in_progress",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": written_usage(usage, "input", "output") if usage and stop else None,
    }


def _refuses(item: dict[str, Any]) -> bool:
    return any(part["type"] == "refusal" for part in item.get("content", ()))
