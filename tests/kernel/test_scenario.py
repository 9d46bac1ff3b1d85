"""Scenarios: what they can do, and that they tell the truth about it."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from turnout import (
    Ask,
    Chunk,
    Credential,
    Done,
    Failed,
    InvalidRequest,
    Metadata,
    ModelUnsupported,
    Operation,
    RateLimited,
    Transient,
    Unauthorized,
    Verdict,
)
from turnout.errors import ConfigError, CoolingDown, InvalidAsk, NoCredential, UnknownCredential, UpstreamFailed
from turnout.testing import (
    Announce,
    Count,
    Disable,
    Enable,
    Execute,
    Inspect,
    Models,
    Pick,
    Play,
    RecordOutcome,
    Refresh,
    Register,
    Reload,
    Remove,
    Renewal,
    Reset,
    Scenario,
    Script,
    Seen,
    Stick,
    Stream,
    Together,
    Update,
    Wait,
)
from turnout_wire.testing import outcome

CONFIG = """
[providers.p]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }, { name = "b", api_key = "key-of-b-0123456789" }]
"""

TEXT: Any = "429"
NOTHING: Any = None
TOKEN = Credential(id="t", provider="p", metadata=Metadata({"access_token": "t0", "expires_at": 1_800_001_000}))


def test_it_reports_who_was_called_in_order_and_when() -> None:
    report = Scenario(
        config=CONFIG,
        scripts={"a": [RateLimited(retry_after=20)]},
        steps=[Execute("m"), Wait(20), Execute("m"), Count("m")],
    ).run()
    assert report.called == ["a", "b", "a", "b"]
    assert [call.at for call in report.calls] == [0, 0, 20, 20]
    assert {call.operation for call in report.calls[:3]} == {Operation.GENERATE}
    assert report.calls[3].operation is Operation.COUNT
    assert [type(outcome.verdict) for outcome in report.outcomes] == [RateLimited, Done, Done, Done]
    assert [decision.served_by for decision in report.decisions] == ["b", "a", "b"]
    assert report.errors == [None] * 4


def test_what_a_step_raises_is_in_its_result() -> None:
    more = '[retry]\nmax_wait = "0s"\n'
    report = Scenario(
        config=CONFIG + more, default=RateLimited(retry_after=9), steps=[Execute("m"), Execute("m"), Remove("nobody")]
    ).run()
    failed, cooling, unknown = report.errors
    assert isinstance(failed, UpstreamFailed)
    assert isinstance(cooling, CoolingDown)
    assert isinstance(unknown, UnknownCredential)
    assert report.states["a"].models["m"].quota.exceeded


def test_a_stream_gives_the_chunks_that_came() -> None:
    stream = Script(chunks=[Chunk(b"1"), Chunk(b"2")], gap=1)
    broken = Script(chunks=[Chunk(b"1")], failure=Transient())
    report = Scenario(
        config=CONFIG,
        scripts={"": [stream, broken, stream, stream]},
        steps=[Stream("m"), Stream("m"), Stream("m", take=1), Stream("m", cancel_after=0.5)],
    ).run()
    assert [[chunk.data for chunk in value] for value in report.values] == [[b"1", b"2"], [b"1"], [b"1"], [b"1"]]
    assert [type(error) for error in report.errors] == [type(None), UpstreamFailed, type(None), type(None)]
    assert [result.cancelled for result in report.results] == [False, False, False, True]
    assert report.open_streams == 0


def test_steps_done_together_overlap() -> None:
    report = Scenario(
        config=CONFIG, default=Script(wait=5), steps=[Together([Execute("m"), Execute("m", cancel_after=1)])]
    ).run()
    (together,) = report.values
    assert [result.took for result in together] == [5, 1]
    assert report.results[0].took == 5


def test_credentials_come_change_and_go() -> None:
    newcomer = Credential(id="c", provider="p")
    steps = [Register(newcomer), Disable("a"), Update("b", changes={"label": "mine"}), Execute("m"), Execute("m")]
    report = Scenario(config=CONFIG, steps=[*steps, Enable("a"), Remove("c"), Inspect("c"), Inspect("a")]).run()
    assert report.called == ["b", "c"]
    assert report.credentials["b"].label == "mine"
    *_, gone, there = report.values
    assert gone is None
    assert isinstance(there, Seen)
    assert not there.credential.disabled


def test_outcomes_can_be_recorded_and_taken_back() -> None:
    report = Scenario(
        config=CONFIG,
        steps=[
            RecordOutcome("a", RateLimited(retry_after=60), "m"),
            Pick("m"),
            Pick("m", tried=["b"]),
            Reset("a"),
            Pick("m"),
        ],
    ).run()
    assert report.values[1] == "b"
    assert isinstance(report.errors[2], CoolingDown)
    assert report.values[4] == "a"
    assert report.calls == ()


def test_models_are_announced_and_sessions_stick() -> None:
    report = Scenario(
        config=CONFIG,
        steps=[
            Announce("a", ["other"]),
            Execute("other"),
            Models(),
            Announce("a", ["m"]),
            Stick("session", "m", "b"),
            Execute(Ask(model="m", affinity="session")),
            Execute(Ask(model="m", affinity="session")),
        ],
    ).run()
    assert report.called == ["a", "b", "b"]
    assert [model.name for model in report.values[2]] == ["m", "other"]


def test_credentials_are_refreshed_as_written() -> None:
    report = Scenario(
        config=CONFIG,
        credentials=[TOKEN],
        refreshes={
            "t": [Renewal(failure=Unauthorized()), Renewal(takes=3, metadata={"account": 7}), Renewal(nothing=True)]
        },
        lead=None,
        steps=[Refresh("t"), Refresh("t"), Inspect("t"), Refresh("t")],
    ).run()
    assert [type(value) for value in report.values] == [Unauthorized, type(None), Seen, type(None)]
    assert report.results[1].took == 3
    assert report.refreshes == ("t", "t", "t")
    assert report.values[2].credential.metadata["account"] == 7


def test_the_configuration_can_be_replaced() -> None:
    other = (
        '[providers.q]\nmodels = [{ name = "m" }]\ncredentials = [{ name = "z", api_key = "key-of-z-0123456789" }]\n'
    )
    report = Scenario(config=CONFIG, steps=[Execute("m"), Reload(other), Execute("m")]).run()
    assert report.called == ["a", "z"]


def test_scripts_can_be_added_on_the_way() -> None:
    report = Scenario(config=CONFIG, steps=[Play("a", [RateLimited(retry_after=99)]), Execute("m")]).run()
    assert report.called == ["a", "b"]


def test_fill_first_is_a_word_in_the_configuration() -> None:
    report = Scenario(config=f'[turnout]\nselector = "in-order"\n{CONFIG}', steps=[Execute("m")] * 3).run()
    assert report.called == ["a", "a", "a"]


def test_a_wrong_configuration_is_raised() -> None:
    with pytest.raises(ConfigError, match="colour"):
        Scenario(config=f'{CONFIG}\n[health]\ncolour = "red"\n').run()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Wait(-1), "seconds"),
        (lambda: Wait(math.nan), "seconds"),
        (lambda: Wait(TEXT), "seconds"),
        (lambda: Execute("m", cancel_after=-1), "cancel_after"),
        (lambda: Stream("m", pause=math.inf), "pause"),
        (lambda: Stream("m", take=-1), "take"),
        (lambda: Script(wait=-1), "wait"),
        (lambda: Script(gap=NOTHING), "gap"),
        (lambda: Announce("a", "m"), "names"),
        (lambda: RecordOutcome("a", TEXT), "verdict"),
        (lambda: Play("a", [TEXT]), "script"),
        (lambda: Together([TEXT]), "steps"),
        (lambda: Scenario(config=CONFIG, steps=[TEXT]), "steps"),
        (lambda: Scenario(config=CONFIG, scripts={"a": [TEXT]}).run(), "script"),
        (lambda: Scenario(config=CONFIG, default=TEXT).run(), "script"),
    ],
    ids=[f"mistake {number}" for number in range(15)],
)
def test_what_a_scenario_cannot_do_is_told_before_it_is_played(make: Callable[[], object], argument: str) -> None:
    with pytest.raises(InvalidAsk) as caught:
        make()
    assert caught.value.argument == argument


def test_a_step_about_an_unknown_credential_is_told_in_its_result() -> None:
    steps = [Announce("z", ["n"]), Update("z", changes={"label": "x"}), Remove("z"), Reset("z"), Enable("z")]
    report = Scenario(config=CONFIG, steps=steps).run()
    assert [type(error) for error in report.errors] == [UnknownCredential] * len(steps)
    assert sorted(report.credentials) == ["a", "b"]


def test_the_same_seed_gives_the_same_report() -> None:
    def told(seed: int) -> str:
        steps = [Together([Execute(Ask(model="m", id=str(number))) for number in range(20)])]
        script = Script(wait=1, failure=RateLimited(retry_after=2))
        report = Scenario(config=CONFIG, scripts={"a": [script] * 3}, seed=seed, steps=steps).run()
        return repr((report.calls, report.decisions))

    assert told(7) == told(7)
    assert len({told(seed) for seed in range(8)}) > 1


def test_nobody_to_pick_is_told_as_to_a_call() -> None:
    report = Scenario(config=CONFIG, steps=[Pick(Ask(model="m", pin="nobody"))]).run()
    assert isinstance(report.errors[0], NoCredential)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "", Done),
        (429, "", RateLimited),
        (401, "", Unauthorized),
        (503, "", Transient),
        (400, '{"error":{"type":"invalid_request_error"}}', InvalidRequest),
        (400, "model_not_supported", ModelUnsupported),
        (400, "", Failed),
    ],
)
def test_outcomes_are_made_from_what_a_wire_would_show(status: int, text: str, kind: type[Verdict]) -> None:
    """C6.3, C10.4: by turnout_wire's own table."""
    assert type(outcome(status, text)) is kind


def test_an_outcome_from_the_wire_keeps_its_hint() -> None:
    script = outcome(429, headers={"retry-after": "20"})
    report = Scenario(config=CONFIG, scripts={"a": [script], "b": [script]}, steps=[Execute("m")]).run()
    assert 20 <= report.results[0].took <= 22
