"""Upstreams that lie, babble or send too much, through the whole house."""

import json
from pathlib import Path

import attrs
import pytest
import trio
from inside import House, data_of, error_code, open_house, verdicts, words_of
from processes import resident

from turnout_upstream import How, Play, Rule, Script, open_upstream, plays

pytestmark = pytest.mark.usefixtures("each_transport")  # rows of table B hold for both

TEXT = "Hello from the scripted upstream."
MIB = 1024 * 1024


def bad_first(play: Play) -> Script:
    return Script(rules=(Rule(key="sk-bad", always=play),))


def all_bad(play: Play) -> Script:
    return Script(default=play)


async def settled(house: House) -> None:
    """Until every connection of an attempt that failed is gone."""
    with trio.fail_after(20):
        await house.upstream.wait_for(lambda log: log.ended >= 1)


# --- Requests that may have been billed -------------------------------------------------------------------------------


@pytest.mark.parametrize("play", [plays.reset_after_request(), plays.reset_mid_head(), plays.close_after_request()])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_was_sent_and_not_answered_is_tried_once_more(
    tmp_path: Path, play: Play, stream: bool
) -> None:
    """B6, B7, B5."""
    async with open_house(tmp_path, bad_first(play)) as house:
        reply = await house.chat(stream=stream)
        keys = house.upstream.log.keys()

    assert reply.status_code == 200
    assert keys == ["sk-bad", "sk-good"]


async def test_with_retry_unsafe_off_a_request_that_was_sent_is_never_sent_again(tmp_path: Path) -> None:
    """B6 by setting."""
    more = "[retry]\nretry_unsafe = 0\n"
    async with open_house(tmp_path, bad_first(plays.reset_after_request()), more=more) as house:
        reply = await house.chat()
        keys = house.upstream.log.keys()

    assert (reply.status_code, keys) == (502, ["sk-bad"])


async def test_a_stall_before_the_headers_ends_at_the_header_limit(tmp_path: Path) -> None:
    """B8."""
    limits = {"headers": "800ms", "first_payload": "800ms"}
    async with open_house(tmp_path, bad_first(plays.stall_before_head()), deadlines=limits) as house:
        reply, streamed = await house.chat(), await house.chat(stream=True)
        await settled(house)

    assert (reply.status_code, streamed.status_code) == (200, 200)
    assert verdicts(reply) == [("bad", "TimedOut"), ("good", "Done")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stall_before_the_headers_everywhere_is_504(tmp_path: Path, stream: bool) -> None:
    """B8."""
    limits = {"headers": "300ms", "first_payload": "300ms"}
    async with open_house(tmp_path, all_bad(plays.stall_before_head()), deadlines=limits) as house:
        reply = await house.chat(stream=stream)

    assert (reply.status_code, error_code(reply)) == (504, "upstream_timeout")


# --- Nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["html", "json", "binary"])
async def test_garbage_instead_of_a_stream_fails_over(tmp_path: Path, kind: str) -> None:
    """B14."""
    async with open_house(tmp_path, bad_first(plays.garbage(kind))) as house:
        reply = await house.chat(stream=True)
        keys = house.upstream.log.keys()

    assert words_of(data_of(reply)) == TEXT
    assert keys == ["sk-bad", "sk-good"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["html", "binary"])
async def test_garbage_everywhere_is_502(tmp_path: Path, kind: str, stream: bool) -> None:
    """B14."""
    async with open_house(tmp_path, all_bad(plays.garbage(kind))) as house:
        reply = await house.chat(stream=stream)

    assert (reply.status_code, error_code(reply)) == (502, "upstream_protocol")
    assert "Welcome" not in reply.text


@pytest.mark.parametrize(
    "play",
    [
        plays.noisy(),
        plays.separators_inside(),
        plays.cr_only(),
        plays.coalesced(),
        attrs.evolve(plays.chat(), slices=7),
    ],
    ids=["noisy", "separators", "cr", "coalesced", "slices"],
)
async def test_an_odd_but_lawful_stream_goes_through_byte_for_byte(tmp_path: Path, play: Play) -> None:
    """B15."""
    async with open_house(tmp_path, all_bad(play), names=("only",)) as house:
        reply = await house.chat(stream=True)
        own = await house.client.post(f"{house.upstream.url}/v1/chat/completions", json={"model": "m", "stream": True})

    assert reply.status_code == 200
    assert reply.content == own.content


@pytest.mark.parametrize("count", [1, 8])
async def test_a_few_informational_responses_are_ignored(tmp_path: Path, count: int) -> None:
    """B18."""
    async with open_house(tmp_path, all_bad(plays.informational(103, count)), names=("only",)) as house:
        reply = await house.chat()

    assert reply.status_code == 200


@pytest.mark.parametrize(("status", "count"), [(103, 9), (103, 5000), (101, 1)])
async def test_a_flood_of_informational_responses_is_an_error(tmp_path: Path, status: int, count: int) -> None:
    """B18."""
    play = plays.informational(status, count)
    async with open_house(tmp_path, all_bad(play), names=("only",)) as house:
        reply = await house.chat()

    assert (reply.status_code, error_code(reply)) == (502, "upstream_protocol")


@pytest.mark.parametrize("code", [301, 302, 307, 308])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_redirect_is_never_followed(tmp_path: Path, code: int, stream: bool) -> None:
    """B19: the target sees nothing, not even a connection."""
    async with open_upstream() as target:
        async with open_house(tmp_path, all_bad(plays.redirect(f"{target.url}/v1", code)), names=("only",)) as house:
            reply = await house.chat(stream=stream)
        opened = target.log.opened

    assert (reply.status_code, error_code(reply)) == (502, "upstream_protocol")
    assert "location" not in reply.headers
    assert opened == 0


@pytest.mark.parametrize("play", [plays.gzipped(), plays.mislabelled()])
async def test_a_compressed_reply_is_decoded_or_refused(tmp_path: Path, play: Play) -> None:
    """B20."""
    async with open_house(tmp_path, all_bad(play), names=("only",)) as house:
        reply = await house.chat()
        asked = house.upstream.log.requests[0].header("accept-encoding")

    assert asked in {None, "identity"}
    assert reply.status_code in {200, 502}
    assert "choices" in json.loads(reply.text) or error_code(reply) == "upstream_protocol"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "told", "words"),
    [
        (400, 400, "the upstream refused the request"),
        (429, 429, "the upstream's rate limit is reached"),
        (500, 502, "the upstream failed"),
    ],
)
async def test_a_compressed_error_is_told_in_our_own_words(
    tmp_path: Path, code: int, told: int, words: str, stream: bool
) -> None:
    """B20: its status says enough, and none of its bytes reach a client."""
    more = "[retry]\npasses = 1\n"
    async with open_house(tmp_path, all_bad(plays.gzipped_error(code)), names=("only",), more=more) as house:
        reply = await house.chat(stream=stream)

    assert reply.status_code == told
    assert json.loads(reply.text)["error"]["message"] == words


# --- Too much --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("play", "stream", "growth"),
    [
        pytest.param(plays.endless_line(), True, 8 * MIB, id="B16"),
        pytest.param(plays.gzip_bomb(), False, 16 * MIB, id="B20"),
        pytest.param(attrs.evolve(plays.gzip_bomb(), status=500), False, 8 * MIB, id="B20-error"),
        pytest.param(attrs.evolve(plays.gzip_bomb(), status=400), True, 8 * MIB, id="B20-error-streamed"),
        pytest.param(plays.huge_error(500), False, 8 * MIB, id="B21"),
    ],
)
async def test_excess_is_cut_off_without_being_held(tmp_path: Path, play: Play, stream: bool, growth: int) -> None:
    """B16, B20, B21."""
    async with open_house(tmp_path, bad_first(play)) as house:
        await house.client.get("/v1/models")
        before = resident()
        reply = await house.chat(stream=stream)
        grown = resident() - before
        await settled(house)
        sent = house.upstream.log.endings[0].sent

    assert reply.status_code in {200, 502}
    assert grown < growth
    assert sent < 32 * MIB


async def test_an_error_body_that_drips_costs_two_seconds_at_most(tmp_path: Path) -> None:
    """B21."""
    async with open_house(tmp_path, bad_first(plays.dripping_error(500, every=0.5))) as house:
        with trio.fail_after(4):
            reply = await house.chat()

    assert reply.status_code == 200


@pytest.mark.parametrize("play", [plays.many_headers(1500), plays.many_headers(1, 100_000), plays.rude_headers()])
async def test_nothing_of_strange_headers_reaches_the_client(tmp_path: Path, play: Play) -> None:
    """B28."""
    async with open_house(tmp_path, all_bad(play), names=("only",)) as house:
        reply = await house.chat()

    assert reply.status_code in {200, 502}
    strange = {"set-cookie", "x-private", "proxy-authenticate", "x-filler-0", "server"}
    assert not strange & {name.lower() for name in reply.headers}


# --- Accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_credential_is_walked_around_and_rests(tmp_path: Path, status: int) -> None:
    """B23, B24."""
    async with open_house(tmp_path, bad_first(plays.status(status))) as house:
        first, second = await house.chat(), await house.chat()
        keys = house.upstream.log.keys()

    assert (first.status_code, second.status_code) == (200, 200)
    assert keys == ["sk-bad", "sk-good", "sk-good"]


async def test_an_upstreams_401_is_never_the_clients(tmp_path: Path) -> None:
    """B23."""
    async with open_house(tmp_path, all_bad(plays.status(401))) as house:
        reply = await house.chat()

    assert reply.status_code in {502, 503}


@pytest.mark.parametrize(
    "hint", ["3", "86400", "Wed, 21 Oct 2099 07:28:00 GMT", "-5", "soon", "1" + "0" * 30, "", "1e400", "nan"]
)
async def test_any_retry_after_is_survived_and_told_on_in_our_own_words(tmp_path: Path, hint: str) -> None:
    """B25."""
    more = "[retry]\npasses = 1\n"
    async with open_house(tmp_path, all_bad(plays.rate_limited(hint)), names=("only",), more=more) as house:
        first, second = await house.chat(), await house.chat()
        seen = house.upstream.log.seen

    assert (first.status_code, second.status_code) == (429, 429)
    assert 1 <= int(second.headers["retry-after"]) <= 86400
    assert seen == 1


@pytest.fixture(scope="module")
def large_body() -> bytes:
    """More than a connection takes that nobody reads; made outside a test, whose steps are watched."""
    return b'{"model":"m","pad":"' + b"x" * (16 * MIB) + b'"}'


async def test_a_reply_before_the_request_body_stops_the_upload(tmp_path: Path, large_body: bytes) -> None:
    """B31."""
    async with open_house(tmp_path, all_bad(plays.reply_before_body(413)), names=("only",)) as house:
        reply = await house.chat(body=large_body)
        await settled(house)
        received = house.upstream.log.endings[0].received

    assert reply.status_code == 413
    assert received < len(large_body)


async def test_a_connection_that_hangs_at_accept_does_not_hang_the_call(tmp_path: Path) -> None:
    limits = {"headers": "800ms", "first_payload": "800ms"}
    async with open_house(tmp_path, Script(connections=(How.STALL,)), deadlines=limits) as house:
        reply = await house.chat()

    assert reply.status_code == 200
