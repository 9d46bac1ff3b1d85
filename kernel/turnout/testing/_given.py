"""Hand instances to a kernel where it expects installed classes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def given(instance: T) -> type[T]:
    """A plugin class whose making gives this very instance: for `Plugins.of`, in tests and when embedding.

    Whoever made the instance keeps it: an `open` that its class has is left out, and nothing of it is closed.
    """
    return _like(instance, {"__new__": lambda cls, *settings: instance, "open": None})  # noqa: ARG005 # as a class is called


def given_open(instance: T) -> type[T]:
    """The same for a plugin that is opened and closed, as one is that holds something: a task keeps it open."""

    @asynccontextmanager
    async def opened(settings: object, context: Any) -> AsyncIterator[T]:  # noqa: ARG001 # the protocol's arguments
        yield instance

    return _like(instance, {"open": staticmethod(opened)})


def _like(instance: T, members: dict[str, Any]) -> type[T]:
    return type(type(instance).__name__, (type(instance),), members)
