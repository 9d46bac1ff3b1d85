import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout._ledger import Policy, record
from turnout._records import clamped, decode_credential, decode_state, encode_credential, encode_state
from turnout._values import (
    CLEAN,
    Credential,
    CredentialState,
    ErrorRecord,
    Metadata,
    ModelState,
    Outcome,
    Quota,
    Secret,
    Status,
)
from turnout._verdicts import RateLimited

NOW = 1_800_000_000.0

FULL = Credential(
    id="anna",
    provider="openai",
    api_key=Secret("sk-canary"),
    prefix="team",
    label="Anna's",
    file_name="anna.json",
    proxy_url=Secret("http://u:p@proxy"),
    disabled=True,
    attributes={"priority": "3"},
    metadata=Metadata({"email": "a@b", "token": {"access_token": "at", "expires_at": 5}, "n": [1, None, True]}),
    created_at=1.5,
    updated_at=2.5,
    last_refreshed_at=3.5,
    next_refresh_after=4.5,
)


def revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


@pytest.mark.parametrize(
    "credential",
    [
        FULL,
        Credential(id="b", provider="p"),
        Credential(id="c", provider="p", metadata=Metadata()),
        Credential(id="ü\x00\ud800", provider="p", api_key=Secret("")),
    ],
)
def test_a_credential_comes_back_as_it_was(credential: Credential) -> None:
    """C1.1: an empty metadata map is not the same as none (C3.7)."""
    back = decode_credential(encode_credential(credential))

    assert back == credential or not credential.api_key
    assert (back.metadata is None) is (credential.metadata is None)
    assert revealed(back.proxy_url) == revealed(credential.proxy_url)


def test_the_secret_record_uses_the_wire_names_and_leaves_out_what_is_empty() -> None:
    """C1.1: no index, no origin, no runtime object."""
    full, bare = json.loads(encode_credential(FULL)), json.loads(encode_credential(Credential(id="b", provider="p")))

    assert full["api_key"] == "sk-canary"
    assert set(full) == {
        *("id", "provider", "prefix", "label", "file_name", "disabled", "api_key", "proxy_url", "attributes"),
        *("metadata", "created_at", "updated_at", "last_refreshed_at", "next_refresh_after"),
    }
    assert bare == {"id": "b", "provider": "p", "disabled": False}


def test_metadata_that_is_not_json_is_refused_without_quoting_it() -> None:
    for value in (object(), float("nan"), {1, 2}, b"canary"):
        with pytest.raises(ValueError, match="credential 'a' cannot be kept as JSON") as caught:
            encode_credential(Credential(id="a", provider="p", metadata=Metadata({"x": value})))
        assert "canary" not in str(caught.value)


STATE = CredentialState(
    status=Status.ERROR,
    status_message="slow",
    unavailable=True,
    next_retry_after=NOW + 5.25,
    last_error=ErrorRecord(code="rate_limited", message="slow", retryable=True),
    quota=Quota(exceeded=True, reason="quota", next_recover_at=NOW + 5.25, backoff_level=3),
    models={
        "m": ModelState(status=Status.ERROR, unavailable=True, next_retry_after=NOW + 5.25, updated_at=NOW),
        "off": ModelState(status=Status.DISABLED),
    },
    updated_at=NOW,
    needs_login="revoked",
    reset_at=NOW - 60.0,
)


@pytest.mark.parametrize("state", [CLEAN, STATE])
def test_a_state_comes_back_as_it_was(state: CredentialState) -> None:
    """O18, D5: cooldowns survive a restart."""
    assert decode_state(encode_state(state)) == state
    assert decode_state(encode_state(state), NOW) == state


def test_the_state_record_uses_the_wire_names() -> None:
    """C1.1 to C1.4."""
    fields = json.loads(encode_state(STATE))

    assert set(fields) == {
        *("status", "status_message", "unavailable", "next_retry_after", "last_error", "quota", "updated_at"),
        *("model_states", "needs_login", "reset_at"),
    }
    assert fields["quota"] == {"exceeded": True, "reason": "quota", "next_recover_at": NOW + 5.25, "backoff_level": 3}
    assert fields["last_error"] == {"code": "rate_limited", "message": "slow", "retryable": True}
    assert fields["model_states"]["off"] == {"status": "disabled", "unavailable": False}


def test_a_state_record_shares_nothing_with_a_secret_record() -> None:
    """E12, O18: writing a cooldown can touch neither a token nor the operator's flag."""
    secret, state = json.loads(encode_credential(FULL)), json.loads(encode_state(STATE))

    assert set(secret) & set(state) == {"updated_at"}


def test_times_from_the_future_are_brought_back() -> None:
    """K3: a clock that was a year ahead benches nobody for a year."""
    limited = record(
        CLEAN,
        Outcome(credential="a", provider="p", model="m", verdict=RateLimited(retry_after=600)),
        NOW + 365 * 86_400,
        Policy(),
    ).state
    state = decode_state(encode_state(limited), NOW)

    assert state.models["m"].next_retry_after == state.models["m"].quota.next_recover_at == NOW + 86_400
    assert state.next_retry_after == state.quota.next_recover_at == NOW + 86_400
    assert state.updated_at == state.models["m"].updated_at == NOW
    assert decode_state(encode_state(attrs.evolve(limited, reset_at=NOW + 600.0)), NOW).reset_at == NOW


def test_a_state_without_times_from_the_future_is_left_alone() -> None:
    """K3: so that a caller can tell, and log it. Blocks of twelve hours outlive a low cap."""
    assert clamped(STATE, NOW) is STATE
    assert clamped(STATE, NOW, cap=1) is STATE
    assert clamped(CLEAN, NOW) is CLEAN


def test_unknown_fields_are_ignored() -> None:
    assert decode_state(b'{"colour": "blue", "model_states": {"m": {"shape": 3}}}').models == {"m": ModelState()}
    assert decode_credential(b'{"id": "a", "provider": "p", "colour": 1}') == Credential(id="a", provider="p")


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "line 1 column 1"),
        (b'{"status": "err', "line 1 column 12"),
        (b"\xff", "byte 0"),
        (b"[]", "the record should be an object, not list"),
        (b'{"status": 3}', "status should be a text"),
        (b'{"status": "broken"}', "status should be one of unknown, active"),
        (b'{"unavailable": "no"}', "unavailable should be true or false"),
        (b'{"next_retry_after": "soon"}', "next_retry_after should be a time"),
        (b'{"next_retry_after": true}', "next_retry_after should be a time"),
        (b'{"next_retry_after": 1e999}', "next_retry_after is no time"),
        (b'{"next_retry_after": NaN}', "NaN"),
        (b'{"quota": {"backoff_level": 1.5}}', "quota.backoff_level should be a whole number"),
        (b'{"model_states": {"m": 1}}', "model_states.m should be an object"),
        (b'{"model_states": {"m": {"last_error": []}}}', "model_states.m.last_error should be an object"),
        (b'{"model_states": {"m": {"quota": {"exceeded": 1}}}}', "model_states.m.quota.exceeded should be true"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"quota": {"backoff_level": ' + b"9" * 5000 + b"}}", "digits"),
    ],
)
def test_a_damaged_state_says_where(data: bytes, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        decode_state(data)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"id": None}, "id is missing"),
        ({"provider": 3}, "provider should be a text"),
        ({"id": " "}, "id must be a non-blank text"),
        ({"attributes": {"a": 1}}, "attributes.a should be a text"),
        ({"metadata": []}, "metadata should be an object"),
        ({"api_key": 5}, "api_key should be a text, not int"),
        ({"created_at": "x"}, "created_at"),
    ],
)
def test_a_damaged_credential_says_where_and_shows_no_secret(change: dict[str, Any], where: str) -> None:
    fields = {**json.loads(encode_credential(FULL)), **change}
    with pytest.raises(ValueError, match=where) as caught:
        decode_credential(json.dumps(fields).encode())
    assert "canary" not in str(caught.value)


@given(
    st.binary() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_no_damage_raises_anything_but_a_value_error(data: bytes) -> None:
    for decode in (decode_state, decode_credential):
        try:
            decode(data)
        except ValueError:
            continue


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_gives_a_sound_state(at: int, byte: int) -> None:
    data = bytearray(encode_state(STATE))
    data[at % len(data)] = byte
    try:
        state = decode_state(bytes(data), NOW)
    except ValueError:
        return
    assert state.next_retry_after is None or state.next_retry_after <= NOW + 86_400
