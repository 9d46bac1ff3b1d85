"""Looking names up: in threads, of which a name that hangs holds a few and keeps them from no other."""

import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from turnout_transport._lookups import PER_NAME, THREADS, Lookups


@attrs.define
class Names:
    """A resolver that blocks on every name until it is let go, but for those it knows."""

    known: dict[str, Sequence[str]] = attrs.field(factory=dict)
    let_go: threading.Event = attrs.field(factory=threading.Event)
    asked: Counter[str] = attrs.field(factory=Counter)

    def __call__(self, host: str) -> Sequence[str]:
        self.asked[host] += 1
        if host not in self.known:
            self.let_go.wait(30)
            if host not in self.known:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self.known[host]


@asynccontextmanager
async def looking_up(names: Names) -> AsyncIterator[Lookups]:
    lookups = Lookups(names)
    try:
        yield lookups
    finally:
        names.let_go.set()
        with trio.CancelScope(shield=True), trio.fail_after(10):
            while lookups.under_way:  # noqa: ASYNC110  # threads end when they like
                await trio.sleep(0.002)


async def wait_asked(names: Names, host: str, count: int) -> None:
    with trio.fail_after(10):
        while names.asked[host] < count:  # noqa: ASYNC110  # as above
            await trio.sleep(0.002)


async def test_a_name_that_hangs_holds_a_few_threads_and_no_other_name() -> None:
    """B3: however many ask for it, and have given up."""
    names = Names({"fine.example": ["1.1.1.1"]})
    async with looking_up(names) as lookups:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(lookups, "hangs.example", 443)
                await wait_asked(names, "hangs.example", PER_NAME)
                nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            assert await lookups("fine.example", 443) == ["1.1.1.1"]

        assert names.asked["hangs.example"] == lookups.under_way == PER_NAME


async def test_callers_at_once_share_a_few_look_ups() -> None:
    names = Names()
    found: list[Sequence[str]] = []
    async with looking_up(names) as lookups, trio.open_nursery() as nursery:

        async def ask() -> None:
            found.append(await lookups("api.example", 443))

        for _ in range(1000):
            nursery.start_soon(ask)
        await wait_asked(names, "api.example", PER_NAME)
        names.known["api.example"] = ["1.1.1.1", "1.0.0.1"]
        names.let_go.set()

    assert found == [["1.1.1.1", "1.0.0.1"]] * 1000
    assert names.asked["api.example"] == PER_NAME


async def test_whoever_asks_after_an_answer_has_one_of_their_own() -> None:
    """S13: a name is looked up for each connect."""
    names = Names({"api.example": ["1.1.1.1"]})
    async with looking_up(names) as lookups:
        assert await lookups("api.example", 443) == ["1.1.1.1"]
        names.known["api.example"] = ["1.0.0.1"]
        assert await lookups("api.example", 443) == ["1.0.0.1"]


async def test_a_look_up_that_hangs_keeps_the_next_from_nothing() -> None:
    """A datagram was lost: the system asks again only after 5 s."""
    names = Names()
    async with looking_up(names) as lookups, trio.open_nursery() as nursery:
        nursery.start_soon(lookups, "api.example", 443)
        await wait_asked(names, "api.example", 1)
        names.known["api.example"] = ["1.1.1.1"]
        with trio.fail_after(10):
            assert await lookups("api.example", 443) == ["1.1.1.1"]
        names.let_go.set()


async def test_a_failure_is_told_to_everybody_who_waits() -> None:
    names = Names()
    told: list[OSError] = []
    async with looking_up(names) as lookups, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(socket.gaierror, match="Temporary failure") as caught:
                await lookups("gone.example", 443)
            told.append(caught.value)

        for _ in range(2 * PER_NAME):
            nursery.start_soon(ask)
        await wait_asked(names, "gone.example", PER_NAME)
        names.let_go.set()

    assert len({id(each) for each in told}) == 2 * PER_NAME
    assert {each.errno for each in told} == {socket.EAI_AGAIN}


async def test_there_are_never_more_threads_than_all_names_together_may_have() -> None:
    names = Names({"fine.example": ["1.1.1.1"]})
    hanging = [f"{number}.hangs.example" for number in range(THREADS // PER_NAME)]
    found: list[Sequence[str]] = []
    async with looking_up(names) as lookups, trio.open_nursery() as nursery:

        async def ask() -> None:
            found.append(await lookups("fine.example", 443))

        for name in hanging * PER_NAME:
            nursery.start_soon(lookups, name, 443)
        for name in hanging:
            await wait_asked(names, name, PER_NAME)
        for _ in range(2 * PER_NAME):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert (lookups.under_way, names.asked["fine.example"]) == (THREADS, 0)
        names.known |= {name: ["1.1.1.2"] for name in hanging}
        names.let_go.set()

    assert found == [["1.1.1.1"]] * 2 * PER_NAME


async def test_who_waits_for_a_look_up_that_was_given_up_before_it_began_begins_one() -> None:
    names = Names({"fine.example": ["1.1.1.1"]})
    hanging = [f"{number}.hangs.example" for number in range(THREADS // PER_NAME)]
    async with looking_up(names) as lookups, trio.open_nursery() as nursery:
        for name in hanging * PER_NAME:
            nursery.start_soon(lookups, name, 443)
        for name in hanging:
            await wait_asked(names, name, PER_NAME)
        async with trio.open_nursery() as waiting:
            async with trio.open_nursery() as leaving:
                for _ in range(PER_NAME):
                    leaving.start_soon(lookups, "fine.example", 443)
                await trio.testing.wait_all_tasks_blocked()
                waiting.start_soon(lookups, "fine.example", 443)
                await trio.testing.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            names.known |= {name: ["1.1.1.2"] for name in hanging}
            names.let_go.set()

    assert names.asked["fine.example"] == 1


@pytest.mark.parametrize(("host", "address"), [("127.1", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("::1", "::1")])
async def test_an_address_needs_no_thread_however_it_is_spelled(host: str, address: str) -> None:
    """F15: it is judged by what the system makes of it."""
    names = Names()
    assert await Lookups(names)(host, 443) == [address]
    assert not names.asked


async def test_a_resolver_that_was_given_to_trio_is_asked_instead_of_the_system() -> None:
    class Custom(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: bytes | None, port: object, *_: object, **_more: object) -> object:  # type: ignore[override]
            await trio.lowlevel.checkpoint()
            assert host == b"api.example"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", port))] * 2

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise AssertionError("nobody asks for a name")

    names = Names()
    trio.socket.set_custom_hostname_resolver(Custom())
    assert await Lookups(names)("api.example", 443) == ["1.1.1.1"]
    assert not names.asked


async def test_the_system_is_asked_unless_somebody_else_is() -> None:
    assert "127.0.0.1" in await Lookups()("localhost", 443)
