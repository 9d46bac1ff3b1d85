"""Where Turnout connects to is the operator's to say: nothing that a client sends changes it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from inside import open_house

pytestmark = pytest.mark.usefixtures("each_transport")

FIELDS = (
    "base_url", "api_base", "custom_host", "host", "endpoint", "url", "server", "proxy", "proxies", "http_proxy",
    "webhook", "webhook_url", "callback_url", "redirect_uri", "file_url", "azure_endpoint", "organization_url",
)  # fmt: skip

HEADERS = (
    "x-base-url", "x-api-base", "x-custom-host", "x-portkey-custom-host", "x-upstream-host", "x-forwarded-host",
    "x-original-url", "x-rewrite-url", "x-proxy", "proxy", "forwarded", "referer", "api-base", "openai-base-url",
)  # fmt: skip


@asynccontextmanager
async def canary() -> AsyncIterator[tuple[str, list[None]]]:
    """A URL that nobody may connect to, and an entry for each who did."""
    visits: list[None] = []

    async def visit(stream: trio.SocketStream) -> None:
        visits.append(None)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, visit, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1", visits
        nursery.cancel_scope.cancel()


def bodies(url: str) -> Mapping[str, tuple[str, Any]]:
    """Requests that name this URL wherever one might: path and body."""
    everywhere: dict[str, Any] = dict.fromkeys(FIELDS, url)
    picture = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": f"{url}/a.png"}}]
    file = [{"type": "file", "file": {"file_url": url, "file_data": url}}]
    source = [{"type": "image", "source": {"type": "url", "url": f"{url}/a.png"}}, {"type": "text", "text": "hi"}]
    parts = [{"fileData": {"fileUri": f"{url}/a.png", "mimeType": "image/png"}}, {"text": "hi"}]
    chat, messages, gemini = "/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent"
    say = [{"role": "user", "content": "hi"}]
    return {
        "fields": (chat, {**everywhere, "model": "m", "messages": say}),
        "metadata": (chat, {"model": "m", "messages": say, "metadata": everywhere, "extra_body": everywhere}),
        "picture": (chat, {"model": "m", "messages": [{"role": "user", "content": picture}]}),
        "file": (chat, {"model": "m", "messages": [{"role": "user", "content": file}]}),
        "fields of messages": (messages, {**everywhere, "model": "m", "max_tokens": 9, "messages": say}),
        "picture of messages": (
            messages,
            {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": source}]},
        ),
        "picture of gemini": (gemini, {"contents": [{"role": "user", "parts": parts}]}),
    }


@pytest.mark.parametrize("name", bodies(""))
async def test_no_field_of_a_body_changes_where_we_connect(tmp_path: Path, name: str) -> None:
    """S10, S14: what is not ignored is refused, and no picture is fetched for anybody."""
    async with canary() as (url, visits), open_house(tmp_path) as house:
        path, body = bodies(url)[name]
        reply = await house.client.post(path, content=json.dumps(body))
        asked = list(house.upstream.log.requests)

    assert reply.status_code in {200, 400, 404, 422}  # the scripted upstream knows no Responses
    assert asked or reply.status_code == 400
    assert {request.path for request in asked} <= {"/v1/chat/completions", "/v1/responses"}
    assert {request.header("host") for request in asked} <= {house.upstream.url.removeprefix("http://")}
    assert visits == []


async def test_no_header_and_no_query_changes_where_we_connect(tmp_path: Path) -> None:
    """S10, S52: and none of them goes on to the upstream."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    async with canary() as (url, visits), open_house(tmp_path) as house:
        reply = await house.client.post(
            "/v1/chat/completions",
            content=json.dumps(body),
            headers=dict.fromkeys(HEADERS, url),
            params=dict.fromkeys(FIELDS, url),
        )
        (asked,) = house.upstream.log.requests
        foreign = await house.client.get("/v1/models", headers={"host": url.split("/")[2].replace("127", "evil")})

    assert reply.status_code == 200
    assert asked.query == ""
    assert not [value for _, value in asked.headers if url in value]
    assert foreign.status_code == 421
    assert visits == []


@pytest.mark.parametrize(
    "model", ["{url}/m", "//{place}/m", "m@{place}", "openai/{url}", "m?base_url={url}", "m#{url}"]
)
async def test_no_name_of_a_model_changes_where_we_connect(tmp_path: Path, model: str) -> None:
    """S10."""
    async with canary() as (url, visits), open_house(tmp_path) as house:
        name = model.format(url=url, place=url.split("/")[2])
        body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
        reply = await house.client.post("/v1/chat/completions", content=json.dumps(body))

    assert reply.status_code in {400, 404}
    assert visits == []
