"""Streams of the Responses API through the whole house: what comes before their first payload, and how they fail."""

import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from inside import House, open_house, verdicts

from turnout_upstream import Play, Rule, Script


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode()


DELTA = event("response.output_text.delta", delta="hi")
COMPLETED = event("response.completed", response={"status": "completed"})


def saying(*events: bytes) -> Script:
    return Script(rules=(Rule(path="/v1/responses", always=Play(events=events)),))


async def respond(house: House, **members: object) -> httpx.Response:
    body = {"model": "m", "input": "hi", "stream": True} | members
    return await house.client.post("/v1/responses", json=body, headers={"x-turnout-explain": "1"})


@pytest.mark.parametrize("size", [10_000, 100_000])
async def test_tools_of_any_size_may_be_said_back_before_the_first_word(tmp_path: Path, size: int) -> None:
    """Design 8a: `response.created` and `response.in_progress` both repeat the request's tools."""
    tools = [{"type": "function", "name": "f", "description": "x" * size, "parameters": {}}]
    said_back: Mapping[str, object] = {"status": "in_progress", "tools": tools, "output": []}
    opening = [event(kind, response=said_back) for kind in ("response.created", "response.in_progress")]
    async with open_house(tmp_path, saying(*opening, DELTA, COMPLETED)) as house:
        reply = await respond(house, tools=tools)

    assert (reply.status_code, verdicts(reply)) == (200, [("bad", "Done")])
    assert reply.content == b"".join([*opening, DELTA, COMPLETED])


FAULT = {"code": "invalid_image_format", "message": "no such format"}
FAILED = {"status": "failed", "error": FAULT, "output": []}


@pytest.mark.parametrize(
    "play",
    [
        Play(body=json.dumps(FAILED).encode()),
        Play(events=(event("response.created"), event("response.failed", response=FAILED))),
        Play(events=(event("response.created"), event("error", **FAULT))),
    ],
)
async def test_a_response_that_failed_by_the_requests_fault_is_told_and_benches_nobody(
    tmp_path: Path, play: Play
) -> None:
    """B22, B27: no retry, no cooldown, the upstream's own words."""
    async with open_house(tmp_path, Script(rules=(Rule(path="/v1/responses", plays=(play,)),))) as house:
        refused, next_one = await respond(house, stream=play.events is not None), await house.chat()

    assert (refused.status_code, verdicts(refused)) == (422, [("bad", "InvalidRequest")])
    assert refused.json()["error"] == {
        "code": "invalid_image_format",
        "message": "no such format",
        "param": None,
        "type": "invalid_request_error",
    }
    assert (next_one.status_code, verdicts(next_one)) == (200, [("bad", "Done")])


async def test_a_response_that_fails_in_mid_stream_ends_with_the_upstreams_words(tmp_path: Path) -> None:
    """B22: passed on in-band."""
    failed = {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "try again in 11 s"}}
    script = saying(event("response.created"), DELTA, event("response.failed", response=failed))
    async with open_house(tmp_path, script) as house:
        reply = await respond(house)

    assert reply.status_code == 200
    last = json.loads(reply.text.rstrip().rpartition("data: ")[2])
    assert (last["type"], last["code"], last["message"]) == ("error", "rate_limit_exceeded", "try again in 11 s")
