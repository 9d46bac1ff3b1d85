"""C5.12 and C6: why nobody can be picked, and until when."""

from typing import Any

import pytest

from turnout import Credential, CredentialState, Metadata, ModelState, Quota, Status
from turnout._schedule import Schedule
from turnout._values import CLEAN
from turnout.errors import CoolingDown, NoCredential, PoolError, Unavailable

NOW = 1000.0
OFF = CredentialState(models={"m": ModelState(status=Status.DISABLED)})


def limited(until: float) -> CredentialState:
    quota = Quota(exceeded=True, reason="quota", next_recover_at=until)
    state = ModelState(status=Status.ERROR, unavailable=True, next_retry_after=until, quota=quota)
    return CredentialState(models={"m": state})


def failed(until: float) -> CredentialState:
    state = ModelState(status=Status.ERROR, unavailable=True, next_retry_after=until)
    return CredentialState(models={"m": state})


def schedule(**states: CredentialState) -> Schedule:
    """One credential per name; those whose name begins with q are of the provider `q`, and all others of `p`."""
    made = Schedule()
    for id, state in states.items():
        provider = "q" if id.startswith("q") else "p"
        made.upsert(Credential(id=id, provider=provider, origin=f"https://{id[-1]}:443"), state, {"m": ("m",)}, NOW)
    return made


@pytest.mark.parametrize(
    ("states", "kind", "until"),
    [
        ({}, NoCredential, None),
        ({"a": limited(NOW + 9)}, CoolingDown, NOW + 9),
        ({"a": limited(NOW + 9), "b": limited(NOW + 5)}, CoolingDown, NOW + 5),
        ({"a": limited(NOW + 9), "b": failed(NOW + 5)}, CoolingDown, NOW + 5),
        ({"a": limited(NOW + 5), "b": failed(NOW + 9)}, CoolingDown, NOW + 5),
        ({"a": failed(NOW + 9), "b": failed(NOW + 5)}, Unavailable, NOW + 5),
        ({"a": OFF}, Unavailable, None),
        ({"a": OFF, "b": failed(NOW + 5)}, Unavailable, NOW + 5),
        ({"a": OFF, "b": limited(NOW + 5)}, Unavailable, NOW + 5),
        ({"a": CLEAN}, Unavailable, None),
        ({"a": CLEAN, "b": limited(NOW + 5)}, Unavailable, NOW + 5),
    ],
)
def test_the_error_follows_from_what_everybody_waits_for(
    states: dict[str, CredentialState], kind: type[PoolError], until: float | None
) -> None:
    """C5.12 with O15: a time whenever there is one, and 429 only where a rate limit is among the reasons."""
    error = schedule(**states).why_not(("p",), "m", NOW, model="m")

    assert (type(error), error.until) == (kind, until)


def test_each_kind_has_a_code_of_its_own() -> None:
    """C6.1, O16"""
    made = schedule(a=limited(NOW + 5), q=failed(NOW + 5))

    assert made.why_not(("p",), "m", NOW, model="m").code == "model_cooldown"
    assert made.why_not(("q",), "m", NOW, model="m").code == "auth_unavailable"
    assert made.why_not(("r",), "m", NOW, model="m").code == "auth_not_found"


def test_both_plain_errors_say_that_no_auth_is_available() -> None:
    """C5.12, C6.1"""
    made = schedule(a=failed(NOW + 5))

    assert str(made.why_not(("p",), "m", NOW, model="m")) == "no auth available"
    assert str(made.why_not(("p",), "unknown", NOW, model="unknown")) == "no auth available"


def test_no_provider_at_all_is_said() -> None:
    """C5.10.1, C6.1"""
    error = schedule(a=CLEAN).why_not(("", "  "), "m", NOW, model="m")

    assert isinstance(error, NoCredential)
    assert str(error) == "no provider supplied"


@pytest.mark.parametrize(
    ("providers", "provider", "text"),
    [
        (("p",), "p", "All credentials for model m(high) are cooling down via provider p"),
        ((" P ", "p"), "p", "All credentials for model m(high) are cooling down via provider p"),
        (("p", "q"), None, "All credentials for model m(high) are cooling down"),
    ],
)
def test_the_provider_is_named_when_exactly_one_is_involved(
    providers: tuple[str, ...], provider: str | None, text: str
) -> None:
    """C5.9.4, C6.2.3, O8; the model is the requested name with its suffix (C6.2.2)."""
    error = schedule(a=limited(NOW + 5), q=limited(NOW + 3)).why_not(providers, "m", NOW, model="m(high)")

    assert isinstance(error, CoolingDown)
    assert (error.provider, error.model, str(error)) == (provider, "m(high)", text)
    assert error.until == NOW + (5 if provider else 3)


def test_all_listed_providers_count_together() -> None:
    """C5.12, C5.10.6"""
    made = schedule(a=failed(NOW + 5), q=limited(NOW + 9))

    assert isinstance(made.why_not(("p", "q"), "m", NOW, model="m"), CoolingDown)
    assert made.why_not(("p", "q"), "m", NOW, model="m").until == NOW + 5


def test_only_those_that_pass_count() -> None:
    """C5.12: tried ones and skipped origins are not among the candidates."""
    made = schedule(a=limited(NOW + 5), b=failed(NOW + 9), c=CLEAN)

    error = made.why_not(("p",), "m", NOW, model="m", tried={"a", "c"})
    assert (type(error), error.until) == (Unavailable, NOW + 9)
    error = made.why_not(("p",), "m", NOW, model="m", tried={"c"}, skip_origins={"https://b:443"})
    assert (type(error), error.until) == (CoolingDown, NOW + 5)
    error = made.why_not(("p",), "m", NOW, model="m", tried={"a", "b", "c"})
    assert type(error) is NoCredential


@pytest.mark.parametrize(
    ("pin", "kind", "until"),
    [
        ("unknown", NoCredential, None),
        ("q", NoCredential, None),
        ("tried", NoCredential, None),
        ("silent", NoCredential, None),
        ("disabled", NoCredential, None),
        ("a", CoolingDown, NOW + 5),
        ("b", Unavailable, NOW + 9),
        ("off", Unavailable, None),
    ],
)
def test_a_pin_gives_the_error_of_that_one(pin: str, kind: type[PoolError], until: float | None) -> None:
    """C5.10.2, C5.11"""
    made = schedule(a=limited(NOW + 5), b=failed(NOW + 9), off=OFF, tried=limited(NOW + 5), q=CLEAN, z=CLEAN)
    made.upsert(Credential(id="silent", provider="p"), CLEAN, {}, NOW)
    made.upsert(Credential(id="disabled", provider="p", disabled=True), CLEAN, {"m": ("m",)}, NOW)
    error = made.why_not(("p",), "m", NOW, model="m", pin=pin, tried={"tried"})

    assert (type(error), error.until) == (kind, until)


def test_the_same_question_gets_the_same_answer() -> None:
    """Errors are stable: asking changes nothing (O11)."""
    made = schedule(a=limited(NOW + 5), b=limited(NOW + 9), q=failed(NOW + 1))
    first = [str(made.why_not(("p", "q"), "m", NOW, model="m")) for _ in range(3)]
    times = [made.why_not(("p", "q"), "m", NOW + later, model="m").until for later in (0, 0.5, 1, 5, 6)]

    assert len(set(first)) == 1
    assert times == [NOW + 1, NOW + 1, NOW + 5, NOW + 9, NOW + 9]


def test_the_soonest_recovery_is_one_that_the_next_pass_could_use() -> None:
    """O39 against C8.5.1: never of a credential that serves other models, other providers, or is not the pinned one."""
    made = schedule(a=limited(NOW + 9), b=failed(NOW + 7), q=failed(NOW + 1), ready=CLEAN)
    made.upsert(Credential(id="silent", provider="p"), failed(NOW + 2), {"n": ("n",)}, NOW)

    assert made.soonest(("p",), "m", NOW) == NOW + 7
    assert made.soonest(("p", "q"), "m", NOW) == NOW + 1
    assert made.soonest(("p",), "m", NOW, tried={"b"}) == NOW + 9
    assert made.soonest(("p", "q"), "m", NOW, pin="a") == NOW + 9
    assert made.soonest(("p",), "m", NOW, pin="silent") is None
    assert made.soonest(("p",), "m", NOW, pin="ready") is None
    assert made.soonest(("p",), "unknown", NOW) is None
    assert made.soonest(("p",), "m", NOW + 7) == NOW + 9
    assert made.soonest(("p",), "m", NOW + 9) is None


def test_times_are_told_exactly_and_rounded_by_nobody() -> None:
    """O51: rounding up is left to whoever writes the answer."""
    error = schedule(a=limited(NOW + 1.2)).why_not(("p",), "m", NOW, model="m")

    assert error.until == NOW + 1.2


def test_a_wait_counts_only_for_credentials_that_may_be_retried() -> None:
    """C8.5.4, C1.11: by the count of each, whichever replaces whichever."""
    made = Schedule()
    for id, own, until in (("a", 0, 1), ("b", None, 3), ("c", 5, 6), ("d", 9, 8)):
        metadata = None if own is None else Metadata({"request_retry": own})
        state = CredentialState(models={"m": ModelState(unavailable=True, next_retry_after=NOW + until)})
        made.upsert(Credential(id=id, provider="p", metadata=metadata), state, {"m": ("m",)}, NOW)

    def soonest(limit: int, everybody: int, **others: Any) -> float | None:
        def may_retry(own: int | None) -> bool:
            return (everybody if own is None else own) > limit

        return made.soonest(("p",), "m", NOW, may_retry=may_retry, **others)

    assert [soonest(limit, 3) for limit in (-1, 0, 3, 5, 9)] == [NOW + 1, NOW + 3, NOW + 6, NOW + 8, None]
    assert (soonest(3, 3, pin="d"), soonest(3, 3, pin="b"), soonest(3, 3, tried={"c"})) == (NOW + 8, None, NOW + 8)
    made.remove("c")
    made.upsert(Credential(id="d", provider="p"), CredentialState(), {"m": ("m",)}, NOW)
    assert soonest(3, 3) is None
