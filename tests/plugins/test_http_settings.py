"""Settings of the HTTP frontend: defaults by value, and what refuses the start."""

import re

import attrs
import pytest

from turnout import Secret, parse_config
from turnout.errors import ConfigError, InvalidAsk
from turnout_http import ClientLimits, Settings
from turnout_http._addresses import bind, bound_address, parse_address
from turnout_http._key_rules import SAMPLES

KEY = Secret("k7-Qd2mX9vLw4TzR8")


def test_the_default_limits_are_those_of_the_acceptance_document() -> None:
    """Section 4, client side and admission."""
    assert attrs.asdict(ClientLimits()) == {
        "header_timeout": 10,
        "body_idle": 10,
        "body_rate": 1024,
        "body_total": 120,
        "write_stall": 30,
        "keep_alive": 15,
        "half_close": 5,
        "header_bytes": 16 * 1024,
        "header_fields": 100,
        "body_bytes": 32 * 1024 * 1024,
        "per_key": 64,
        "requests": 512,
        "queue": 128,
        "queue_wait": 5,
        "connections": 1024,
        "per_address": 64,
        "sockets_per_key": 64,
        "socket_life": 3600,
        "socket_ping": 20,
    }
    assert float(Settings(keys=(KEY,)).drain_grace) == 10


def test_by_default_only_this_machine_can_reach_it() -> None:
    """S30."""
    assert all(address.loopback for address in Settings(keys=(KEY,)).addresses)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:8080"])
def test_an_address_that_others_reach_needs_tls_or_a_word_that_it_is_meant(address: str) -> None:
    """S30."""
    with pytest.raises(InvalidAsk, match="insecure_lan") as caught:
        Settings(keys=(KEY,), listen=("127.0.0.1:0", address))

    assert caught.value.argument == "listen[1]"
    assert Settings(keys=(KEY,), listen=(address,), insecure_lan=True).addresses


@pytest.mark.parametrize(
    "key", ["", "   ", "k9-Wz", "a" * 40, "x y z 1 2 3 4 5 6 7 8", "ключ-ключ-ключ-ключ", *SAMPLES]
)
def test_a_key_that_guards_nothing_refuses_the_start_and_is_not_shown(key: str) -> None:
    """S9, S32."""
    text = key + "-0123456789abcdef" if key in SAMPLES else key

    with pytest.raises(InvalidAsk) as caught:
        Settings(keys=(KEY, Secret(text)))

    assert caught.value.argument == "keys[1]"
    assert not text.strip() or text not in str(caught.value)


def test_no_key_at_all_refuses_the_start() -> None:
    """S9."""
    with pytest.raises(InvalidAsk, match="TURNOUT_KEY"):
        Settings(keys=())


@pytest.mark.parametrize(
    "text", ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:80", "example.org:80", ":80"]
)
def test_an_address_that_cannot_be_one_says_how_to_write_it(text: str) -> None:
    toml = f'[frontends.http]\nlisten = ["localhost:0", "{text}"]\nkeys = ["{KEY.reveal()}"]'
    with pytest.raises(ConfigError) as caught:
        parse_config(toml).settings("frontends", "http", Settings)

    (problem,) = caught.value.problems
    assert problem.startswith("turnout.toml:2:26: frontends.http.listen[1]: ")
    assert re.search(r"localhost:8080|IP address or|brackets", problem)
    assert f'"{text}"' in problem, "the place shows it"


def test_tls_needs_both_of_its_files() -> None:
    with pytest.raises(InvalidAsk, match="tls_key is missing"):
        Settings(keys=(KEY,), tls_certificate="/tmp/cert.pem")  # noqa: S108  # never opened


@pytest.mark.parametrize("limits", [{"per_key": 0}, {"body_bytes": -1}, {"write_stall": 0.0}])
def test_a_limit_below_its_least_names_itself(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidAsk) as caught:
        ClientLimits(**limits)  # type: ignore[arg-type]  # a mapping of names to numbers

    assert caught.value.argument == f"limits.{next(iter(limits))}"


def test_a_port_in_use_is_named() -> None:
    with bind(parse_address("127.0.0.1:0"), write_stall=30) as taken:
        address = bound_address(taken)
        with pytest.raises(ConfigError, match=f"port {address.port} on 127.0.0.1 is in use"):
            bind(address, write_stall=30)
