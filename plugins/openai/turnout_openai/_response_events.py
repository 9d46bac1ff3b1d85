"""What the events of a response stream say.

From the reference of the Responses API (platform.openai.com/docs/api-reference/responses-streaming, read November
2026): it ends with `response.completed`, `response.incomplete` or `response.failed`, and has no `[DONE]`.
"""

from collections.abc import Mapping

from turnout_wire import Event, Grammar, Said, decoded

_ENDS = frozenset({"response.completed", "response.incomplete"})


def read(event: Event) -> Said:
    """What one event says; what is not JSON and what is unknown is no payload and passes (B15)."""
    found = decoded(event.data)
    kind = found.get("type")
    if kind == "error" or event.name == b"error":
        return Said(error=found.get("error") or _flat(found))
    if kind == "response.failed":
        response = found.get("response")
        return Said(error=(response.get("error") if isinstance(response, dict) else None) or {})
    if kind in _ENDS:
        return Said(payload=True, end=True)
    return Said(payload=_is_usable(kind, found))


def _flat(found: Mapping[str, object]) -> Mapping[str, object]:
    """The error that an event is, whose `type` is the event's own."""
    return {name: value for name, value in found.items() if name != "type" or value != "error"}


def _is_usable(kind: object, found: Mapping[str, object]) -> bool:
    """Whether an event brings something that a client can use: mostly a delta, else an image or a whole item."""
    if kind == "response.output_item.done":
        item = found.get("item")
        return isinstance(item, dict) and _is_usable_item(item)
    if kind == "response.image_generation_call.partial_image":
        return bool(found.get("partial_image_b64"))
    return isinstance(kind, str) and kind.endswith(".delta") and bool(found.get("delta"))


def _is_usable_item(item: Mapping[str, object]) -> bool:
    """Whether a finished item says something; a call, or what came of one, does by being there."""
    if item.get("type") not in ("message", "reasoning"):
        return True
    if item.get("encrypted_content"):
        return True
    parts = [part for name in ("content", "summary") if isinstance(listed := item.get(name), list) for part in listed]
    return any(isinstance(part, dict) and (part.get("text") or part.get("refusal")) for part in parts)


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


RESPONSE_EVENTS = Grammar(read=read, plain=plain, end="response.completed", image=b"image_generation_call")
