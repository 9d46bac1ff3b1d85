"""The observer `prometheus`: what is counted, under which labels, and how it is shown."""

from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from turnout import (
    Ask,
    Attempt,
    CallDecided,
    Chunk,
    CredentialRemoved,
    Decision,
    Done,
    Event,
    Operation,
    Outcome,
    OutcomeRecorded,
    PluginFailed,
    RateLimited,
    RefreshFailed,
    Reloaded,
    StoreFailed,
    TimedOut,
    Verdict,
)
from turnout.errors import ConfigError, TurnoutError
from turnout.testing import Script, ScriptedProvider, check_observer, open_plugin, scripted_kernel
from turnout_prometheus import Prometheus, PrometheusSettings

AT = 1_800_000_000.0
POOL = """
[observers.prometheus]
[[providers.p.models]]
name = "m"
[[providers.p.credentials]]
name = "a"
api_key = "sk-canary-a-0123456789"
[[providers.p.credentials]]
name = "b"
api_key = "sk-canary-b-0123456789"
"""


def decided(model: str = "m", **given: Any) -> CallDecided:
    decision = Decision(
        id="request-1",
        model="what the client wrote",
        operation=Operation.GENERATE,
        stream=False,
        began=AT,
        took=0.5,
        passes=1,
        waited=0.0,
        attempts=(),
        upstream_model=model,
    )
    return CallDecided(at=AT, decision=attrs.evolve(decision, **given))


def ended(verdict: Verdict, credential: str = "a", took: float = 0.5) -> OutcomeRecorded:
    outcome = Outcome(credential=credential, provider="p", model="m", verdict=verdict)
    return OutcomeRecorded(at=AT, outcome=outcome, took=took)


async def shown(*events: Event, settings: PrometheusSettings | None = None) -> dict[str, float]:
    """Samples as Prometheus would read them, without those of the process and the label that they all have."""
    observer = Prometheus(settings or PrometheusSettings())
    for event in events:
        await observer.hear(event)
    return samples(observer)


def only(metric: str, found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if name.startswith(f"{metric}{{")}


def samples(observer: Prometheus) -> dict[str, float]:
    found = {}
    (text,) = observer.expose().values()
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            assert one.labels.pop("process").isdecimal()
            if not one.name.startswith("process_"):
                labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
                found[f"{one.name}{{{labels}}}"] = one.value
    return found


async def test_it_keeps_the_laws_of_an_observer(autojump_clock: MockClock) -> None:
    """S43: names that clients choose do not let it grow."""
    await check_observer(partial(open_plugin, "observers", Prometheus))


async def test_calls_are_counted_by_model_operation_and_result() -> None:
    found = await shown(
        decided(), decided(), decided(stream=True), decided(error="rate_limited"), decided(operation=Operation.EMBED)
    )
    assert only("turnout_calls_total", found) == {
        "turnout_calls_total{model=m,operation=generate,result=ok,stream=false}": 2,
        "turnout_calls_total{model=m,operation=generate,result=ok,stream=true}": 1,
        "turnout_calls_total{model=m,operation=generate,result=rate_limited,stream=false}": 1,
        "turnout_calls_total{model=m,operation=embed,result=ok,stream=false}": 1,
    }


async def test_attempts_are_counted_by_credential_and_verdict() -> None:
    found = await shown(ended(Done()), ended(Done(), "b"), ended(RateLimited()), ended(TimedOut()), ended(Done()))
    assert only("turnout_attempts_total", found) == {
        "turnout_attempts_total{credential=a,provider=p,verdict=done}": 2,
        "turnout_attempts_total{credential=b,provider=p,verdict=done}": 1,
        "turnout_attempts_total{credential=a,provider=p,verdict=rate_limited}": 1,
        "turnout_attempts_total{credential=a,provider=p,verdict=timed_out}": 1,
    }
    assert found["turnout_attempt_seconds_count{provider=p}"] == 3  # those that were served


@given(st.lists(st.floats(0, 100), max_size=20))
def test_a_histogram_counts_everything_up_to_each_bound(times: list[float]) -> None:
    bounds = (0.5, 1.0, 30.0)
    observer = Prometheus(PrometheusSettings(buckets=bounds))
    observer._counts.take([decided(took=took) for took in times])
    found = samples(observer)
    name = "turnout_call_seconds_bucket{{le={},operation=generate,stream=false}}"
    if not times:
        assert not [one for one in found if one.startswith("turnout_call_seconds")]
        return
    for bound in bounds:
        assert found[name.format(bound)] == sum(took <= bound for took in times)
    assert found[name.format("+Inf")] == len(times)
    assert found["turnout_call_seconds_sum{operation=generate,stream=false}"] == pytest.approx(sum(times))


async def test_failures_waits_and_reloads_are_counted() -> None:
    found = await shown(
        decided(waited=1.5),
        decided(waited=2.0),
        RefreshFailed(at=AT, credential="a", provider="p", reason="secret", next_try=None),
        StoreFailed(at=AT, kind="state", credential="a", reason="no space"),
        PluginFailed(at=AT, group="turnout.stores", name="n", reason="r"),
        Reloaded(at=AT, generation=2),
    )
    assert found["turnout_call_wait_seconds_total{}"] == 3.5
    assert found["turnout_refresh_failures_total{provider=p}"] == 1
    assert found["turnout_store_failures_total{kind=state}"] == 1
    assert found["turnout_plugin_failures_total{group=turnout.stores,name=n}"] == 1
    assert found["turnout_reloads_total{}"] == 1


async def test_the_series_of_a_credential_end_with_it() -> None:
    removed = CredentialRemoved(at=AT, credential="a", provider="p")
    few = PrometheusSettings(credentials=1)
    found = await shown(ended(Done()), ended(RateLimited()), removed, ended(Done(), "b"), settings=few)
    assert [name for name in found if "credential=" in name] == [
        "turnout_attempts_total{credential=b,provider=p,verdict=done}"  # whose place is free again
    ]


async def test_labels_have_as_many_values_as_the_settings_say() -> None:
    """S43: what is beyond that is counted as `other`."""
    few = PrometheusSettings(models=2, credentials=0)
    events = [decided(model) for model in ("m1", "m2", "m3", "m1", "m4")]
    found = await shown(*events, ended(Done()), settings=few)
    models = {name.split("model=")[1].split(",")[0]: value for name, value in found.items() if "model=" in name}
    assert models == {"m1": 2, "m2": 1, "other": 2}
    assert found["turnout_attempts_total{credential=other,provider=p,verdict=done}"] == 1


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        ("m(high)", "m"),
        ("m(2048)", "m"),
        ("m()", "m"),
        ("m(a)(b)", "m(a)"),
        ("m)", "m)"),
        ("m(a)b", "m(a)b"),
        ("(high)", "other"),
    ],
)
async def test_a_thinking_suffix_makes_no_label_of_its_own(asked: str, label: str) -> None:
    """S43, C7.1: clients choose budgets, and each number would be one more of the models that have labels."""
    found = await shown(*[decided(asked)] * 3, decided("n"), settings=PrometheusSettings(models=2))
    assert only("turnout_calls_total", found) == {
        f"turnout_calls_total{{model={label},operation=generate,result=ok,stream=false}}": 3,
        "turnout_calls_total{model=n,operation=generate,result=ok,stream=false}": 1,
    }


async def test_a_thousand_suffixes_take_no_models_label_away() -> None:
    """S43."""
    observer = Prometheus(PrometheusSettings(models=2))
    await observer.hear_batch([decided(f"m({budget})") for budget in range(1000)])
    await observer.hear(decided("n"))
    assert {name.split("model=")[1].split(",")[0] for name in samples(observer) if "model=" in name} == {"m", "n"}


async def test_a_clients_own_word_for_a_model_is_no_label() -> None:
    """S43: a call that reached no upstream has none; one that failed there has the model that was asked for."""
    attempt = Attempt(credential="a", provider="p", model="up", began=0.0, ended=1.0, verdict=RateLimited())
    found = await shown(decided("", error="unknown_model"), decided("", attempts=(attempt,), error="rate_limited"))
    assert {name.split("model=")[1].split(",")[0] for name in found if "model=" in name} == {"other", "up"}
    assert not [name for name in found if "client" in name]


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("buckets = []", "buckets has from 1 to 50 bounds"),
        (f"buckets = {[*map(float, range(1, 52))]}", "buckets has from 1 to 50 bounds"),
        ("buckets = [1.0, 1.0]", "buckets rise"),
        ("buckets = [0.0, 1.0]", "buckets rise"),
        ("buckets = [1.0, inf]", "expected a finite number"),
        ("models = -1", "models is a number from 0 upwards"),
        ("credentials = -1", "credentials is a number from 0 upwards"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(toml: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        async with open_plugin("observers", Prometheus, toml):
            pass


async def test_the_calls_of_a_kernel_are_shown_with_their_attempts(autojump_clock: MockClock) -> None:
    """S40: and no key with them."""
    provider = ScriptedProvider()
    limited = Script(failure=RateLimited(retry_after=600))
    provider.script(limited, Script(), limited)
    observer = Prometheus(PrometheusSettings())
    async with scripted_kernel(POOL, {"p": provider}, observers={"prometheus": observer}) as kernel:
        await kernel.execute(Ask(model="m"))
        for code in ("upstream_error", "model_cooldown"):
            with pytest.raises(TurnoutError) as failed:
                await kernel.execute(Ask(model="m"))
            assert failed.value.code == code
    found = samples(observer)
    assert only("turnout_calls_total", found) == {
        "turnout_calls_total{model=m,operation=generate,result=ok,stream=false}": 1,
        "turnout_calls_total{model=m,operation=generate,result=upstream_error,stream=false}": 1,
        "turnout_calls_total{model=other,operation=generate,result=model_cooldown,stream=false}": 1,
    }
    verdicts = {name.split("credential=")[1]: value for name, value in found.items() if "verdict=" in name}
    assert verdicts == {
        "a,provider=p,verdict=rate_limited}": 1,
        "b,provider=p,verdict=done}": 1,
        "b,provider=p,verdict=rate_limited}": 1,
    }
    assert "canary" not in str(observer.expose())


async def test_a_stream_that_breaks_is_a_call_that_began_and_an_attempt_that_failed(autojump_clock: MockClock) -> None:
    broken = Script(failure=TimedOut(), refuse=False, chunks=[Chunk(b"data: x\n\n")])
    observer = Prometheus(PrometheusSettings())
    async with scripted_kernel(POOL, {"p": ScriptedProvider(broken)}, observers={"prometheus": observer}) as kernel:
        with pytest.raises(TurnoutError):
            async with kernel.stream(Ask(model="m")) as stream:
                async for _ in stream:
                    pass
    found = samples(observer)
    assert only("turnout_calls_total", found) == {
        "turnout_calls_total{model=m,operation=generate,result=ok,stream=true}": 1
    }
    assert only("turnout_attempts_total", found) == {
        "turnout_attempts_total{credential=a,provider=p,verdict=timed_out}": 1
    }
