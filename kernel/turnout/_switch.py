"""What a frontend is handed instead of the kernel (S65): the calls of `abc.Switch`, and nothing else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import attrs

from turnout._values import Answer, Ask, Decision, Model, Readiness
from turnout.abc import AnswerStream, Places


@attrs.frozen(kw_only=True, eq=False)
class Switch:
    """Implements `abc.Switch`."""

    execute: Callable[[Ask], Awaitable[Answer]]
    stream: Callable[[Ask], AbstractAsyncContextManager[AnswerStream]]
    count: Callable[[Ask], Awaitable[Answer]]
    embed: Callable[[Ask], Awaitable[Answer]]
    models: Callable[[], Sequence[Model]]
    readiness: Callable[[], Readiness]
    wait_draining: Callable[[], Awaitable[None]]
    explain: Callable[[str], Decision | None]
    expose: Callable[[], Mapping[str, str]]
    close_session: Callable[[str], Awaitable[None]]
    keep: Callable[[str, str], None]
    keeper: Callable[[str], Awaitable[str | None]]
    places: Places
