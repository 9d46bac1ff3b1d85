"""The real kernel and the provider `openai` behind OAuth, with a strict token endpoint, all in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, Secret
from turnout._records import decode_credential
from turnout.abc import HasTokenOrigin, Refresher
from turnout.errors import NotSupported, TurnoutError, UpstreamFailed
from turnout.testing import MemoryStore, scripted_kernel
from turnout.testing._house import scripted_config
from turnout_oauth import OAuthSettings
from turnout_oauth.testing import TOKEN_URL, Answer, OAuthServer, OAuthTransport, told
from turnout_openai import OpenAI, OpenAISettings
from turnout_openai._provider import RenewingOpenAI

START = 1_800_000_000
TOKEN_ORIGIN = "http://127.0.0.1:9"
API_ORIGIN = "https://api.example.test:443"
REPLY = b'{"id":"1","choices":[{"message":{"content":"hi"}}]}'
ASK = Ask(model="m", dialect="openai.chat", payload=b'{"model":"m","messages":[]}')
TOML = '[providers.openai]\nmodels = [{ name = "m" }]\n'
OAUTH = OAuthSettings(token_url=TOKEN_URL, client_id="client", client_secret=Secret("s3cret-of-the-client"))


class Upstream(httpx.AsyncBaseTransport):
    """The API: takes the tokens that it is told are good.

    Attributes:
        seen: the `authorization` of each request.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.refused: set[str] = set()
        self.limited = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        assert request.url.host == "api.example.test"
        bearer = request.headers.get("authorization", "")
        self.seen.append(bearer)
        status = 401 if bearer in self.refused else 429 if self.limited else 200
        self.limited = max(0, self.limited - 1)
        return httpx.Response(status, stream=OneBody(REPLY))


class OneBody(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._left = body

    def __aiter__(self) -> "OneBody":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        body, self._left = self._left, b""
        return body


class Network:
    """A transport plugin in memory that binds each credential to its origin, like the real ones."""

    api = 1

    def __init__(self, server: OAuthServer, upstream: Upstream) -> None:
        self.asked: list[str] = []
        self._reached = {TOKEN_ORIGIN: OAuthTransport(server), API_ORIGIN: upstream}

    def for_credential(self, credential: Credential) -> httpx.AsyncBaseTransport:
        self.asked.append(credential.origin)
        return self._reached[credential.origin]


class World:
    """A kernel with one provider behind OAuth, and everything around it."""

    kernel: Kernel

    def __init__(self) -> None:
        self.server = OAuthServer()
        self.upstream = Upstream()
        self.network = Network(self.server, self.upstream)
        self.store = MemoryStore()
        self.oauth = OAUTH

    @asynccontextmanager
    async def open(self, toml: str = TOML) -> AsyncIterator[Kernel]:
        settings = OpenAISettings(base_url="https://api.example.test/v1", oauth=self.oauth)
        plugin = RenewingOpenAI(settings, now=lambda: START + trio.current_time())
        providers = {"openai": plugin}
        async with scripted_kernel(toml, providers, store=self.store, transports={"none": self.network}) as kernel:  # type: ignore[arg-type]  # any provider will do
            self.kernel = kernel
            yield kernel

    async def login(self, id: str, ends: float) -> None:
        """Somebody logged in; the access token ends so many seconds after the start."""
        self.server.issue(f"refresh-{id}")
        data = {"email": f"{id}@example.test", "access_token": f"at-{id}", "refresh_token": f"refresh-{id}"}
        metadata = Metadata({**data, "expires_at": START + ends})
        await self.kernel.credentials.register(Credential(id=id, provider="openai", metadata=metadata))

    def kept(self, id: str) -> Metadata:
        """What the store has of a credential."""
        metadata = decode_credential(self.store.records["secret", id].data).metadata
        assert metadata is not None
        return metadata


@pytest.fixture
def world() -> World:
    return World()


async def test_a_token_is_renewed_before_it_ends_and_kept_before_it_is_used(
    world: World, autojump_clock: MockClock
) -> None:
    """E4: the next call goes out with the new token, and the store has it by then."""
    async with world.open() as kernel:
        await world.login("a", 1000)
        await trio.sleep(1000)
        await kernel.execute(ASK)

        assert world.upstream.seen == ["Bearer at-1"]
        assert world.kept("a")["access_token"] == "at-1"
        assert {world.kept("a")["refresh_token"]} == world.server.live()
        assert len(world.server.forms) == 1
        assert world.server.reuses == 0


async def test_many_calls_that_meet_an_ended_token_make_one_request(world: World, autojump_clock: MockClock) -> None:
    """E3: 200 waiters get the new token; one that gives up harms nobody."""
    world.server.takes = 5
    served = 0

    async def call() -> None:
        nonlocal served
        await world.kernel.execute(ASK)
        served += 1

    async with world.open():
        await world.login("a", -10)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(call)
            with trio.move_on_after(1):
                await world.kernel.execute(ASK)

    assert served == 200
    assert len(world.server.forms) == 1
    assert set(world.upstream.seen) == {"Bearer at-1"}


async def test_a_spent_refresh_token_waits_for_a_person(world: World, autojump_clock: MockClock) -> None:
    """E7: the token is kept, nothing is tried again, and the reason is shown."""
    async with world.open() as kernel:
        await world.login("a", 400)
        world.server.answer(b"grant_type=refresh_token&refresh_token=refresh-a&client_id=client", {})
        world.server.client = ("client", "")
        world.server.answer(b"grant_type=refresh_token&refresh_token=refresh-a&client_id=client", {})
        world.server.client = ("client", "s3cret-of-the-client")
        asked = len(world.server.forms)
        await trio.sleep(80_000)

        state = kernel.credentials.state("a")
        assert len(world.server.forms) == asked + 1
        assert "refresh_token_reused" in state.needs_login
        assert "refresh-a" not in state.needs_login
        assert world.kept("a")["refresh_token"] == "refresh-a"


ILL: dict[str, Answer | Exception] = {
    "500": told(500, error="server_error"),
    "429": Answer(status=429, headers={"retry-after": "100000"}),
    "garbage": Answer(body=b"\x00\xff{"),
    "HTML": Answer(body=b"<html>Sign in</html>", headers={"content-type": "text/html"}),
    "a redirect": Answer(status=302, headers={"location": "http://elsewhere.test/"}),
    "no connection": httpx.ConnectError(""),
    "our client": told(401, error="invalid_client"),
}


@pytest.mark.parametrize("ill", ILL.values(), ids=ILL)
async def test_the_old_token_serves_to_its_end_while_the_endpoint_is_ill(
    world: World, ill: Answer | Exception, autojump_clock: MockClock
) -> None:
    """E8: tries grow rarer, nothing is deleted, and it recovers by itself."""
    world.server.instead = ill
    async with world.open() as kernel:
        await world.login("a", 1000)
        await trio.sleep(990)
        await kernel.execute(ASK)
        assert world.upstream.seen == ["Bearer at-a"]
        before = len(world.server.forms)
        assert 3 <= before <= 6, "30 s, 60 s, 120 s … since 300 s before its end"

        await trio.sleep(20)
        with pytest.raises(TurnoutError):
            await kernel.execute(ASK)
        assert world.upstream.seen == ["Bearer at-a"], "an ended token is not sent"
        await trio.sleep(86_400)
        assert len(world.server.forms) - before <= 24 * 4 / 3 + 8, "once an hour at the least often"
        assert world.kept("a")["refresh_token"] == "refresh-a"
        assert not kernel.credentials.state("a").needs_login

        world.server.instead = None
        await trio.sleep(3601)
        await kernel.execute(ASK)
        assert world.upstream.seen[-1] == f"Bearer {world.kept('a')['access_token']}" != "Bearer at-a"
        assert world.server.reuses == 0


@pytest.mark.parametrize("takes", [40.0, 1e9])
async def test_a_slow_endpoint_is_given_up(world: World, takes: float, autojump_clock: MockClock) -> None:
    """E8: and the token in use stays."""
    world.server.takes = takes
    async with world.open() as kernel:
        await world.login("a", 1000)
        await trio.sleep(900)
        await kernel.execute(ASK)
        assert world.upstream.seen == ["Bearer at-a"]
        assert world.server.at_once <= 1


@pytest.mark.parametrize("expires_in", [0, -1, "0", 1, None, 10**12], ids=repr)
async def test_no_lifetime_makes_a_storm(world: World, expires_in: object, autojump_clock: MockClock) -> None:
    """E9: at most one refresh in 30 s, and rarer while they gain nothing."""
    world.server.expires_in = expires_in
    async with world.open() as kernel:
        await world.login("a", 10)
        await trio.sleep(3595)
        await kernel.execute(ASK)
        assert 1 <= len(world.server.forms) <= 3600 / 30
        assert world.server.reuses == 0
        assert world.kept("a")["refresh_token"] in world.server.live()


async def test_what_calls_record_during_a_refresh_leaves_the_secret_alone(
    world: World, autojump_clock: MockClock
) -> None:
    """E12: a cooldown is written to another record."""
    world.server.takes = 20
    async with world.open() as kernel:
        await world.login("a", 290)
        await trio.sleep(5)
        assert world.server.at_once == 1
        version = world.store.records["secret", "a"].version
        world.upstream.limited = 9
        with pytest.raises(TurnoutError):
            await kernel.execute(attrs.evolve(ASK, deadline=2))
        await trio.sleep(5)

        assert world.store.records["secret", "a"].version == version
        assert ("state", "a") in world.store.records
        await trio.sleep(30)
        assert world.store.records["secret", "a"].version == version + 1
        assert world.kept("a")["access_token"] == "at-1"
        assert kernel.credentials.state("a").models["m"].quota.exceeded


async def test_a_refresh_under_way_is_finished_and_kept_before_the_end(world: World, autojump_clock: MockClock) -> None:
    """H6: the old token is spent already."""
    world.server.takes = 8
    async with world.open():
        await world.login("a", 200)
        await trio.sleep(1)
        assert world.server.at_once == 1

    assert {world.kept("a")["refresh_token"]} == world.server.live()
    assert world.kept("a")["access_token"] == "at-1"


async def test_a_refused_token_is_renewed_once_and_the_call_goes_on(world: World, autojump_clock: MockClock) -> None:
    """O48: a 401 of the API is no word about the refresh token."""
    world.upstream.refused = {"Bearer at-a"}
    async with world.open() as kernel:
        await world.login("a", 10_000)
        await kernel.execute(ASK)

    assert world.upstream.seen == ["Bearer at-a", "Bearer at-1"]
    assert len(world.server.forms) == 1


async def test_a_credential_without_a_token_gets_one_as_the_client(world: World, autojump_clock: MockClock) -> None:
    """RFC 6749, 4.4: nothing in the file but that it is there."""
    async with world.open() as kernel:
        await kernel.credentials.register(Credential(id="a", provider="openai"))
        await trio.sleep(1)
        await kernel.execute(ASK)
        assert world.upstream.seen == ["Bearer at-1"]
        assert world.server.forms[0]["grant_type"] == "client_credentials"
        assert world.kept("a")["access_token"] == "at-1"


async def test_a_key_beside_them_is_sent_as_it_is(world: World, autojump_clock: MockClock) -> None:
    """A refused key is benched like any other: nobody tries to renew it."""
    async with world.open() as kernel:
        key = Credential(id="k", provider="openai", api_key=Secret("sk-0123456789"))
        await kernel.credentials.register(key)
        await trio.sleep(7200)
        await kernel.execute(ASK)
        world.upstream.refused = {"Bearer sk-0123456789"}
        with pytest.raises(TurnoutError):
            await kernel.execute(attrs.evolve(ASK, deadline=2))
        await trio.sleep(7200)

    assert set(world.upstream.seen) == {"Bearer sk-0123456789"}
    assert world.server.forms == []


async def test_tokens_are_asked_for_where_they_are_given_and_calls_go_where_they_serve(
    world: World, autojump_clock: MockClock
) -> None:
    """S11: the transport of a refresh is bound to the token endpoint, that of a call never is."""
    async with world.open() as kernel:
        await world.login("a", 1000)
        await kernel.execute(ASK)
        await trio.sleep(1000)
        await kernel.execute(ASK)

    assert world.network.asked == [API_ORIGIN, TOKEN_ORIGIN, API_ORIGIN]
    assert not any(
        "authorization" in headers and "Bearer" in headers["authorization"] for headers in world.server.headers
    )


def with_login(token: str, note: str = "") -> str:
    """A configuration whose one credential somebody logged in by hand."""
    return f"""{TOML}[[providers.openai.credentials]]
name = "f"
metadata = {{ refresh_token = "{token}", note = "{note}" }}
"""


async def test_a_login_in_the_file_goes_on_over_restarts_and_reloads(world: World, autojump_clock: MockClock) -> None:
    """E9, E7: the token in the file is spent by then; a new login in the file is what counts."""
    world.server.issue("refresh-1")
    world.server.issue("refresh-2")
    for lap in range(3):
        async with world.open(with_login("refresh-1")) as kernel:
            await trio.sleep(10_000)
            await kernel.reload(scripted_config(with_login("refresh-1") + "[affinity]\nentries = 5\n"))
            await trio.sleep(10_000)
            assert world.kept("f")["refresh_token"] in world.server.live(), lap
            await kernel.execute(ASK)
    assert world.server.reuses == 0

    async with world.open(with_login("refresh-1", "edited")) as kernel:
        await kernel.credentials.refresh("f")
        assert world.kept("f")["note"] == "edited"
    assert world.server.reuses == 0
    async with world.open(with_login("refresh-2")) as kernel:
        await kernel.credentials.refresh("f")
        assert world.server.forms[-1]["refresh_token"] == "refresh-2"
    assert world.kept("f")["refresh_token"] in world.server.live()


async def test_a_login_that_the_file_names_while_the_one_before_is_renewed_is_the_one_that_counts(
    world: World, autojump_clock: MockClock
) -> None:
    """E7, E9: it is not given the tokens of the other."""
    world.server.issue("refresh-1")
    world.server.issue("refresh-2")
    async with world.open(with_login("refresh-1")) as kernel, trio.open_nursery() as nursery:
        await trio.sleep(100)
        world.server.takes = 5
        nursery.start_soon(kernel.credentials.refresh, "f")
        await trio.sleep(2)
        assert world.server.at_once == 1
        await kernel.reload(scripted_config(with_login("refresh-2")))
        await trio.sleep(60)
        await kernel.credentials.refresh("f")
        assert "refresh-2" not in world.server.live()
        assert world.kept("f")["refresh_token"].startswith("refresh-2.")
    assert world.server.reuses == 0


async def test_an_operator_may_renew_at_once(world: World, autojump_clock: MockClock) -> None:
    """E10: not while it is disabled; and a reason for failing is told."""
    async with world.open() as kernel:
        await world.login("a", 100_000)
        renewed = await kernel.credentials.refresh("a")
        assert renewed.metadata is not None
        assert renewed.metadata["access_token"] == world.kept("a")["access_token"] == "at-1"

        world.server.instead = told(503)
        with pytest.raises(UpstreamFailed, match="503"):
            await kernel.credentials.refresh("a")
        await kernel.credentials.disable("a")
        with pytest.raises(NotSupported, match="disabled"):
            await kernel.credentials.refresh("a")


async def test_a_provider_that_renews_nothing_says_so(autojump_clock: MockClock) -> None:
    plain = OpenAI(OpenAISettings(base_url="https://api.example.test/v1"), now=lambda: 0.0)
    async with scripted_kernel(TOML, {"openai": plain}) as kernel:  # type: ignore[dict-item]  # any provider will do
        await kernel.credentials.register(Credential(id="k", provider="openai", api_key=Secret("sk-0123456789")))
        with pytest.raises(NotSupported, match="cannot renew"):
            await kernel.credentials.refresh("k")


def test_only_a_provider_behind_oauth_is_a_refresher() -> None:
    """A plain key's 401 must not ask for a refresh that nobody can do."""
    plain = OpenAI(OpenAISettings(), now=lambda: 0.0)
    renewing = RenewingOpenAI(OpenAISettings(oauth=OAUTH), now=lambda: 0.0)

    assert not isinstance(plain, Refresher)
    assert isinstance(renewing, Refresher)
    assert isinstance(renewing, HasTokenOrigin)
    assert renewing.refresh_lead(Credential(id="a", provider="p")) == 300
