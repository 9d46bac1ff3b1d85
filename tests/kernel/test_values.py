from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import (
    Ask,
    Call,
    Chunk,
    Credential,
    CredentialState,
    Done,
    ErrorRecord,
    Metadata,
    ModelState,
    Operation,
    Outcome,
    Quota,
    Reply,
    Secret,
    Status,
)
from turnout._quick import quick
from turnout._values import CLEAN, NO_QUOTA
from turnout.errors import InvalidAsk


def test_a_model_state_begins_active_and_clean() -> None:
    """C1.2, C1.3."""
    assert ModelState() == ModelState(
        status=Status.ACTIVE,
        status_message="",
        unavailable=False,
        next_retry_after=None,
        last_error=None,
        quota=Quota(exceeded=False, reason="", next_recover_at=None, backoff_level=0),
        updated_at=None,
    )


def test_a_clean_credential_state_knows_nothing_bad() -> None:
    """C1.1, C1.3."""
    assert CredentialState() == CLEAN
    assert CLEAN.quota is NO_QUOTA
    assert not CLEAN.models


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (ErrorRecord(code="rate_limited", message="slow down"), "rate_limited: slow down"),
        (ErrorRecord(message="slow down"), "slow down"),
        (ErrorRecord(), ""),
    ],
)
def test_an_error_record_shows_its_code_before_its_message(record: ErrorRecord, text: str) -> None:
    """C1.4."""
    assert str(record) == text


def test_the_status_values_are_six() -> None:
    """C1.5."""
    assert [status.value for status in Status] == ["unknown", "active", "pending", "refreshing", "error", "disabled"]


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Credential)])
def test_a_credential_is_a_snapshot_that_nobody_can_change(field: str) -> None:
    """C1.6.1, O26: so that what is handed out needs no copy."""
    credential = Credential(id="c1", provider="openai")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(credential, field, None)


def test_a_credential_keeps_no_hold_on_the_mappings_it_was_made_of() -> None:
    """C1.6.1, C1.6.2: one level deep, as the contract's copies are."""
    attributes, metadata = {"priority": "1"}, {"email": "a@b.c"}
    credential = Credential(id="c1", provider="openai", attributes=attributes, metadata=Metadata(metadata))
    attributes["priority"] = "2"
    metadata["email"] = "x@y.z"

    assert credential.attributes["priority"] == "1"
    assert credential.metadata is not None
    assert credential.metadata["email"] == "a@b.c"
    with pytest.raises(TypeError):
        credential.attributes["priority"] = "3"  # type: ignore[index]  # read-only
    with pytest.raises(TypeError):
        credential.metadata["email"] = "3"  # type: ignore[index]  # read-only


def test_the_states_of_models_are_a_snapshot_too() -> None:
    """C1.6.1, C1.6.2."""
    models = {"m": ModelState()}
    state = CredentialState(models=models)
    models.clear()

    assert state.models == {"m": ModelState()}
    with pytest.raises(TypeError):
        state.models["n"] = ModelState()  # type: ignore[index]  # read-only


def test_a_new_snapshot_leaves_the_old_one_alone() -> None:
    """C1.6, O26: and shares what did not change."""
    runtime = object()
    before = Credential(id="c1", provider="openai", runtime=runtime, attributes={"priority": "1"})
    after = attrs.evolve(before, disabled=True)

    assert not before.disabled
    assert after.runtime is runtime
    assert after.attributes is before.attributes


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (Quota, {"exceeded": True, "backoff_level": 3}),
        (ModelState, {"unavailable": True, "updated_at": 4.0}),
        (CredentialState, {"models": MappingProxyType({"m": ModelState()}), "needs_login": "why"}),
        (Outcome, {"credential": "a", "provider": "p", "model": "m", "verdict": Done()}),
    ],
)
def test_a_value_that_is_built_quickly_is_the_same_and_as_frozen(cls: type[Any], values: dict[str, Any]) -> None:
    built = quick(cls)(**values)

    assert type(built) is cls
    assert built == cls(**values)
    assert repr(built) == repr(cls(**values))
    assert attrs.evolve(built) == built
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(built, next(iter(values)), None)


def test_building_quickly_takes_the_same_arguments_and_no_others() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        quick(Quota)(level=1)  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TypeError, match="missing"):
        quick(Outcome)(model="m")  # type: ignore[call-arg]  # likewise


@pytest.mark.parametrize("field", ["id", "provider"])
@pytest.mark.parametrize("value", ["  ", None, 7], ids=repr)
def test_a_credential_with_a_blank_id_or_provider_is_refused(field: str, value: Any) -> None:
    """C1.1: and the refusal names the argument."""
    with pytest.raises(InvalidAsk, match=f"Credential.{field}") as caught:
        Credential(**{"id": "c1", "provider": "openai", field: value})

    assert caught.value.argument == field


@pytest.mark.parametrize("value", [None, 7, "text", ["text"], [("a", "b")]], ids=repr)
def test_attributes_and_metadata_are_made_of_mappings_only(value: Any) -> None:
    """C1.1: and the refusal names the argument."""
    with pytest.raises(InvalidAsk, match=r"Credential\.attributes") as attributes:
        Credential(id="c1", provider="openai", attributes=value)
    with pytest.raises(InvalidAsk, match="Metadata") as metadata:
        Metadata(value)

    assert (attributes.value.argument, metadata.value.argument) == ("attributes", "items")


def test_a_credential_may_wait_for_its_id_but_not_for_its_provider() -> None:
    """C1.1, C3.2."""
    assert Credential(id="", provider="openai").id == ""
    with pytest.raises(InvalidAsk, match=r"Credential\.provider"):
        Credential(id="c1", provider="")


def test_a_provider_key_is_trimmed_and_lower_case() -> None:
    """C5.1, O24: one derivation of the provider everywhere."""
    assert Credential(id="c1", provider=" OpenAI ").provider == "openai"


def test_an_ask_carries_the_contracts_options_as_fields() -> None:
    """C1.19: pin, affinity key and session are fields of their own; the caller's metadata is never written to."""
    ask = Ask(model="m", pin="c1", affinity="client", session="s1", metadata={"trace": 1})

    assert (ask.model, ask.pin, ask.affinity, ask.session) == ("m", "c1", "client", "s1")
    assert ask.operation is Operation.GENERATE
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ask.pin = "c2"  # type: ignore[misc]  # frozen


@given(st.binary(), st.dictionaries(st.text(), st.text()))
def test_payload_and_headers_pass_through_unread(payload: bytes, headers: dict[str, str]) -> None:
    """C1.18.1, C1.18.2: whatever the bytes are, the same object reaches the provider."""
    ask = Ask(model="m", payload=payload, headers=headers, metadata={"any": object()})
    call = Call(ask=ask, credential=Credential(id="c1", provider="openai"), model="up")

    assert call.ask.payload is payload
    assert call.ask.headers is headers
    assert Reply(body=payload).body is payload
    assert Chunk(payload) == (payload, True)


def test_no_value_shows_what_clients_and_upstreams_said() -> None:
    """C14, S40: prompts, answers and headers are not in any text of a value."""
    canary = "canary-prompt"
    ask = Ask(model="m", payload=canary.encode(), headers={"x": canary}, metadata={"y": canary}, affinity=canary)
    call = Call(ask=ask, credential=Credential(id="c1", provider="openai", api_key=Secret(canary)), model="up")

    for value in (ask, call, Reply(body=canary.encode(), headers={"x": canary})):
        assert canary not in repr(value)
