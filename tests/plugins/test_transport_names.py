"""Names and addresses, for either transport: what a name leads to is judged, then connected to, all in bounded time."""

import errno
import resource
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import attrs
import httpx
import pytest
import trio
import trio.testing
from peers import always_ok, peer, reset

from turnout import Blame, Credential, Sent
from turnout_transport import Httpx, Pool, RawStream
from turnout_transport._dial import Opener, Resolver
from turnout_transport._lookups import PER_NAME, Lookups
from turnout_transport._sockets import SocketStream, open_socket
from turnout_wire import verdict_of_exception


class Transport(Protocol):
    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport: ...


class Make(Protocol):
    """Makes the transport under test, which is closed with the test."""

    def __call__(
        self,
        *,
        private: bool = False,
        connect_limit: float = 5.0,
        open_stream: Opener = open_socket,
        resolve: Resolver | None = None,
    ) -> Transport: ...


@pytest.fixture(params=[Pool, Httpx], ids=["pool", "httpx"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    kind: type[Pool | Httpx] = request.param
    made: list[Pool | Httpx] = []

    def make_one(
        *,
        private: bool = False,
        connect_limit: float = 5.0,
        open_stream: Opener = open_socket,
        resolve: Resolver | None = None,
    ) -> Transport:
        more = {"connect_limit": connect_limit, "open_stream": open_stream, "resolve": resolve}
        made.append(kind(kind.Settings(allow_private=private), **more))  # type: ignore[arg-type]  # of either kind
        return made[-1]

    yield make_one
    for each in made:
        if isinstance(each, Pool):
            each.close()
        else:
            await each.aclose()


async def call(transport: Transport, origin: str) -> bytes:
    bound = transport.for_credential(Credential(id="a", provider="p", origin=origin))
    response = await bound.handle_async_request(httpx.Request("POST", origin + "/v1", content=b"{}"))
    try:
        return await response.aread()
    finally:
        await response.aclose()


def leading_to(*addresses: str) -> Resolver:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return addresses

    return resolve


def recorder(opened: list[str]) -> Opener:
    async def open_stream(address: str, port: int) -> RawStream:
        await trio.lowlevel.checkpoint()
        opened.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    return open_stream


# What may be connected to


PRIVATE = ["127.0.0.1", "10.0.0.7", "192.168.0.1", "fd00::1", "::1", "::ffff:127.0.0.1", "0.0.0.0"]  # noqa: S104

METADATA = ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "168.63.129.16"]


@pytest.mark.parametrize(
    ("address", "private"),
    [*((address, False) for address in PRIVATE + METADATA), *((address, True) for address in METADATA)],
)
async def test_a_public_name_with_such_an_address_is_refused_before_any_connect(
    make: Make, address: str, private: bool
) -> None:
    """S12: metadata never, whatever is set."""
    opened: list[str] = []
    transport = make(private=private, open_stream=recorder(opened), resolve=leading_to(address))
    with pytest.raises(httpx.ConnectError, match="no address") as caught:
        await call(transport, "https://evil.example.com")

    assert caught.value.request_sent is False  # type: ignore[attr-defined]
    assert opened == []


@pytest.mark.parametrize(("address", "private"), [("1.1.1.1", False), *((address, True) for address in PRIVATE)])
async def test_an_address_that_is_allowed_is_connected_to(make: Make, address: str, private: bool) -> None:
    """S12: private ones by the setting alone."""
    opened: list[str] = []
    transport = make(private=private, open_stream=recorder(opened), resolve=leading_to(address))
    with pytest.raises(httpx.ConnectError, match="Connection refused"):
        await call(transport, "http://api.example.com")

    assert opened == [address]


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0", "017700000001"])
async def test_other_spellings_of_loopback_are_judged_by_the_address_they_become(make: Make, host: str) -> None:
    """S12, F15: by the system's own resolver."""
    opened: list[str] = []
    with pytest.raises(httpx.ConnectError, match="no address"):
        await call(make(open_stream=recorder(opened)), f"http://{host}:80")

    assert opened == []


@pytest.mark.parametrize("private", [True, False])
async def test_a_metadata_address_is_refused_whatever_is_set(make: Make, private: bool) -> None:
    """S12."""
    opened: list[str] = []
    with pytest.raises(httpx.ConnectError):
        await call(make(private=private, open_stream=recorder(opened)), "http://169.254.169.254")

    assert opened == []


async def test_a_name_that_changes_its_address_is_judged_at_each_connect(make: Make) -> None:
    """S13: one look-up per connect, and the connect goes to exactly the address that was checked."""
    answers = ["1.1.1.1", "127.0.0.1"]
    opened: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return [answers.pop(0)]

    transport = make(open_stream=recorder(opened), resolve=resolve)
    with pytest.raises(httpx.ConnectError, match="Connection refused"):
        await call(transport, "http://rebind.example.com")
    with pytest.raises(httpx.ConnectError, match="no address"):
        await call(transport, "http://rebind.example.com")

    assert opened == ["1.1.1.1"]
    assert answers == []


async def test_private_addresses_beside_public_ones_are_passed_over(make: Make) -> None:
    """S12."""
    opened: list[str] = []
    resolve = leading_to("127.0.0.1", "1.1.1.1", "169.254.169.254")
    with pytest.raises(httpx.ConnectError):
        await call(make(open_stream=recorder(opened), resolve=resolve), "http://mixed.example.com")

    assert opened == ["1.1.1.1"]


# Names that are gone or hang


async def test_a_name_that_is_gone_is_a_connect_error(make: Make) -> None:
    """B3."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(httpx.ConnectError, match="not known") as caught:
        await call(make(resolve=resolve), "http://gone.example.com")

    assert caught.value.request_sent is False  # type: ignore[attr-defined]


async def test_a_name_that_hangs_holds_up_no_other(make: Make) -> None:
    """B3: more calls wait for it than Trio has threads for everything."""
    let_go, asked = threading.Event(), 0

    def look_up(host: str) -> Sequence[str]:
        nonlocal asked
        if host == "hangs.example":
            asked += 1
            let_go.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ["127.0.0.1"]

    lookups = Lookups(look_up)
    async with peer(always_ok) as origin, trio.open_nursery() as nursery:
        transport = make(private=True, resolve=lookups, connect_limit=30)

        async def call_in_vain() -> None:
            with pytest.raises(httpx.ConnectError, match="Temporary failure"):
                await call(transport, "http://hangs.example")

        for _ in range(50):
            nursery.start_soon(call_in_vain)
        try:
            with trio.fail_after(10):
                while lookups.under_way < PER_NAME:  # noqa: ASYNC110  # threads begin when they like
                    await trio.sleep(0.002)
                assert await call(transport, origin.replace("127.0.0.1", "fine.example")) == b"ok"
        finally:
            let_go.set()
    assert asked == PER_NAME


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_resolver_or_a_network_that_hangs_ends_at_the_connect_limit(
    make: Make, scheme: str, autojump_clock: trio.testing.MockClock
) -> None:
    """B2, B3: for each of those who call at once."""

    async def hangs(host: str, port: int) -> Sequence[str]:
        await trio.sleep_forever()

    async def black_hole(address: str, port: int) -> RawStream:
        await trio.sleep_forever()

    async def call_in_vain(transport: Transport) -> None:
        start = trio.current_time()
        with pytest.raises(httpx.ConnectTimeout, match="within 5 s") as caught:
            await call(transport, f"{scheme}://api.example.com")
        assert trio.current_time() - start == pytest.approx(5)
        assert caught.value.request_sent is False  # type: ignore[attr-defined]

    for transport in (make(resolve=hangs), make(resolve=leading_to("1.1.1.1"), open_stream=black_hole)):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call_in_vain, transport)


# From the name to TLS


@attrs.define(eq=False)
class Mute(RawStream):
    """A connection on which nothing ever comes."""

    closed: bool = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()

    def close(self) -> None:
        self.closed = True


@attrs.define
class Slow:
    """A network that takes its time, and what it has connected."""

    look_up: float
    connect: float
    opened: list[Mute] = attrs.field(factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        await trio.sleep(self.look_up)
        return ["1.1.1.1"]

    async def open_stream(self, address: str, port: int) -> RawStream:
        await trio.sleep(self.connect)
        self.opened.append(Mute())
        return self.opened[-1]


@pytest.mark.parametrize(("look_up", "connect"), [(4, 4), (4, 0.5), (0, 4)])
async def test_one_limit_is_over_looking_up_connecting_and_tls_together(
    make: Make, look_up: float, connect: float, autojump_clock: trio.testing.MockClock
) -> None:
    """B2, B3, B4."""
    slow = Slow(look_up, connect)
    transport = make(resolve=slow.resolve, open_stream=slow.open_stream)
    start = trio.current_time()
    with pytest.raises(httpx.ConnectTimeout, match="within 5 s"):
        await call(transport, "https://api.example.com")

    assert trio.current_time() - start == pytest.approx(5)
    assert len(slow.opened) == (look_up + connect < 5)
    assert all(each.closed for each in slow.opened)


async def test_a_call_that_is_cancelled_in_the_handshake_leaves_no_connection(
    make: Make, autojump_clock: trio.testing.MockClock
) -> None:
    slow = Slow(0, 0)
    with trio.move_on_after(1):
        await call(make(resolve=slow.resolve, open_stream=slow.open_stream), "https://api.example.com")

    assert [each.closed for each in slow.opened] == [True]


async def test_a_peer_that_resets_at_once_is_told_as_a_failure_of_the_way_and_leaves_nothing_open(make: Make) -> None:
    """B5: also where the reset is there before anything is sent."""
    opened: list[SocketStream] = []

    async def serve(stream: trio.SocketStream) -> None:
        await trio.lowlevel.checkpoint()
        reset(stream)

    async def open_stream(address: str, port: int) -> RawStream:
        stream = await open_socket(address, port)
        opened.append(stream)
        while not stream.is_readable():
            await trio.lowlevel.wait_readable(stream.fileno())
        return stream

    async with peer(serve) as origin:
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)) as caught:
            await call(make(open_stream=open_stream), origin)

    assert hasattr(caught.value, "request_sent")
    assert [stream.fileno() for stream in opened] == [-1]


# What this machine lacks


@pytest.mark.parametrize("lack", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("addresses", [["1.1.1.1"], ["1.0.0.1", "1.1.1.1"]], ids=["alone", "behind one that refuses"])
async def test_a_connection_for_which_this_machine_lacks_something_speaks_against_nobody(
    make: Make, lack: int, addresses: list[str]
) -> None:
    """D8: the upstream has not been asked."""

    async def open_stream(address: str, port: int) -> RawStream:
        await trio.lowlevel.checkpoint()
        raise OSError(lack if address == "1.1.1.1" else errno.ECONNREFUSED, "no")

    with pytest.raises(httpx.PoolTimeout) as caught:
        await call(make(resolve=leading_to(*addresses), open_stream=open_stream), "http://api.example.com")

    verdict = verdict_of_exception(caught.value)
    assert (verdict.blame, verdict.sent) == (Blame.NOBODY, Sent.NO)


@pytest.mark.parametrize(
    "why",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EAGAIN, "no thread"),
        socket.gaierror(socket.EAI_MEMORY, "no memory"),
    ],
    ids=repr,
)
async def test_a_look_up_for_which_this_machine_lacks_something_speaks_against_nobody(make: Make, why: OSError) -> None:
    """D8."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        raise why

    with pytest.raises(httpx.PoolTimeout) as caught:
        await call(make(resolve=resolve), "http://api.example.com")

    assert verdict_of_exception(caught.value).blame is Blame.NOBODY


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], None]]:
    """Leaves this process none beyond those that are in use when it is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def use_up() -> None:
        with Path("/dev/null").open() as free:
            lowest = free.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))

    yield use_up
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_descriptors_nothing_is_blamed_on_the_upstream(
    make: Make, no_descriptors: Callable[[], None], host: str
) -> None:
    """A5, D8: with the system's own look-ups and sockets."""
    async with peer(always_ok) as origin:
        transport = make(connect_limit=30)
        no_descriptors()
        with pytest.raises(httpx.PoolTimeout, match="Too many open files"):
            await call(transport, origin.replace("127.0.0.1", host))
