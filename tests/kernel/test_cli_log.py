"""What reaches the log of the command line, and how much of it (I9)."""

import logging
from collections.abc import Iterator

import pytest

from turnout._cli_log import BURST, KINDS, PER_SECOND, Flood, log_to_stderr


class Log:
    """Lines that come through the filter, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.shown: list[str] = []
        self._flood = Flood(lambda: self.now)

    def write(self, text: str, *args: object, name: str = "turnout.x", level: int = logging.WARNING) -> None:
        record = logging.LogRecord(name, level, __file__, 1, text, args, None)
        if self._flood.filter(record):
            self.shown.append(record.getMessage() + record.__dict__["left_out"])


def test_lines_of_one_kind_are_rationed_and_the_next_one_says_how_many_were_left_out() -> None:
    log = Log()
    for number in range(BURST + 40):
        log.write("call %s failed", number)
    log.write("something else")
    log.now += 1 / PER_SECOND
    log.write("call %s failed", "late")
    log.write("call %s failed", "too late")

    first = [f"call {number} failed" for number in range(BURST)]
    assert log.shown == [*first, "something else", "call late failed (40 more like it were left out)"]


def test_a_minute_of_a_hundred_lines_a_second_is_a_few_dozen_kilobytes() -> None:
    log = Log()
    for number in range(6000):
        log.write("call %s: sent to %s and not answered, tried again with %s", f"req-{number:012}", "a" * 30, "b" * 30)
        log.now += 0.01

    assert sum(len(line) + 60 for line in log.shown) < 64 * 1024


def test_after_a_calm_while_lines_come_through_as_at_first() -> None:
    log = Log()
    for number in range(BURST + 1):
        log.write("call %s failed", number)
    log.now += BURST / PER_SECOND
    log.shown.clear()
    for number in range(BURST + 1):
        log.write("call %s failed", number)

    assert len(log.shown) == BURST
    assert log.shown[0].endswith("(1 more like it were left out)")


def test_debug_lines_are_shown_in_full() -> None:
    log = Log()
    for number in range(2 * BURST):
        log.write("pick %s", number, level=logging.DEBUG)

    assert len(log.shown) == 2 * BURST


def test_kinds_that_never_end_cost_no_memory() -> None:
    """I8."""
    log = Log()
    for number in range(10 * KINDS):
        log.write(f"formatted by hand: {number}")

    assert len(log._flood._kinds) == KINDS


@pytest.fixture
def kept_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("turnout")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.usefixtures("kept_logging")
def test_foreign_loggers_stay_quiet_whatever_level_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """X4: httpx and its like print URLs and headers below WARNING."""
    log_to_stderr("debug")

    for name in ("httpx", "httpcore.http11", "hpack.hpack", "h2", "hypercorn.access", "some.library"):
        logging.getLogger(name).info("https://x/?key=canary")
    logging.getLogger("turnout.providers.x").debug("ours")

    told = capsys.readouterr().err
    assert "canary" not in told
    assert told.endswith("Z DEBUG turnout.providers.x: ours\n")


@pytest.mark.usefixtures("kept_logging")
def test_a_flood_of_lines_is_rationed_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """I9."""
    log_to_stderr("info")
    for number in range(1000):
        logging.getLogger("turnout.conduct").warning("call %s failed", number)

    assert capsys.readouterr().err.count("\n") < 2 * BURST


FORGED = "2026-01-01T00:00:00Z INFO turnout.pick: Use API key sk-1...wxyz for model m"


@pytest.mark.usefixtures("kept_logging")
@pytest.mark.parametrize(
    "line_break", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"], ids=ascii
)
def test_no_text_from_outside_can_pass_for_a_line_of_the_log(
    capsys: pytest.CaptureFixture[str], line_break: str
) -> None:
    """S51: neither in what is filled in nor in a traceback."""
    log_to_stderr("info")
    said = f"m{line_break}{FORGED}"
    logging.getLogger("turnout.x").error("call for model %s failed", said, exc_info=ValueError(said))

    first, *rest = capsys.readouterr().err.splitlines()
    assert " ERROR turnout.x: call for model m" in first
    assert any(line.endswith(FORGED) for line in rest), "it is shown"
    assert [line for line in rest if not line.startswith("    ")] == []


@pytest.mark.usefixtures("kept_logging")
def test_what_does_not_print_is_escaped_and_what_does_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """S51: a terminal obeys nobody but its owner."""
    log_to_stderr("info")
    logging.getLogger("turnout.x").warning("%s", "\x1b[2J\b\x00\ud800\u202e gr\u00fc\u00df\\n")

    assert capsys.readouterr().err.endswith(": \\x1b[2J\\x08\\x00\\ud800\\u202e gr\u00fc\u00df\\n\n")


@pytest.mark.usefixtures("kept_logging")
def test_a_line_about_a_call_shows_its_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    """C14.1: what a record carries as a field is seen by who reads lines."""
    log_to_stderr("debug")
    logging.getLogger("turnout.pick").debug("Use API key", extra={"request_id": "req-1"})

    assert capsys.readouterr().err.endswith("Use API key (call req-1)\n")
