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
