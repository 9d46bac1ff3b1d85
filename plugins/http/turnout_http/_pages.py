"""What a page of this frontend is: a path, its methods, and for whom it is there."""

import enum
from collections.abc import Awaitable, Callable
from typing import final

import attrs

from turnout_http._visit import Receive, Scope, Send

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]


class Audience(enum.Enum):
    """Who may see a page. There is no default: every page says it."""

    PUBLIC = "public"
    CLIENT = "client"


@final
@attrs.frozen
class Page:
    """One row of the route table. `endpoint` is an ASGI application; the path may hold Starlette's `{name:path}`."""

    path: str
    methods: tuple[str, ...]
    audience: Audience
    endpoint: Endpoint
