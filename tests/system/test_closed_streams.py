"""Commands that are started without stdin, stdout or stderr, as some init systems and scripts do it."""

import secrets
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from processes import LIMIT, TURNOUT, Process, gateway_config, http_ask

CLOSED = ("<&-", "<&- >&-", "<&- >&- 2>&-")


def without(closed: str, *arguments: str) -> Sequence[str]:
    """A command line that starts `turnout` with these streams closed."""
    return ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", TURNOUT, *arguments]


def wait_listening(pid: int) -> int:
    """The port on which a process listens, as soon as it does."""
    deadline = time.monotonic() + LIMIT
    while (port := listening(pid)) is None:
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.02)
    return port


def listening(pid: int) -> int | None:
    held = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(str(file.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
            return int(fields[1].partition(":")[2], 16)
    return None


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("closed", CLOSED)
def test_a_gateway_serves_and_drains_whatever_streams_it_lacks(tmp_path: Path, closed: str, processes: int) -> None:
    """H5: its exit code is 0, and the sockets that it hands on are no standard streams of its children."""
    file = tmp_path / "turnout.toml"
    file.write_text(gateway_config(tmp_path))
    command = without(closed, "run", "--processes", str(processes), str(file))
    with Process(command, env={"TURNOUT_KEY": secrets.token_urlsafe(24)}) as process:
        port = wait_listening(process.pid)
        assert http_ask(f"http://127.0.0.1:{port}", "GET", "/healthz").status == 200
        taken = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        process.send(signal.SIGTERM)
        code = process.wait_code()

    assert code == 0, process.stderr.text
    assert not [one for one in taken if one.startswith("socket:")]
    assert "bug" not in process.stderr.text
    assert "ERROR" not in process.stderr.text


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(("arguments", "code"), [(("check",), 0), (("plugins", "--config"), 0), (("check", "no"), 3)])
def test_a_command_that_nobody_can_read_has_its_exit_code(
    tmp_path: Path, closed: str, arguments: Sequence[str], code: int
) -> None:
    file = tmp_path / "turnout.toml"
    file.write_text(gateway_config(tmp_path))
    command = [*arguments] if "no" in arguments else [*arguments, str(file)]
    with Process(without(closed, *command), env={"TURNOUT_KEY": secrets.token_urlsafe(24)}) as process:
        assert process.wait_code() == code, process.stderr.text

    assert "bug" not in process.stderr.text


def test_a_key_that_nobody_can_write_is_asked_for_in_words(tmp_path: Path) -> None:
    file = tmp_path / "turnout.toml"
    file.write_text(gateway_config(tmp_path))
    command = without("<&-", "credentials", "add", "openai", "--config", str(file))
    with Process(command, env={"TURNOUT_KEY": secrets.token_urlsafe(24)}) as process:
        assert process.wait_code() == 2

    assert "no key was given: write it to stdin" in process.stderr.text
