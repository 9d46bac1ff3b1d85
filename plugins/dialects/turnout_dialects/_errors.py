"""What can go wrong, by blame: the client's request, the limits of the target, the upstream's reply."""

from typing import Any

from turnout.errors import InvalidAsk


class BadRequest(InvalidAsk):
    """The request does not keep the rules of its own dialect. A sibling of `Untranslatable`, where it does.

    Attributes:
        path: where, in the client's own spelling: `messages[2].content[0].type`; empty for the whole body.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason, argument=path or "body")
        self.path = path


class Untranslatable(InvalidAsk):
    """The request is sound, but the target dialect has no way to say this.

    Attributes:
        path: where, in the client's own spelling.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be translated: {reason}", argument=path)
        self.path = path


class BadReply(ValueError):
    """The upstream's reply or event does not keep the rules of its dialect, or its stream ended early.

    Attributes:
        path: where, in the upstream's spelling; empty for the whole.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the upstream's reply is wrong at {path}: {reason}" if path else reason)
        self.path = path


class ErrorEvent(BadReply):
    """The upstream told an error inside its stream, or in a reply with status 200.

    Attributes:
        error: the upstream's own error object, unscrubbed: may name what a client must not see.
    """

    def __init__(self, error: Any) -> None:
        super().__init__("", "the upstream reported an error instead of a reply")
        self.error = error
