"""What outcomes do: to states, to the schedule, to listings, to the store and to observers (C10)."""

import pytest

from turnout import Ask, CountUnsupported, Credential, Done, Failed, Metadata, RateLimited, Status, Transient
from turnout._events import CredentialUpdated, OutcomeRecorded
from turnout.errors import CoolingDown, Unavailable, UpstreamFailed
from turnout.testing import (
    Count,
    Disable,
    Enable,
    Execute,
    Inspect,
    Models,
    Pick,
    RecordOutcome,
    Report,
    Reset,
    Scenario,
    Script,
    Step,
    Stream,
    Wait,
)
from turnout_wire.testing import outcome

LETTER = '[health]\nkeep_last = false\nhalf_open = false\nblame_routes = false\n[retry]\nmax_wait = "0s"\npasses = 2\n'
CONFIG = f"""{LETTER}
[providers.p]
models = [{{ name = "m" }}, {{ name = "n" }}]
credentials = [{{ name = "a", api_key = "key-of-a-0123456789" }}]
"""
START = 1_800_000_000.0
MINUTE, HOUR = 60.0, 3600.0
SPENT = '{"error":{"code":"insufficient_quota"}}'


def after(status: int, text: str = "", headers: dict[str, str] | None = None, config: str = CONFIG) -> Report:
    """What is left by one call that the wire answers so."""
    return Scenario(
        config=config, scripts={"a": [outcome(status, text, headers or {})]}, steps=[Execute("m"), Inspect("a")]
    ).run()


TABLE = [
    (400, "model_not_supported", 12 * HOUR, "model_not_supported"),
    (422, "Unsupported Model", 12 * HOUR, "model_not_supported"),
    (401, "", 30 * MINUTE, "unauthorized"),
    (402, "", 30 * MINUTE, "payment_required"),
    (403, "", 30 * MINUTE, "payment_required"),
    (429, SPENT, 30 * MINUTE, "payment_required"),
    (404, "", 12 * HOUR, "not_found"),
    (429, "", 1.0, "rate_limited"),
    (408, "", MINUTE, "upstream_error"),
    (500, "", MINUTE, "upstream_error"),
    (501, "", MINUTE, "upstream_error"),
    (502, "", MINUTE, "upstream_error"),
    (503, "", MINUTE, "upstream_error"),
    (503, "overloaded", MINUTE, "overloaded"),
    (504, "", MINUTE, "upstream_error"),
    (520, "", MINUTE, "upstream_error"),
    (529, "", MINUTE, "overloaded"),
    (302, "", MINUTE, "upstream_protocol"),
    (400, "no idea", None, "upstream_error"),
    (418, "", None, "upstream_error"),
]


@pytest.mark.parametrize(("status", "text", "blocked", "code"), TABLE)
def test_a_failure_of_a_model_blocks_it_by_the_table(status: int, text: str, blocked: float | None, code: str) -> None:
    """C10.4 with O45, B24, D5: from the wire to the state, the credential's own record included."""
    report = after(status, text)
    state = report.states["a"].models["m"]
    assert (state.status, state.unavailable) == (Status.ERROR, True)
    assert state.next_retry_after == (None if blocked is None else START + blocked)
    assert state.last_error is not None
    assert state.last_error.code == code
    assert report.states["a"].status is Status.ERROR
    assert report.states["a"].last_error == state.last_error
    assert state.quota.exceeded is (code == "rate_limited")


@pytest.mark.parametrize(("status", "text", "blocked", "code"), TABLE)
def test_a_block_ends_exactly_at_its_time(status: int, text: str, blocked: float | None, code: str) -> None:
    """C4.6, C10.4: a moment before nobody is picked, at the time somebody is; another model never notices."""
    script = outcome(status, text)
    wait = (blocked or 0.0) - 0.5
    steps = [Execute("m"), Pick("n"), *([Wait(wait), Pick("m"), Wait(0.5)] if blocked else []), Pick("m")]
    report = Scenario(config=CONFIG, scripts={"a": [script]}, steps=steps).run()
    assert report.values[1] == "a"
    assert report.values[-1] == "a"
    if blocked:
        expected = CoolingDown if code == "rate_limited" else Unavailable
        assert isinstance(report.errors[3], expected)
        assert report.errors[3].until == START + blocked


HARMLESS = [(400, '{"error":{"type":"invalid_request_error"}}'), (422, ""), (413, "")]


@pytest.mark.parametrize(("status", "text"), HARMLESS)
def test_the_clients_own_mistake_leaves_the_state_alone(status: int, text: str) -> None:
    """O44, D8, B27: but it is told (C10.2)."""
    report = after(status, text)
    state = report.states["a"]
    assert (state.status, state.last_error, dict(state.models)) == (Status.ACTIVE, None, {})
    assert len(report.outcomes) == 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_provider_without_counting_is_not_benched_for_it(status: int) -> None:
    """O41, C8.6, D8."""
    from_wire = Ask(model="m").operation.COUNT
    script = outcome(status, operation=from_wire)
    assert isinstance(script, CountUnsupported)
    report = Scenario(config=CONFIG, scripts={"a": [script]}, steps=[Count("m"), Execute("m")]).run()
    assert isinstance(report.errors[0], UpstreamFailed)
    assert report.errors[1] is None
    assert not report.states["a"].models


@pytest.mark.parametrize(
    ("status", "hint", "blocked"),
    [
        (429, "20", 20.0),
        (429, "0", 1.0),
        (429, "-7", 1.0),
        (429, "99999999", 24 * HOUR),
        (429, "soon", 1.0),
        (408, "20", 20.0),
        (500, "20", 20.0),
        (503, "0", 1.0),
        (529, "7", 7.0),
    ],
)
def test_what_the_upstream_asks_for_counts_between_a_floor_and_a_cap(status: int, hint: str, blocked: float) -> None:
    """C10.6 with O46, B25, D5: also for 408 and every 5xx; a hint that is no number is none."""
    report = after(status, headers={"retry-after": hint})
    assert report.states["a"].models["m"].next_retry_after == START + blocked


def test_rate_limits_without_a_hint_double_up_to_half_an_hour() -> None:
    """C10.6, C18, D5: 1, 2, 4 … 1024, 1800, 1800; the level stops at 11."""
    steps: list[Step] = []
    for level in range(14):
        steps += [RecordOutcome("a", RateLimited(), "m"), Inspect("a"), Wait(min(2.0**level, 1800.0))]
    report = Scenario(config=CONFIG, steps=steps).run()
    states = [seen.state.models["m"] for seen in report.values[1::3]]
    pauses = [
        (state.next_retry_after or 0) - START - result.began
        for state, result in zip(states, report.results[1::3], strict=True)
    ]
    assert pauses == [*(2.0**level for level in range(11)), 1800.0, 1800.0, 1800.0]
    assert states[-1].quota.backoff_level == 11


@pytest.mark.parametrize(
    ("between", "pause"),
    [
        ([], 16.0),
        ([RecordOutcome("a", RateLimited(retry_after=5), "m")], 16.0),
        ([RecordOutcome("a", Done(), "m")], 1.0),
        ([RecordOutcome("a", Transient(), "m")], 16.0),
        ([Wait(3500)], 16.0),
        ([Wait(3700)], 1.0),
    ],
    ids=["at once", "a hint", "a success", "another failure", "an hour, almost", "more than an hour"],
)
def test_the_level_is_lowered_by_a_success_or_a_quiet_hour_only(between: list[Step], pause: float) -> None:
    """C10.6 with O47: a hint leaves it."""
    limited = RecordOutcome("a", RateLimited(), "m")
    report = Scenario(config=CONFIG, steps=[limited] * 4 + between + [limited, Inspect("a")]).run()
    last = report.results[-1]
    assert (last.value.state.models["m"].next_retry_after or 0) - START - last.began == pause


COOLING_OFF = [
    (429, None, None),
    (429, "20", 20.0),
    (500, None, None),
    (500, "20", 20.0),
    (401, None, 30 * MINUTE),
    (404, None, 12 * HOUR),
]


@pytest.mark.parametrize(("status", "hint", "blocked"), COOLING_OFF)
@pytest.mark.parametrize("where", ["everywhere", "here", "not here"])
def test_cooling_can_be_switched_off(status: int, hint: str | None, blocked: float | None, where: str) -> None:
    """C3.8, C10.6, C1.11: for all or for one; hints and the fixed blocks stay, and so does the mark of the quota."""
    config = CONFIG.replace(
        "blame_routes = false\n", f"blame_routes = false\ncooling = {str(where != 'everywhere').lower()}\n"
    )
    metadata = {"disable_cooling": {"here": True, "not here": "no idea"}.get(where)} if where != "everywhere" else {}
    own = Credential(id="z", provider="p", metadata=Metadata(metadata), attributes={"priority": "9"})
    script = outcome(status, headers={"retry-after": hint} if hint else {})
    report = Scenario(
        config=config, credentials=[own], scripts={"z": [script]}, steps=[Execute(Ask(model="m", pin="z"))]
    )
    state = report.run().states["z"].models["m"]
    expected = {429: 1.0, 500: MINUTE}.get(status) if where == "not here" and blocked is None else blocked
    assert state.next_retry_after == (None if expected is None else START + expected)
    assert state.quota.exceeded is (status == 429)


# --- success ---------------------------------------------------------------------------------------------------------


def test_a_success_resets_its_model_and_the_credential_follows_the_others() -> None:
    """C10.3, C10.7: while another model is in trouble its error stays; the last success clears everything."""
    report = Scenario(
        config=CONFIG,
        steps=[
            RecordOutcome("a", Transient(message="m is ill"), "m"),
            RecordOutcome("a", RateLimited(retry_after=600), "n"),
            Inspect("a"),
            RecordOutcome("a", Done(), "n"),
            Inspect("a"),
            RecordOutcome("a", Done(), "m"),
            Inspect("a"),
        ],
    ).run()
    both, one, none = (seen.state for seen in report.values[2::2])
    assert (both.unavailable, both.next_retry_after) == (True, START + MINUTE)
    assert both.quota.exceeded
    assert both.quota.next_recover_at == START + 600
    assert not one.unavailable
    assert not one.quota.exceeded
    assert one.status is Status.ERROR
    assert (none.status, none.last_error, none.status_message) == (Status.ACTIVE, None, "")
    assert none.models["n"].quota.backoff_level == 0


def test_a_later_transient_failure_is_no_rate_limit_any_more() -> None:
    """C10.4 with O50: the error that nobody could be picked says so."""
    steps = [RecordOutcome("a", RateLimited(retry_after=5), "m"), RecordOutcome("a", Transient(), "m"), Pick("m")]
    report = Scenario(config=CONFIG, steps=steps).run()
    assert isinstance(report.errors[2], Unavailable)
    assert report.errors[2].until == START + MINUTE


def test_outcomes_without_a_model_concern_the_credential_as_a_whole() -> None:
    """C10.5, C4.3 with O49: model states stay; "anything else" clears an older time; a success clears it all."""
    report = Scenario(
        config=CONFIG,
        steps=[
            RecordOutcome("a", RateLimited(retry_after=40), ""),
            Inspect("a"),
            RecordOutcome("a", Failed(message="odd"), ""),
            Inspect("a"),
            RecordOutcome("a", Done(), ""),
            Inspect("a"),
        ],
    ).run()
    limited, odd, well = (seen.state for seen in report.values[1::2])
    assert (limited.next_retry_after, limited.status_message) == (START + 40, "quota exhausted")
    assert (odd.unavailable, odd.next_retry_after, odd.status_message) == (True, None, "odd")
    assert (well.status, well.unavailable, well.status_message) == (Status.ACTIVE, False, "")
    assert not limited.models


@pytest.mark.parametrize("late", [Done(), RateLimited(), Transient()], ids=["success", "rate limit", "transient"])
def test_a_late_outcome_never_switches_a_credential_on(late: Done | RateLimited | Transient) -> None:
    """O23, C4.1: nor does it change what the operator wrote."""
    report = Scenario(config=CONFIG, steps=[Disable("a"), RecordOutcome("a", late, "m"), Pick("m"), Enable("a")]).run()
    assert report.errors[2] is not None
    assert not report.credentials["a"].disabled


# --- the order of effects --------------------------------------------------------------------------------------------


def test_an_outcome_of_an_unknown_credential_is_told_and_nothing_else() -> None:
    """C10.2: only the hook hears of it."""
    report = Scenario(
        config=CONFIG, steps=[RecordOutcome("ghost", RateLimited(), "m"), Inspect("ghost"), Pick("m")]
    ).run()
    assert [outcome.credential for outcome in report.outcomes] == ["ghost"]
    assert report.values[1:] == [None, "a"]
    assert not [key for key in report.records if "ghost" in key]


def test_an_outcome_reaches_the_schedule_the_listing_the_store_and_observers() -> None:
    """C10.2, C10.8 with O12, O19, O60, O61: pick and listing at once, the store soon, one hook."""
    report = Scenario(
        config=CONFIG, steps=[RecordOutcome("a", RateLimited(retry_after=60), "m"), Pick("m"), Models(), Wait(2)]
    ).run()
    assert isinstance(report.errors[1], CoolingDown)
    assert {model.name: model.ready for model in report.values[2]} == {"m": 0, "n": 1}
    assert ("state", "a") in report.records
    heard = [event for event in report.events if getattr(event, "credential", "a") == "a"]
    assert [type(event) for event in heard if isinstance(event, OutcomeRecorded | CredentialUpdated)] == [
        OutcomeRecorded
    ]


def test_a_listing_recovers_by_itself_when_the_time_is_over() -> None:
    """C10.8, C16.3, C16.4 with O60: no flag has to be taken back, and a reset does it at once.

    C16.5: what is blocked for another reason than a rate limit is not listed meanwhile.
    """
    report = Scenario(
        config=CONFIG,
        steps=[
            RecordOutcome("a", outcome(404), "m"),
            Models(),
            Wait(12 * HOUR),
            Models(),
            RecordOutcome("a", outcome(404), "m"),
            Reset("a"),
            Models(),
        ],
    ).run()
    assert [{one.name: one.ready for one in report.values[at]}.get("m") for at in (1, 3, 6)] == [None, 1, 1]


def test_a_success_of_a_clean_credential_writes_nothing() -> None:
    """O13, O19, C3.7: it is told and that is all."""
    report = Scenario(config=CONFIG, steps=[Execute("m"), Stream("m"), Wait(5)]).run()
    assert [type(one.verdict) for one in report.outcomes] == [Done, Done]
    assert ("state", "a") not in report.records


def test_outcomes_are_recorded_under_the_base_name_of_the_upstream_side() -> None:
    """C10.1, C7.9 with O27, O28: suffix, prefix and alias are the client's matter."""
    aliased = CONFIG.replace('{ name = "n" }', '{ name = "n", alias = "fast" }')
    report = Scenario(
        config=aliased,
        scripts={"a": [RateLimited(retry_after=9), RateLimited(retry_after=9)]},
        steps=[Execute("m(high)"), Execute("fast(low)"), Pick("m"), Pick("m(low)"), Pick("fast")],
    ).run()
    assert [call.model for call in report.calls] == ["m(high)", "n(low)"]
    assert [one.model for one in report.outcomes] == ["m", "n"]
    assert [type(error) for error in report.errors[2:]] == [CoolingDown] * 3


def test_a_bug_of_a_provider_benches_nobody() -> None:
    """D8."""
    report = Scenario(
        config=CONFIG, scripts={"a": [Script(raises=ZeroDivisionError())]}, steps=[Execute("m"), Execute("m")]
    )
    told = report.run()
    assert told.errors[0] is not None
    assert told.errors[1] is None
    assert not told.states["a"].models
