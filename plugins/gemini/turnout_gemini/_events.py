"""What the events of a content stream say.

Each is a whole GenerateContentResponse (ai.google.dev/api/generate-content, read 2026-11-23). There is no event for the
end: the answer is complete once a `finishReason`, or the reason why the prompt was blocked, has come.
"""

from collections.abc import Mapping

from turnout_wire import Event, Grammar, Said, decoded


def read(event: Event) -> Said:
    """What one event says; what is not JSON and what is unknown is no payload and passes (B15)."""
    found = decoded(event.data)
    if error := found.get("error"):
        return Said(error=error)
    listed = found.get("candidates")
    candidates = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    feedback = found.get("promptFeedback")
    end = any(one.get("finishReason") for one in candidates) or (
        isinstance(feedback, dict) and bool(feedback.get("blockReason"))
    )
    return Said(payload=end or any(map(_has_parts, candidates)), end=end)


def _has_parts(candidate: Mapping[str, object]) -> bool:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return isinstance(parts, list) and any(isinstance(part, dict) and any(part.values()) for part in parts)


def plain(data: bytes) -> bool:
    """Whether bytes are whole events without an end or an error among them."""
    return (  # `rfind`: half of `find`'s time for what is not there (CPython 3.11 to 3.13), and less than `in` takes
        data.startswith(b"data: {")
        and data.endswith((b"}\r\n\r\n", b"}\n\n"))
        and data.rfind(b'"finishReason"') < 0
        and data.rfind(b'"blockReason"') < 0
        and data.rfind(b'"error"') < 0
    )


GENERATE = Grammar(read=read, plain=plain, end="finishReason", last=False, image=b'"inlineData"')
