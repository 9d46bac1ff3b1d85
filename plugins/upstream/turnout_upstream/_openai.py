"""The OpenAI chat-completions format, as an upstream writes it.

Shapes from the API reference at https://platform.openai.com/docs/api-reference/chat (read November 2026). Ids and
times are constant, so that equal scripts give equal bytes.
"""

import json
from collections.abc import Sequence
from typing import Any

ID = "chatcmpl-scripted"
CREATED = 1_700_000_000
DONE = "data: [DONE]"

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_exceeded",
    503: "overloaded_error",
    529: "overloaded_error",
}


def dumps(value: object) -> bytes:
    """JSON as OpenAI sends it: compact, and with characters such as U+2028 unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _usage(words: Sequence[str]) -> dict[str, int]:
    return {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}


def words_of(text: str) -> list[str]:
    """The pieces in which a text is streamed; joined they give the text again."""
    return [word if at == 0 else " " + word for at, word in enumerate(text.split(" "))] if text else []


def reply(model: str, text: str) -> bytes:
    """A whole completion."""
    return dumps(
        {
            "id": ID,
            "object": "chat.completion",
            "created": CREATED,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _usage(words_of(text)),
        }
    )


def _chunk(model: str, delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + dumps(
        {"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": model, "choices": choices} | more
    )


def events(model: str, text: str, *, usage: bool = False, newline: str = "\n") -> tuple[bytes, ...]:
    """A streamed completion: a role-only opening, an event for each word, the finish, if asked the usage, `[DONE]`."""
    words = words_of(text)
    lines = [
        _chunk(model, {"role": "assistant", "content": ""}),
        *(_chunk(model, {"content": word}) for word in words),
        _chunk(model, {}, "stop"),
        *([_chunk(model, {}, choices=[], usage=_usage(words))] if usage else []),
        DONE.encode(),
    ]
    return tuple(line + 2 * newline.encode() for line in lines)


def models(names: Sequence[str]) -> bytes:
    """The model list."""
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"} for name in names]
    return dumps({"object": "list", "data": listed})


def speaks(path: str) -> bool:
    """Whether this format has such a path, wherever it is mounted."""
    return path.endswith(("/chat/completions", "/models"))


def error(status: int, message: str = "", *, code: str | None = None) -> bytes:
    """The error object for a status."""
    kind = ERROR_TYPES.get(status, "server_error")
    text = message or f"scripted failure with status {status}"
    return dumps({"error": {"message": text, "type": kind, "param": None, "code": code or kind}})
