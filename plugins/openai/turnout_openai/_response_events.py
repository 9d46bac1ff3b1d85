"""What the events of a response stream say.

From the reference of the Responses API (platform.openai.com/docs/api-reference/responses-streaming, read November
2026): it ends with `response.completed`, `response.incomplete` or `response.failed`, and has no `[DONE]`.
"""

from turnout_wire import Event, Grammar, Said, decoded

_ENDS = frozenset({"response.completed", "response.incomplete"})


def read(event: Event) -> Said:
    """What one event says; what is not JSON and what is unknown is no payload and passes (B15)."""
    found = decoded(event.data)
    kind = found.get("type")
    if kind == "error" or event.name == b"error":
        return Said(error=found.get("error") or found)
    if kind == "response.failed":
        response = found.get("response")
        return Said(error=(response.get("error") if isinstance(response, dict) else None) or {})
    if kind in _ENDS:
        return Said(payload=True, end=True)
    return Said(payload=isinstance(kind, str) and kind.endswith(".delta") and bool(found.get("delta")))


def plain(data: bytes) -> bool:
    """Whether bytes are whole events without an end or an error among them."""
    return (  # `rfind`: half of `find`'s time for what is not there (CPython 3.11 to 3.13), and less than `in` takes
        data.startswith(b"event: response.")
        and data.endswith(b"}\n\n")
        and data.rfind(b"response.completed") < 0
        and data.rfind(b"response.incomplete") < 0
        and data.rfind(b"response.failed") < 0
        and data.rfind(b"error") < 0
    )


RESPONSE_EVENTS = Grammar(read=read, plain=plain, end="response.completed")
