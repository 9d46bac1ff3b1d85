"""What a page of this frontend is: a path, its methods, and for whom it is there."""

import enum
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import final

import attrs

from turnout_http._answering import Answering
from turnout_http._door import Door
from turnout_http._framing import Head
from turnout_http._refusals import Refusal
from turnout_http._visit import Receive, Scope, Send, Visit

Endpoint = Callable[[Scope, Receive, Answering], Awaitable[None]]

SocketEndpoint = Callable[[Door, Visit, Receive, Send], Awaitable[None]]


CHAT = "openai.chat"
RESPONSES = "openai.responses"
EMBEDDINGS = "openai.embeddings"
MESSAGES = "anthropic.messages"
GEMINI = "gemini.generate"

_DIALECTS = ((b"/v1/messages", MESSAGES), (b"/v1beta/", GEMINI), (b"/v1/responses", RESPONSES))


def dialect_of(path: bytes, head: Head) -> str:
    """In which dialect a request is told what went wrong, by its path; shared paths by a header of one vendor's."""
    for prefix, dialect in _DIALECTS:
        if path.startswith(prefix):
            return dialect
    if b"anthropic-version" in head:
        return MESSAGES
    return GEMINI if path.startswith(b"/v1/models") and b"x-goog-api-key" in head else CHAT


class Audience(enum.Enum):
    """Who may see a page. There is no default: every page says it."""

    PUBLIC = "public"
    CLIENT = "client"


@final
@attrs.frozen
class Page:
    """One row of the route table. The path may hold names, see `pattern`.

    `endpoint` is an ASGI application that may also give a whole answer at once, see `Answering`;
    `socket` is what serves a websocket that is opened there, None where none can be.
    """

    path: str
    methods: tuple[str, ...]
    audience: Audience
    endpoint: Endpoint
    socket: SocketEndpoint | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Answering) -> Awaitable[None]:
        """Serve a request; raises Refusal at once for a method that this page does not answer."""
        if scope["method"] not in self.methods:
            raise not_allowed(self.methods)
        return self.endpoint(scope, receive, send)


def not_allowed(methods: Sequence[str]) -> Refusal:
    """The refusal of a page that answers these methods, which it has to name (RFC 9110, 15.5.6)."""
    allowed = ((b"allow", ", ".join(methods).encode()),)
    return Refusal("method_not_allowed", f"this page answers {' and '.join(methods)}", headers=allowed)


def pattern(path: str) -> re.Pattern[str]:
    """What a page's path matches: `{name}` stands for one part of a path, `{name:path}` for any number of them."""
    kinds = {"": "[^/]+", ":path": ".*"}
    parts = re.split(r"\{([a-z]+)(|:path)\}", path)
    named = [f"(?P<{name}>{kinds[kind]})" for name, kind in zip(parts[1::3], parts[2::3], strict=True)]
    texts = map(re.escape, parts[::3])
    return re.compile("".join(piece for pair in zip(texts, [*named, ""], strict=True) for piece in pair), re.DOTALL)
