"""The transport `pool`: HTTP/1.1 connections to every origin, kept and shared by the credentials of each."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Self, final

import attrs
import httpx
import trio

from turnout import ByteCount, Credential, Seconds, Secret
from turnout.abc import PluginContext
from turnout_sockets import Burst, Readers
from turnout_transport._dial import Connector, Dialer, Opener, Resolver
from turnout_transport._exchanges import BoundTransport
from turnout_transport._limiters import CredentialLimiters
from turnout_transport._lookups import Lookups
from turnout_transport._origin_pool import IdleShelf, OriginPool, OriginStatistics, Terms
from turnout_transport._origins import Origin
from turnout_transport._proxies import Proxy, proxy_flaw, usable_proxy
from turnout_transport._sockets import open_socket
from turnout_transport._tls import tls_context, usable_ca_file


@final
@attrs.frozen(kw_only=True)
class PoolSettings:
    """The table `[transports.pool]`.

    Attributes:
        max_connections: connections per origin, idle ones included.
        max_per_credential: requests that one credential may have under way; 0 for no limit of its own.
        max_wait: how long a request waits for a connection to become free.
        keepalive: how long an idle connection is kept. Shorter than what the upstream does is best: Uvicorn-served
            upstreams close after 5 s unless told otherwise, and a kept one that has died costs a resend.
        max_header_bytes, max_header_fields: of a reply; more is a protocol failure.
        allow_private: names may resolve to addresses outside the public internet. Literal addresses and `localhost`
            always may; addresses where clouds hand out secrets never.
        ca_file: PEM file of further certificate authorities to trust, beside the public ones; empty for none.
        proxy: `http://[user:password@]host[:port]` for credentials that have no proxy of their own.
    """

    max_connections: int = attrs.field(default=1024, validator=attrs.validators.gt(0))
    max_per_credential: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    max_wait: Seconds = attrs.field(default=Seconds(30.0), validator=attrs.validators.gt(Seconds(0)))
    keepalive: Seconds = attrs.field(default=Seconds(30.0), validator=attrs.validators.gt(Seconds(0)))
    max_header_bytes: ByteCount = attrs.field(default=ByteCount(64 * 1024), validator=attrs.validators.gt(ByteCount(0)))
    max_header_fields: int = attrs.field(default=256, validator=attrs.validators.gt(0))
    allow_private: bool = False
    ca_file: str = attrs.field(default="", validator=usable_ca_file)
    proxy: Secret | None = attrs.field(default=None, validator=usable_proxy)


DEFAULTS = PoolSettings()


@final
class Pool:
    """HTTP/1.1 over Trio streams and llhttp.

    One pool serves every credential; connections are shared per origin and proxy, and each credential gets a transport
    that goes to its own origin only. Environment variables have no say in any of it.
    """

    api: ClassVar[int] = 1
    Settings = PoolSettings

    def __init__(
        self,
        settings: PoolSettings = DEFAULTS,
        *,
        connect_limit: float = 5.0,
        tls: ssl.SSLContext | None = None,
        open_stream: Opener = open_socket,
        resolve: Resolver | None = None,
    ) -> None:
        self._proxy = settings.proxy
        self._shelf = IdleShelf(settings.keepalive)
        self._terms = Terms(
            burst=Burst(),
            dialer=Dialer(
                tls=tls or tls_context(settings.ca_file),
                limit=connect_limit,
                connector=Connector(
                    allow_private=settings.allow_private, open_stream=open_stream, resolve=resolve or Lookups()
                ),
            ),
            places=settings.max_connections,
            max_wait=settings.max_wait,
            max_header_bytes=settings.max_header_bytes,
            max_header_fields=settings.max_header_fields,
            readers=Readers(),
        )
        self._bound: dict[tuple[str, Secret | None], BoundTransport] = {}
        self._limiters = CredentialLimiters(settings.max_per_credential)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: PoolSettings, context: PluginContext) -> AsyncIterator[Self]:
        """The transport, as long as the block runs; leaving closes every connection."""
        async with cls(settings, connect_limit=context.limits.connect).opened() as pool:
            yield pool

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """The pool with a task that reads for all its plain connections, as long as the block runs; closes it.

        What the block raises comes out as it is, not in a group.
        """
        failed: Exception | None = None
        readers = self._terms.readers
        with readers:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(readers.run)
                try:
                    yield self
                except Exception as error:  # noqa: BLE001  # carried over the nursery's border, raised below
                    failed = error
                finally:
                    self.close()
                    nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    @classmethod
    def proxy_flaw(cls, proxy: Secret) -> str:
        """See `turnout.abc.ProxyJudge`."""
        return proxy_flaw(proxy)

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        """Connections bound to this credential's origin; raises ValueError when it has no usable one."""
        key = (credential.origin, credential.proxy_url or self._proxy)
        bound = self._bound.get(key)
        if bound is None:
            proxy = Proxy.parse(key[1]) if key[1] else None
            bound = BoundTransport(OriginPool(Origin.parse(credential.origin), proxy, self._terms, self._shelf), None)
            self._bound[key] = bound
        limiter = self._limiters.of(credential.id)
        return bound if limiter is None else BoundTransport(bound.pool, limiter)

    def statistics(self) -> Sequence[OriginStatistics]:
        """What goes on at each origin right now, in the order in which they were first used."""
        return tuple(bound.pool.statistics() for bound in self._bound.values())

    def close(self) -> None:
        """Close every connection at once; exchanges under way fail. Does not wait."""
        for bound in self._bound.values():
            bound.pool.close()
