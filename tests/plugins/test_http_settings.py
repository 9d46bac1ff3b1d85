"""Settings of the HTTP frontend: defaults by value, and what refuses the start."""

import errno
import re
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from turnout import Secret, parse_config
from turnout.errors import ConfigError, InvalidAsk
from turnout_http import ClientLimits, Http, Settings
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


def test_every_limit_address_and_key_that_is_refused_is_told_at_once() -> None:
    """H2."""
    with pytest.raises(ConfigError) as caught:
        parse_config(
            "[frontends.http]\n"
            'listen = ["127.0.0.1:0", "nowhere", "[::1]:1", "[::1]:1"]\n'
            'keys = ["short", "k7-Qd2mX9vLw4TzR8", ""]\n'
            "limits = {queue = -1, per_key = 0, requests = 1, connections = -1}\n"
        ).settings("frontends", "http", Settings)

    assert [problem.split(": ")[1].removeprefix("frontends.http.") for problem in caught.value.problems] == [
        "listen[1]",
        "listen[3]",
        "keys[0]",
        "keys[2]",
        "limits.queue",
        "limits.per_key",
        "limits.connections",
    ]


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


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Path]:
    """A certificate and its key, in the files of a server."""
    files = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_pem.write_to_path(files["tls_key"])
    for piece in issued.cert_chain_pems:
        piece.write_to_path(files["tls_certificate"], append=True)
    return files


def tls_problem(files: Mapping[str, Path]) -> str:
    """What a check of a configuration with these files says."""
    lines = [f'{name} = "{path}"' for name, path in files.items()]
    toml = "\n".join(["[frontends.http]", f'keys = ["{KEY.reveal()}"]', *lines])
    with pytest.raises(ConfigError) as caught:
        parse_config(toml).settings("frontends", "http", Settings)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("name", ["tls_certificate", "tls_key"])
def test_a_file_for_tls_that_cannot_be_read_is_named_before_anything_starts(pair: dict[str, Path], name: str) -> None:
    pair[name].unlink()

    assert f"frontends.http.{name}: this file cannot be read: No such file" in tls_problem(pair)


def test_files_for_tls_that_do_not_fit_are_refused_before_anything_starts(pair: dict[str, Path]) -> None:
    """Another's key, no certificate at all, and a key that would make the process ask for a password."""
    sound = pair["tls_key"].read_bytes()
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(pair["tls_key"])
    assert "frontends.http.tls_certificate: a PEM chain and its key are needed" in tls_problem(pair)

    locked = load_pem_private_key(sound, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    pair["tls_key"].write_bytes(locked)
    assert "the key is under a password" in tls_problem(pair)

    pair["tls_key"].write_bytes(sound)
    pair["tls_certificate"].write_text("no certificate", encoding="ascii")
    assert "cannot be used" in tls_problem(pair)


@pytest.mark.parametrize("limits", [{"per_key": 0}, {"body_bytes": -1}, {"write_stall": 0.0}])
def test_a_limit_below_its_least_names_itself(limits: dict[str, int]) -> None:
    with pytest.raises(InvalidAsk) as caught:
        ClientLimits(**limits)  # type: ignore[arg-type]  # a mapping of names to numbers

    assert caught.value.argument == f"limits.{next(iter(limits))}"


def test_a_port_in_use_is_named() -> None:
    with bind(parse_address("127.0.0.1:0"), write_stall=30) as taken:
        address = bound_address(taken)
        with pytest.raises(OSError, match=f"port {address.port} on 127.0.0.1 is in use"):
            bind(address, write_stall=30)


def test_a_patience_longer_than_the_system_can_count_is_as_long_as_that() -> None:
    """H2: what is fine to check is fine to serve with."""
    with bind(parse_address("127.0.0.1:0"), write_stall=1e10) as sock:
        assert bound_address(sock).port


def test_two_tables_with_one_address_are_refused_unless_the_system_picks_the_port() -> None:
    """H2."""
    settings = Settings(listen=("127.0.0.1:0", "localhost:8080", "[::1]:8080"), keys=(KEY,))

    assert Http.listens(settings) == ["127.0.0.1:8080", "[::1]:8080"]


def test_an_address_of_another_machine_is_refused_in_words() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0: this machine has no such address") as caught:
        bind(parse_address("192.0.2.1:0"), write_stall=30)

    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_an_address_that_is_listed_twice_names_its_place() -> None:
    with pytest.raises(InvalidAsk, match="listed twice") as caught:
        Settings(keys=(KEY,), listen=("localhost:8080", "[::1]:8080", "127.0.0.1:8080"))
    assert caught.value.argument == "listen[2]"

    assert len(Settings(keys=(KEY,), listen=("127.0.0.1:0", "127.0.0.1:0")).addresses) == 2
