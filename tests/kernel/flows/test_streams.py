"""Streams, from opening them to leaving them (C9)."""

from collections.abc import Sequence

import pytest

from turnout import (
    Ask,
    Chunk,
    Empty,
    Failed,
    Failure,
    InvalidRequest,
    Overloaded,
    Phase,
    Protocol,
    RateLimited,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
    Verdict,
)
from turnout.errors import CoolingDown, UpstreamFailed
from turnout.testing import Report, Scenario, Script, Step, Stream, Wait

CONFIG = """
[retry]
max_wait = "0s"
[deadlines]
first_payload = "30s"
idle = "10s"
[providers.p]
models = [{ name = "m" }]
credentials = [{ name = "a", api_key = "key-of-a-0123456789" }, { name = "b", api_key = "key-of-b-0123456789" }]
"""
PING = Chunk(b": ping\n\n", payload=False)
ONE, TWO = Chunk(b"data: 1\n\n"), Chunk(b"data: 2\n\n")


def played(script: Script | Verdict, *steps: Step, after: Sequence[Script | Verdict] = ()) -> Report:
    """What happens when the first credential plays this."""
    return Scenario(config=CONFIG, scripts={"a": [script, *after]}, steps=steps or [Stream("m")]).run()


def recorded(report: Report) -> list[tuple[str, str]]:
    return [(outcome.credential, type(outcome.verdict).__name__) for outcome in report.outcomes]


REFUSALS: tuple[Failure, ...] = (RateLimited(), Unauthorized(), Transient(), Unreachable(), Overloaded(), Failed())


@pytest.mark.parametrize("failure", REFUSALS, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("held", [None, (), (PING,), (PING, PING)], ids=["opening", "at once", "ping", "two pings"])
def test_everything_before_the_first_payload_is_the_same_failure(
    failure: Failure, held: tuple[Chunk, ...] | None
) -> None:
    """C9.2, C9.3, C9.5 with O33: while it opens, with its first chunk, or after chunks that nobody can use."""
    report = played(Script(failure=failure, chunks=held))
    assert report.called == ["a", "b"]
    assert report.errors == [None]
    assert [chunk.data for chunk in report.values[0]] == [b"{}"]
    assert recorded(report) == [("a", type(failure).__name__), ("b", "Done")]


@pytest.mark.parametrize("held", [None, (PING,)], ids=["opening", "ping"])
def test_when_everybody_fails_before_the_first_payload_the_call_fails(held: tuple[Chunk, ...] | None) -> None:
    """C9.5 with O33: no stream that holds but an error."""
    script = Script(failure=Failed(message="no"), chunks=held)
    report = Scenario(config=CONFIG, default=script, steps=[Stream("m")]).run()
    assert report.called == ["a", "b"]
    assert isinstance(report.errors[0], UpstreamFailed)
    assert report.values[0] == ()


@pytest.mark.parametrize("held", [None, (PING,)], ids=["opening", "ping"])
def test_a_pass_is_repeated_whichever_way_the_stream_failed(held: tuple[Chunk, ...] | None) -> None:
    """C9.5 with O33: a failure after the opening waits for the recovery just like one while opening."""
    limited = Script(failure=RateLimited(retry_after=5), chunks=held)
    config = CONFIG.replace('max_wait = "0s"', 'max_wait = "10s"')
    report = Scenario(config=config, scripts={"a": [limited], "b": [limited]}, steps=[Stream("m")]).run()
    assert report.errors == [None]
    assert 5 <= report.results[0].took <= 6


@pytest.mark.parametrize("held", [None, (PING,)], ids=["opening", "ping"])
def test_the_clients_own_mistake_is_raised_at_once(held: tuple[Chunk, ...] | None) -> None:
    """C9.2, C9.3."""
    report = played(Script(failure=InvalidRequest(), chunks=held))
    assert report.called == ["a"]
    assert isinstance(report.errors[0], UpstreamFailed)


NO_PAYLOAD = {
    "nothing": (),
    "ping": (PING,),
    "empty": (PING, Chunk(b"", payload=False)),
    "empty payload": (Chunk(b""), PING, Chunk(b"")),
}


@pytest.mark.parametrize("chunks", NO_PAYLOAD.values(), ids=list(NO_PAYLOAD))
def test_a_stream_without_a_payload_is_an_empty_one(chunks: tuple[Chunk, ...]) -> None:
    """C9.3 with O34: recorded as `empty_stream`, then the next credential; nobody is benched for it."""
    report = played(Script(chunks=chunks))
    assert report.called == ["a", "b"]
    assert recorded(report) == [("a", "Empty"), ("b", "Done")]
    error = report.states["a"].last_error
    assert error is not None
    assert error.code == Empty.code == "empty_stream"
    assert error.message == "upstream stream closed before first payload"  # C6.1
    assert error.retryable


def test_the_stream_is_handed_over_with_what_was_held_in_order_and_unchanged() -> None:
    """C9.4: headers of the upstream, the kept chunks, then the rest."""
    chunks = [PING, Chunk(b"", payload=False), ONE, PING, TWO]
    report = played(Script(chunks=chunks, gap=1))
    assert list(report.values[0]) == chunks


def test_an_end_without_an_error_is_a_success_told_when_it_is_read() -> None:
    """C9.4.2: the outcome comes with the end, not with the first payload."""
    slow = Script(chunks=[ONE, TWO], gap=5)  # and five seconds until the end
    report = played(slow)
    (outcome,) = report.outcomes
    (heard,) = [event for event in report.events if getattr(event, "outcome", None) is outcome]
    assert heard.at == 1_800_000_010
    assert recorded(report) == [("a", "Done")]


def test_a_failure_after_the_first_payload_is_told_and_recorded_once_and_nothing_is_tried_again() -> None:
    """C9.4.1, C9.4.4, C2.1.3 with O35: the hint counts, and whatever comes behind the failure is not read."""
    report = played(
        Script(chunks=[ONE], failure=RateLimited(retry_after=50)), Stream("m"), Stream(Ask(model="m", pin="a"))
    )
    assert report.called == ["a"]
    assert list(report.values[0]) == [ONE]
    assert isinstance(report.errors[0], UpstreamFailed)
    assert recorded(report) == [("a", "RateLimited")]
    assert isinstance(report.errors[1], CoolingDown)
    assert report.errors[1].until == 1_800_000_050


LEAVING = {
    "after one chunk": Stream("m", take=1),
    "while waiting for the next": Stream("m", cancel_after=3),
    "while it does something else": Stream("m", pause=4, cancel_after=3),
}


@pytest.mark.parametrize("step", LEAVING.values(), ids=list(LEAVING))
def test_who_leaves_after_a_payload_has_seen_that_it_works(step: Stream) -> None:
    """C9.4.3, C9.6 with O36, O37: one success, and the upstream is closed at once instead of drained."""
    endless = Script(chunks=[ONE] * 10_000, gap=7)
    report = played(endless, step)
    assert recorded(report) == [("a", "Done")]
    assert report.open_streams == 0
    assert report.results[0].took <= 3
    assert report.errors == [None]


@pytest.mark.parametrize("script", [Script(wait=20), Script(chunks=[PING] * 20, gap=1)], ids=["opening", "pings"])
def test_who_leaves_before_a_payload_leaves_no_trace(script: Script) -> None:
    """C9.2, C9.3: a cancellation is raised, nothing is recorded, the source is let go."""
    report = played(script, Stream("m", cancel_after=5))
    assert report.results[0].cancelled
    assert report.results[0].took == 5
    assert report.outcomes == ()
    assert report.open_streams == 0
    assert report.called == ["a"]


def test_a_cancellation_wins_over_a_failure_in_the_same_instant() -> None:
    """C9.3: if the upstream fails and the client is gone, nobody else is called."""
    for seed in range(8):
        report = Scenario(
            config=CONFIG,
            scripts={"a": [Script(wait=5, failure=Failed())]},
            steps=[Stream("m", cancel_after=5)],
            seed=seed,
        ).run()
        assert report.called == ["a"]
        assert report.results[0].cancelled


@pytest.mark.parametrize(
    ("script", "phase", "took"),
    [
        (Script(wait=1000), Phase.FIRST_PAYLOAD, 30),
        (Script(chunks=[PING] * 1000, gap=1), Phase.FIRST_PAYLOAD, 30),
        (Script(chunks=[ONE, TWO], gap=1000), Phase.IDLE, 10),
    ],
    ids=["opening", "pings", "silence later"],
)
def test_an_upstream_that_keeps_us_waiting_is_left(script: Script, phase: Phase, took: float) -> None:
    """O38, B9, B10, B17: comments are no progress; the limit is a transient failure of its own."""
    report = played(script)
    (first, *_) = report.outcomes
    assert isinstance(first.verdict, TimedOut)
    assert first.verdict.phase is phase
    assert report.results[0].took == pytest.approx(took, abs=1)
    assert report.open_streams == 0
    assert len(report.called) == (1 if phase is Phase.IDLE else 2)


def test_too_much_before_the_first_payload_is_a_broken_protocol() -> None:
    """Design 8a."""
    report = played(Script(chunks=[Chunk(bytes(40_000), payload=False)] * 3))
    assert recorded(report) == [("a", "Protocol"), ("b", "Done")]
    assert isinstance(report.outcomes[0].verdict, Protocol)


@pytest.mark.parametrize(("size", "called"), [("2KiB", ["a"]), ("1KiB", ["a", "b"])])
def test_how_much_is_held_before_the_first_payload_is_the_operators_word(size: str, called: list[str]) -> None:
    """Design 8a: `turnout.bootstrap_bytes`."""
    script = Script(chunks=[Chunk(bytes(1500), payload=False), ONE])
    config = f'[turnout]\nbootstrap_bytes = "{size}"\n{CONFIG}'
    report = Scenario(config=config, scripts={"a": [script]}, steps=[Stream("m")]).run()
    assert report.called == called


def test_a_slow_reader_is_no_silent_upstream() -> None:
    """O38, C-4: the idle limit counts what we wait for the upstream, not what the client takes."""
    report = played(Script(chunks=[ONE] * 4, gap=1), Stream("m", pause=60))
    assert report.errors == [None]
    assert len(report.values[0]) == 4


def test_a_streams_preference_is_learned_when_it_is_handed_out() -> None:
    """C9.1, C12.5: before it is consumed; a stream that nobody got teaches nothing."""
    sticky = Ask(model="m", affinity="s")
    broken = Script(chunks=[ONE], failure=Transient())
    report = Scenario(
        config=CONFIG + "[health]\nkeep_last = false\nblame_routes = false\n",
        scripts={"a": [Script(chunks=(PING,), failure=RateLimited(retry_after=1)), Script()], "b": [broken]},
        steps=[Stream(sticky), Wait(61), Stream(sticky)],
    ).run()
    assert report.called == ["a", "b", "b"]
