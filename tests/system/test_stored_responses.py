"""What the Responses API keeps for a client goes on where it was made, and for nobody else (S8, C17.3)."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from inside import MODEL, House, open_house
from sockets import Client, create, opening

from turnout_upstream import Play, Rule, Script, plays

OURS, THEIRS = secrets.token_urlsafe(24), secrets.token_urlsafe(24)


def response(name: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": "Hello.", "annotations": []}
    item = {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": "completed", "content": [part]}
    return {"id": f"resp_{name}", "object": "response", "status": "completed", "model": MODEL, "output": [item]}


def answer(name: str, *, streamed: bool) -> Play:
    """What the credential of that name gets."""
    whole = response(name)
    if not streamed:
        return Play(body=json.dumps(whole).encode())
    opened = {"type": "response.created", "response": whole | {"status": "in_progress", "output": []}}
    events = (opened, {"type": "response.completed", "response": whole})
    return Play(events=tuple(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events))


def script(*, streamed: bool = False) -> Script:
    """The preferred credential is refused once, so that the other one makes the first response."""
    first = Rule(key="sk-first", plays=(plays.rate_limited(60),), always=answer("first", streamed=streamed))
    return Script(rules=(first, Rule(key="sk-second", always=answer("second", streamed=streamed))))


async def ask(house: House, key: str = OURS, path: str = "", **members: Any) -> httpx.Response:
    body = {"model": MODEL, "input": "hi"} | members
    return await house.client.post(f"/v1/responses{path}", json=body, headers={"authorization": f"Bearer {key}"})


def keys_used(house: House) -> list[str]:
    return [(request.key or "").removeprefix("sk-") for request in house.upstream.log.requests]


REFERENCE = [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": "msg_second"}]
NAMING: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "response": ({"previous_response_id": "resp_second"}, "previous_response_id", "previous_response_not_found"),
    "item": ({"input": REFERENCE}, "input[1].id", "not_found"),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("naming", NAMING)
async def test_it_goes_on_with_who_made_it_and_with_nobody_else(tmp_path: Path, naming: str, streamed: bool) -> None:
    """S8: another client's id is not found, and no credential is used for it; C17.3: its own goes where it was made."""
    members, param, code = NAMING[naming]
    async with open_house(tmp_path, script(streamed=streamed), names=("first", "second"), keys=(OURS, THEIRS)) as house:
        await ask(house, stream=streamed)
        assert keys_used(house) == ["first", "second"]
        house.kernel.credentials.reset("first")
        await ask(house, stream=streamed)
        assert keys_used(house)[2:] == ["first"], "it is preferred again"

        mine = await ask(house, stream=streamed, **members)
        assert mine.status_code == 200
        assert keys_used(house)[3:] == ["second"]

        theirs = await ask(house, THEIRS, stream=streamed, **members)
        assert theirs.status_code == 404
        error = theirs.json()["error"]
        assert (error["code"], error["param"]) == (code, param)
        assert len(keys_used(house)) == 4


@pytest.mark.parametrize("name", ["previous_response_id", "conversation"])
@pytest.mark.parametrize("path", ["", "/input_tokens"], ids=["create", "count"])
async def test_what_was_never_made_here_is_not_found(tmp_path: Path, name: str, path: str) -> None:
    async with open_house(tmp_path, script(), names=("first", "second"), keys=(OURS, THEIRS)) as house:
        found = await ask(house, path=path, **{name: "made-elsewhere"})
        assert found.status_code == 404
        assert found.json()["error"]["param"] == name
        assert keys_used(house) == []


async def test_what_is_not_to_be_kept_is_not_found_later(tmp_path: Path) -> None:
    async with open_house(tmp_path, script(), names=("first", "second"), keys=(OURS,)) as house:
        await ask(house, store=False)
        assert (await ask(house, previous_response_id="resp_second")).status_code == 404


async def test_it_waits_for_nobody_else_when_its_credential_rests(tmp_path: Path) -> None:
    """Only one account has it: a client is told when to come back, and the other account does not hear of it."""
    async with open_house(
        tmp_path, script(), names=("first", "second"), keys=(OURS,), more="[retry]\npasses = 1"
    ) as house:
        await ask(house)
        house.kernel.credentials.reset("first")
        house.upstream.use(Script(rules=(Rule(key="sk-second", always=plays.rate_limited(60)),)))
        found = await ask(house, previous_response_id="resp_second")
        assert found.status_code == 429
        assert int(found.headers["retry-after"]) <= 60
        assert keys_used(house)[2:] == ["second"]


async def test_it_is_still_known_after_a_restart(tmp_path: Path) -> None:
    names = ("first", "second")
    async with open_house(tmp_path, script(), names=names, keys=(OURS, THEIRS)) as house:
        await ask(house)
    async with open_house(tmp_path, script(), names=names, keys=(THEIRS, OURS)) as house:
        assert (await ask(house, OURS, previous_response_id="resp_second")).status_code == 200
        assert (await ask(house, THEIRS, previous_response_id="resp_second")).status_code == 404
        assert keys_used(house) == ["second"]


async def test_over_a_websocket_it_is_the_same(tmp_path: Path) -> None:
    """What one way has made goes on over the other, and not for another client."""
    async with open_house(tmp_path, script(), names=("first", "second"), keys=(OURS, THEIRS)) as house:
        await ask(house)
        house.kernel.credentials.reset("first")
        streams = script(streamed=True).rules
        house.upstream.use(Script(rules=tuple(Rule(key=rule.key, always=rule.always) for rule in streams)))
        port = house.client.base_url.port
        assert port is not None
        told = {}
        for key in (THEIRS, OURS):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                one = await Client(stream).open(opening(key))
                await one.ask(create(MODEL, previous_response_id="resp_second"))
                told[key] = await one.next()
        assert (told[THEIRS]["status"], told[THEIRS]["error"]["code"]) == (404, "previous_response_not_found")
        assert told[OURS]["response"]["id"] == "resp_second"
        assert keys_used(house)[2:] == ["second"]
