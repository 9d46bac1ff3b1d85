"""Mixed versions N and N+1 on one store (G10)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Ask, Credential, Metadata, RateLimited, Record, Secret
from turnout import _store_edit as store_edit
from turnout._records import (
    MODEL_FIELDS,
    SECRET_FIELDS,
    STATE_FIELDS,
    decode_credential,
    encode_credential,
    encode_state,
)
from turnout._unknown_fields import NOTHING, unknown_fields
from turnout._values import CredentialState, ErrorRecord, ModelState, Quota, Status
from turnout.errors import UpstreamFailed
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_kernel

TOML = '[retry]\npasses = 1\n[providers.scripted]\nmodels = [{ name = "m" }]\n'
ANNA = Credential(id="anna", provider="scripted", metadata=Metadata({"access_token": "t"}))


def record(kind: str, data: bytes, version: int = 1) -> Record:
    return Record(kind=kind, id="anna", data=data, version=version)


def later(data: bytes, /, **fields: Any) -> bytes:
    """The record as a later version writes it."""
    return json.dumps({**json.loads(data), **fields}).encode()


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
names = st.text(max_size=8)


@given(st.dictionaries(names.filter(lambda name: name not in SECRET_FIELDS), json_values))
def test_what_a_later_version_added_to_a_credential_is_kept_and_read_over(added: dict[str, Any]) -> None:
    """G10."""
    written = later(encode_credential(ANNA), **added)
    assert decode_credential(written) == ANNA
    unknown = unknown_fields(record("secret", written))
    assert json.loads(unknown.kept_in(encode_credential(ANNA))) == json.loads(written)
    assert bool(unknown) is bool(added)


@given(st.binary(max_size=40) | st.sampled_from([b"[1]", b"{", b"[" * 100_000, b'{"model_states": 7}']))
def test_nothing_is_kept_of_what_is_damaged(data: bytes) -> None:
    for kind in ("secret", "state", "other"):
        if not unknown_fields(record(kind, data)):
            assert unknown_fields(record(kind, data)).kept_in(b"x") == b"x"


def test_the_fields_that_are_known_are_those_that_are_written() -> None:
    """G10: a field that is added to a record must be added to the table, or two nodes of one version would quarrel."""
    credential = Credential(
        id="a",
        provider="p",
        prefix="x",
        label="l",
        file_name="f",
        disabled=True,
        api_key=Secret("k"),
        proxy_url=Secret("http://h"),
        attributes={"a": "b"},
        metadata=Metadata({"m": 1}),
        created_at=1.0,
        updated_at=1.0,
        last_refreshed_at=1.0,
        next_refresh_after=1.0,
    )
    assert set(json.loads(encode_credential(credential))) == SECRET_FIELDS
    every: dict[str, Any] = {
        "status": Status.ERROR,
        "status_message": "m",
        "unavailable": True,
        "next_retry_after": 1.0,
        "last_error": ErrorRecord(code="c", message="m", retryable=True),
        "quota": Quota(exceeded=True),
        "updated_at": 1.0,
    }
    state = CredentialState(
        **every, models={"m": ModelState(**every)}, needs_login="why", refused="digest", reset_at=1.0
    )
    written = json.loads(encode_state(state))
    assert set(written) == STATE_FIELDS
    assert set(written["model_states"]["m"]) == MODEL_FIELDS


async def test_an_earlier_node_keeps_what_a_later_one_added_whatever_it_writes() -> None:
    """G10: a cooldown, an edit, and the success that ends the cooldown."""
    state = later(encode_state(CredentialState(models={"m": ModelState()})), weight_hint=[1, 2])
    fields = json.loads(state)
    fields["model_states"]["m"]["p95"] = 1.5
    store = MemoryStore(
        [
            record("secret", later(encode_credential(ANNA), team={"id": 7})),
            record("state", json.dumps(fields).encode()),
        ]
    )
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=500)))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="m"))
        await kernel.credentials.update(Credential(id="anna", provider="scripted", label="edited", metadata=Metadata()))
    secret, cooling = (json.loads(store.records[kind, "anna"].data) for kind in ("secret", "state"))
    assert (secret["label"], secret["team"]) == ("edited", {"id": 7})
    assert cooling["model_states"]["m"]["quota"]["exceeded"] is True
    assert (cooling["weight_hint"], cooling["model_states"]["m"]["p95"]) == ([1, 2], 1.5)

    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store) as kernel:
        kernel.credentials.reset("anna")
    fresh = json.loads(store.records["state", "anna"].data)
    assert fresh["weight_hint"] == [1, 2]
    assert not fresh["unavailable"]


async def test_a_command_of_an_earlier_version_keeps_it_as_well() -> None:
    """G10."""
    store = MemoryStore([record("secret", later(encode_credential(ANNA), team=7))])
    await store_edit.change(store, "anna", lambda one: one)

    assert json.loads(store.records["secret", "anna"].data)["team"] == 7
    assert unknown_fields(record("secret", encode_credential(ANNA))) is NOTHING
