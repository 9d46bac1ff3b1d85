"""`turnout demo`, as a newcomer runs it."""

import json
import re
import shlex
import signal
import socket
from pathlib import Path

from processes import TURNOUT, Process, http_ask


def test_the_demonstration_shows_a_fail_over_and_exits_with_0(tmp_path: Path) -> None:
    """S23: neither its store nor the store's key is left behind."""
    with Process([TURNOUT, "demo", "--once"], env={"TMPDIR": str(tmp_path)}) as process:
        assert process.wait_code() == 0

    shown = process.stdout.text
    assert re.search(r"key-one +429 after \d+ ms; it rests for 30 s", shown)
    assert re.search(r"key-two +tried next, streams", shown)
    assert "> Two keys, one of them used up" in shown
    assert process.stderr.text == ""
    assert list(tmp_path.iterdir()) == []


def test_the_printed_curl_line_works_until_sigterm_ends_the_demo_with_0() -> None:
    with Process([TURNOUT, "demo", "--port", "0"], env={}) as process:
        line = process.stdout.wait_for(r"  (curl .*)\n")[1]
        process.stdout.wait_for("Ctrl-C")
        _, _, url, *rest = shlex.split(line)
        headers = dict(text.split(": ", 1) for flag, text in zip(rest[::2], rest[1::2], strict=True) if flag == "-H")
        host, _, path = url.removeprefix("http://").partition("/")
        answer = http_ask(f"http://{host}", "POST", f"/{path}", rest[-1].encode(), headers)
        process.send(signal.SIGTERM)

        assert process.wait_code() == 0

    assert answer.status == 200
    assert answer.body.endswith("data: [DONE]\n\n")
    assert json.loads(answer.body.removeprefix("data: ").partition("\n")[0])["object"] == "chat.completion.chunk"
    assert process.stdout.text.endswith("Goodbye.\n")


def test_ctrl_c_ends_the_demo_with_0() -> None:
    with Process([TURNOUT, "demo", "--port", "0"], env={}) as process:
        process.stdout.wait_for("Ctrl-C")
        process.send(signal.SIGINT)

        assert process.wait_code() == 0

    assert process.stderr.text == ""


def test_the_demo_takes_another_port_when_the_usual_one_is_taken() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        with Process([TURNOUT, "demo", "--once"], env={}) as process:
            assert process.wait_code() == 0

    assert "127.0.0.1:8080" not in process.stdout.text


def test_a_port_that_is_taken_is_named_in_one_paragraph() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Process([TURNOUT, "demo", "--once", "--port", str(port)], env={}) as process:
            assert process.wait_code() in {1, 3}

    assert str(port) in process.stderr.text
    assert "Traceback" not in process.stderr.text
