"""Who may connect."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from turnout_http import ClientLimits
from turnout_http._gate import Gate, unmapped


@pytest.fixture
def gate() -> Iterator[tuple[Gate, ExitStack]]:
    with ExitStack() as held:
        yield Gate(ClientLimits(connections=5, per_address=2), lambda: False), held


def test_an_address_may_have_so_many_connections_and_gets_its_places_back(gate: tuple[Gate, ExitStack]) -> None:
    """A4, S56."""
    door, held = gate
    with door.hold("192.0.2.1") as first, door.hold("192.0.2.1") as second, door.hold("192.0.2.1") as third:
        assert (first, second, third) == (True, True, False)
        assert held.enter_context(door.hold("192.0.2.2"))
    assert [held.enter_context(door.hold("192.0.2.1")) for _ in range(3)] == [True, True, False]
    assert door.open == 3


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.33", "::1", "::1%lo"])
def test_loopback_is_limited_only_with_all_others_together(gate: tuple[Gate, ExitStack], address: str) -> None:
    """A4: whoever is there, a proxy perhaps, speaks for many."""
    door, held = gate
    assert [held.enter_context(door.hold(address)) for _ in range(6)] == [True] * 5 + [False]
    assert not held.enter_context(door.hold("192.0.2.1"))


def test_an_address_with_too_many_connections_makes_nobody_go() -> None:
    """A4."""

    def make_room() -> bool:
        raise AssertionError

    door = Gate(ClientLimits(connections=1, per_address=1), make_room)
    with door.hold("192.0.2.1"), door.hold("192.0.2.1") as second:
        assert not second


@pytest.mark.parametrize(
    ("end", "known"),
    [
        (("::ffff:192.0.2.1", 80, 0, 0), ("192.0.2.1", 80)),
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), ("2001:db8::1", 80)),
        (("::ffff:1", 80, 0, 0), ("::ffff:1", 80)),
        (("fe80::1%eth0", 80, 0, 2), ("fe80::1%eth0", 80)),
    ],
)
def test_an_ipv4_address_written_as_one_of_ipv6_is_itself(end: tuple[object, ...], known: tuple[str, int]) -> None:
    assert unmapped(end) == known
