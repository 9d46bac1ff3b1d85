"""What the events of a chat completion stream say.

From the reference of the Chat Completions API (platform.openai.com/docs/api-reference/chat-streaming, read November
2026). `reasoning_content` and `reasoning` are what other vendors call their reasoning.
"""

from typing import Any

import msgspec

from turnout_wire import Event, Grammar, Said

DONE = b"[DONE]"

CONTENT = ("content", "tool_calls", "function_call", "refusal", "reasoning", "reasoning_content", "audio", "images")
"""Members of a `delta` that a client can use: content, a tool call, reasoning.

`images` are OpenRouter's, each a whole one (openrouter.ai/docs/features/multimodal/image-generation, excerpt).
"""

_decode = msgspec.json.Decoder().decode

_END = Said(end=True)

_UNEXPLAINED = {"message": "finish_reason: error"}


def read(event: Event) -> Said:
    """What one event says.

    What is not JSON is no payload, and passes like anything unknown: a page of garbage has no `[DONE]` (B14, B15).
    """
    if event.data.strip() == DONE:
        return _END
    found = _decoded(event.data)
    return Said(payload=is_payload(found), error=_error_in(found, event))


def is_payload(found: object) -> bool:
    """Whether a decoded chunk holds something a client can use; a role, an empty delta or mere usage is none."""
    choices = found.get("choices") if isinstance(found, dict) else None
    return isinstance(choices, list) and any(isinstance(choice, dict) and _is_usable(choice) for choice in choices)


def _is_usable(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    usable = isinstance(delta, dict) and any(delta.get(name) for name in CONTENT)
    return usable or bool(choice.get("finish_reason")) or bool(choice.get("text"))


def _decoded(data: bytes) -> object:
    """What the data says, None when it is not JSON."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _error_in(found: object, event: Event) -> object:
    """The error object that an event is or holds, None when it holds none."""
    error = found.get("error") if isinstance(found, dict) else None
    if error:
        return error
    return (found or {}) if event.name == b"error" else error_of_choices(found)


def error_in(body: bytes) -> object:
    """The error that the choices of a whole chat completion tell; None when they tell none, as nearly always."""
    return error_of_choices(_decoded(body)) if body.rfind(b'"error"') >= 0 else None


def error_of_choices(found: object) -> object:
    """The error of choices that have all failed; None while one of them can be used.

    OpenRouter's choices may have an `error` of their own, and end with the reason "error", as those of Mistral's API
    and of servers like theirs do without saying more (openrouter.ai/docs/api/reference/errors-and-debugging, excerpt;
    api.koog.ai's OpenRouterStreamChoice; github.com/mistralai/client-python/issues/74; all read 2026-11-28).
    """
    choices = found.get("choices") if isinstance(found, dict) else None
    errors = [_error_of(choice) for choice in choices] if isinstance(choices, list) else []
    return errors[0] if errors and all(errors) else None


def _error_of(choice: object) -> object:
    if not isinstance(choice, dict):
        return None
    return choice.get("error") or (_UNEXPLAINED if choice.get("finish_reason") == "error" else None)


def plain(data: bytes) -> bool:
    """Whether bytes are whole events without an end, an error or a name among them, as far as searches can tell."""
    return (  # `rfind`: half of `find`'s time for what is not there (CPython 3.11 to 3.13), and less than `in` takes
        data.startswith(b"data: {")
        and data.endswith(b"}\n\n")
        and data.rfind(b'"error"') < 0
        and data.rfind(b"[DONE]") < 0
        and data.rfind(b"event:") < 0
    )


CHAT_EVENTS = Grammar(read=read, plain=plain, end="[DONE]", tail=b"data: [DONE]\n\n", image=b'"images"')
