"""Hand instances to a kernel where it expects installed classes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def given(instance: T) -> type[T]:
    """A plugin class whose opening gives this very instance: for `Plugins.of`, in tests and when embedding.

    The instance is not closed when the kernel closes: whoever made it keeps it.
    """

    @asynccontextmanager
    async def opened(settings: object, context: Any) -> AsyncIterator[T]:  # noqa: ARG001 # the protocol's arguments
        yield instance

    return type(type(instance).__name__, (type(instance),), {"open": staticmethod(opened)})
