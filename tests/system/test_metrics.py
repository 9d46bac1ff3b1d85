"""What Prometheus would scrape from a whole house, over sockets."""

from pathlib import Path

import httpx
import trio
from inside import House, open_house

import turnout_prometheus  # noqa: F401  # not within a test
from turnout_upstream import Rule, Script, plays

CALLS = 'turnout_calls_total{model="m",operation="generate",process="'


async def scraped(house: House, line: str) -> str:
    """The page, as soon as it has such a line: what is told is counted a moment later."""
    while True:
        page = await house.client.get("/metrics")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        if line in page.text:
            return page.text
        await trio.sleep(0.005)


async def test_calls_and_attempts_of_a_gateway_can_be_scraped(tmp_path: Path) -> None:
    """S43: with a client's key, on the listener of the clients."""
    script = Script(rules=(Rule(key="sk-bad", always=plays.rate_limited(60)),))
    async with open_house(tmp_path, script, more="[observers.prometheus]") as house:
        await house.chat()
        await house.chat(stream=True)
        text = await scraped(house, ',verdict="done"} 2.0')  # told last: a stream's attempt ends with it
        without = await house.client.get("/metrics", headers={"authorization": "Bearer wrong"})
    lines = [line for line in text.splitlines() if line.startswith((CALLS, "turnout_attempts_total{"))]
    ends = sorted(line.split("process=")[1].split(",", 1)[1] for line in lines)
    assert ends == [
        'provider="openai",verdict="done"} 2.0',
        'provider="openai",verdict="rate_limited"} 1.0',
        'result="ok",stream="false"} 1.0',
        'result="ok",stream="true"} 1.0',
    ]
    assert "process_cpu_seconds_total{" in text
    assert without.status_code == httpx.codes.UNAUTHORIZED
