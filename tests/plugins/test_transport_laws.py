"""Our transports keep the laws that every transport keeps, and the check finds one that does not."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

import httpx
import pytest

from turnout import Credential
from turnout.abc import Transport
from turnout.testing import check_transport
from turnout_transport import Httpx, Pool

OpenTransport = Callable[[], AbstractAsyncContextManager[Transport]]


@asynccontextmanager
async def open_pool() -> AsyncIterator[Transport]:
    pool = Pool()
    try:
        yield pool
    finally:
        pool.close()


@asynccontextmanager
async def open_httpx() -> AsyncIterator[Transport]:
    transport = Httpx()
    try:
        yield transport
    finally:
        await transport.aclose()


@pytest.mark.parametrize("open_transport", [open_pool, open_httpx])
async def test_our_transports_keep_the_laws(open_transport: OpenTransport) -> None:
    await check_transport(open_transport, httpx.Request)


class Unbound:
    """Plain httpx: it goes wherever a request says."""

    api: ClassVar[int] = 1

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        return self._transport


@asynccontextmanager
async def open_unbound() -> AsyncIterator[Transport]:
    async with httpx.AsyncHTTPTransport(trust_env=False) as transport:
        yield Unbound(transport)


async def test_a_transport_that_lets_a_credential_out_is_found() -> None:
    """S11."""
    with pytest.raises(AssertionError, match="own origin and nowhere else"):
        await check_transport(open_unbound, httpx.Request)
