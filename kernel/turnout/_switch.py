"""What a frontend is handed instead of the kernel (S65): the calls of `abc.Switch`, and nothing else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import attrs

from turnout._values import Answer, Decision, Model, Readiness
from turnout.abc import AnswerStream, Places


@attrs.frozen(kw_only=True, eq=False)
class Switch:
    """Implements `abc.Switch`."""

    execute: Callable[..., Awaitable[Answer]]
    stream: Callable[..., AbstractAsyncContextManager[AnswerStream]]
    count: Callable[..., Awaitable[Answer]]
    embed: Callable[..., Awaitable[Answer]]
    models: Callable[[], Sequence[Model]]
    readiness: Callable[[], Readiness]
    wait_draining: Callable[[], Awaitable[None]]
    explain: Callable[[str], Decision | None]
    expose: Callable[[], Mapping[str, str]]
    close_session: Callable[[str], Awaitable[None]]
    keep: Callable[[str, str], None]
    keeper: Callable[[str], Awaitable[str | None]]
    places: Places
