"""What the events of a message stream say.

From the streaming page of the API's reference (platform.claude.com/docs/en/build-with-claude/streaming, read
2026-11-23): `message_start`, then for each block `content_block_start`, deltas and `content_block_stop`, then
`message_delta` and `message_stop`; `ping` and `error` may come anywhere, and new kinds may be added.
"""

from turnout_wire import Event, Grammar, Said, decoded

_FILLED = ("text", "partial_json", "thinking", "signature", "citation", "data")
"""Members of a delta that a client can use: text, a tool's arguments, thinking."""


def read(event: Event) -> Said:
    """What one event says; what is not JSON and what is unknown is no payload and passes (B15)."""
    found = decoded(event.data)
    kind = found.get("type")
    if kind == "error" or event.name == b"error":
        return Said(error=found.get("error") or found)
    if kind == "message_stop":
        return Said(end=True)
    return Said(payload=_is_payload(kind, found))


def _is_payload(kind: object, found: dict[str, object]) -> bool:
    """A filled delta, or the reason why the message stops: an empty answer is an answer too."""
    delta = found.get("delta")
    if not isinstance(delta, dict):
        return False
    if kind == "content_block_delta":
        return any(delta.get(name) for name in _FILLED)
    return kind == "message_delta" and bool(delta.get("stop_reason"))


def plain(data: bytes) -> bool:
    """Whether bytes are whole events without an end or an error among them."""
    return (  # `rfind`: half of `find`'s time for what is not there (CPython 3.11 to 3.13), and less than `in` takes
        data.startswith(b"event: content_block_delta\n")
        and data.endswith(b"}\n\n")
        and data.rfind(b"message_stop") < 0
        and data.rfind(b"error") < 0
    )


MESSAGES = Grammar(read=read, plain=plain, end="message_stop")
