"""Credentials managed while the kernel runs."""

import logging
import math
import uuid
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from turnout import (
    Ask,
    Chunk,
    Credential,
    CredentialState,
    Kernel,
    Metadata,
    ModelMissing,
    RateLimited,
    Secret,
    Unreachable,
)
from turnout._events import CredentialRegistered, CredentialRemoved, CredentialUpdated, Event
from turnout._records import encode_credential
from turnout.errors import (
    ConfigError,
    InvalidAsk,
    NotSupported,
    PluginError,
    StoreError,
    UnknownCredential,
    UpstreamFailed,
)
from turnout.testing import MemoryStore, Script, ScriptedProvider, scripted_kernel
from turnout.testing._house import scripted_config

ASK = Ask(model="m")
TOML = '[retry]\nmax_wait = "0s"\n[providers.scripted]\nmodels = [{ name = "m" }]\n'
WITH_CREDENTIAL = f'{TOML}credentials = [{{ name = "a", api_key = "key-of-a-0123456789" }}]\n'


def credential(id: str = "a", **fields: object) -> Credential:
    return Credential(
        id=id,
        provider="scripted",
        api_key=Secret(f"key-of-{id}-0123456789"),
        metadata=Metadata({"note": "kept"}),
        **fields,  # type: ignore[arg-type]  # each test names its own
    )


async def test_a_registered_credential_serves_at_once_and_is_kept(autojump_clock: MockClock) -> None:
    """C3.2, C3.7: index, creation time and origin are the kernel's."""
    store = MemoryStore()
    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        taken = await kernel.credentials.register(credential())
        assert len(taken.index) == 16
        assert taken.origin == "https://upstream.test:443"
        assert taken.created_at is not None
        assert ("secret", "a") in store.records
        await kernel.execute(ASK)
        assert kernel.credentials.list() == (taken,)
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        again = kernel.credentials.get("a")
        assert again is not None
        assert again.api_key == taken.api_key


async def test_a_credential_without_an_id_gets_one(autojump_clock: MockClock) -> None:
    """C3.2.2."""
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        first = await kernel.credentials.register(credential(""))
        second = await kernel.credentials.register(credential(""))
        assert uuid.UUID(first.id) != uuid.UUID(second.id)


async def test_registering_again_carries_nothing_over_and_updating_keeps_the_state(autojump_clock: MockClock) -> None:
    """C3.2.3, C3.3.2, O22."""
    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        first = await kernel.credentials.register(credential())
        provider.script(Script(failure=RateLimited(retry_after=500)))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        updated = await kernel.credentials.update(attrs.evolve(first, label="new"))
        assert (updated.label, updated.index, updated.created_at) == ("new", first.index, first.created_at)
        assert kernel.credentials.state("a").models
        await kernel.credentials.register(first)
        assert not kernel.credentials.state("a").models
        await kernel.execute(ASK)


async def test_registering_again_makes_a_new_record_and_updating_carries_over_what_is_ours(
    autojump_clock: MockClock,
) -> None:
    """C3.2.3, C3.3.2: index and time of creation; everything else is what was given."""
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        first = await kernel.credentials.register(credential(label="first", last_refreshed_at=5.0))
        await trio.sleep(10)
        other = attrs.evolve(credential(), api_key=Secret("another-key-0123456789"))
        updated = await kernel.credentials.update(other)
        assert (updated.index, updated.created_at) == (first.index, first.created_at)
        assert (updated.label, updated.last_refreshed_at) == ("", None)
        again = await kernel.credentials.register(other)
        assert again.index not in {"", first.index}
        assert (again.created_at, again.updated_at) == (first.created_at + 10, first.created_at + 10)  # type: ignore[operator]  # it is set


class Lister(ScriptedProvider):
    """Its upstream says what each credential serves, once it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.away = 0
        self.word = "of"
        self.asked: list[str] = []

    async def models(self, credential: Credential, transport: object) -> list[str]:
        await trio.sleep(1)
        self.asked.append(credential.id)
        if self.away:
            self.away -= 1
            raise UpstreamFailed(Unreachable())
        return [f"{self.word}-{credential.id}"]


@pytest.mark.parametrize(("models", "warned"), [("", True), ('models = [{ name = "m" }]\n', False)])
async def test_a_provider_of_which_nobody_says_what_it_serves_is_told_at_the_start(
    models: str, warned: bool, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """As Azure, whose upstream lists no deployments: otherwise every model is unknown, and nothing says why."""
    config = f'[providers.scripted]\n{models}[[providers.scripted.credentials]]\napi_key = "key-of-a-0123456789"\n'
    async with scripted_kernel(config, {"scripted": ScriptedProvider()}):
        pass
    assert ("without [[providers.scripted.models]] it serves none" in caplog.text) is warned


async def test_a_newcomer_serves_what_its_upstream_lists(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """C3.8.1, C14.4 with O12: registered, switched on, or back from an upstream that did not answer at first."""
    caplog.set_level(logging.DEBUG, "turnout.listing")
    provider = Lister()
    async with scripted_kernel("[providers.scripted]\n", {"scripted": provider}) as kernel:
        await kernel.credentials.register(credential("a"))
        await kernel.credentials.register(credential("off", disabled=True))
        await trio.sleep(2)
        assert [model.name for model in kernel.models()] == ["of-a"]
        provider.away = 2
        await kernel.credentials.enable("off")
        await kernel.credentials.update(credential("a", label="known"))
        await trio.sleep(30)
        assert [model.name for model in kernel.models()] == ["of-a", "of-off"]
        assert provider.asked == ["a", "off", "off", "off"]
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
        assert told == [
            f"provider=scripted auth_file={id} serves what its upstream lists, models: 1" for id in ("a", "off")
        ]
        await kernel.execute(Ask(model="of-off"))


async def test_another_key_is_asked_what_it_serves_and_the_old_word_holds_until_then(
    autojump_clock: MockClock,
) -> None:
    """C3.2.3, C3.3, O12: nothing is lost meanwhile; another provider's word counts for nothing."""
    provider, other = Lister(), Lister()
    both = {"scripted": provider, "other": other}
    async with scripted_kernel("[providers.scripted]\n[providers.other]\n", both) as kernel:
        await kernel.credentials.register(credential("a"))
        await trio.sleep(2)
        provider.word = "new-of"
        await kernel.credentials.register(attrs.evolve(credential("a"), api_key=Secret("another-key-0123456789")))
        await kernel.credentials.update(attrs.evolve(credential("a"), api_key=Secret("a-third-key-0123456789")))
        assert [model.name for model in kernel.models()] == ["of-a"]
        await trio.sleep(10)
        assert [model.name for model in kernel.models()] == ["new-of-a"]
        await kernel.credentials.update(attrs.evolve(credential("a"), provider="other"))
        assert kernel.models() == ()
        await trio.sleep(2)
        assert [(model.name, model.providers) for model in kernel.models()] == [("of-a", ("other",))]


@pytest.mark.parametrize("renewal", ["another key", "registered again", "switched on again"])
async def test_who_comes_while_its_upstream_is_left_alone_is_asked_at_once(
    renewal: str, autojump_clock: MockClock
) -> None:
    """O12: the pause after failures of the old key is none of the new one's, and nobody goes on to ask with that."""
    provider = Lister()
    provider.away = 6
    async with scripted_kernel("[providers.scripted]\n", {"scripted": provider}) as kernel:
        await kernel.credentials.register(credential("a"))
        await trio.sleep(170)
        assert (provider.asked, provider.away) == (["a"] * 6, 0)  # and not again for the next 150 s
        if renewal == "another key":
            await kernel.credentials.update(attrs.evolve(credential("a"), api_key=Secret("another-key-0123456789")))
        elif renewal == "registered again":
            await kernel.credentials.remove("a")
            await kernel.credentials.register(credential("a"))
        else:
            await kernel.credentials.disable("a")
            await kernel.credentials.enable("a")
        await trio.sleep(2)
        assert [model.name for model in kernel.models()] == ["of-a"]
        await trio.sleep(900)
        assert provider.asked == ["a"] * 7


async def test_who_goes_before_its_upstream_has_said_what_it_serves_is_not_asked_about_again(
    autojump_clock: MockClock,
) -> None:
    """O18: and one that moves to another configuration is asked about by that one."""
    provider = Lister()
    provider.away = 10
    text = "[providers.scripted]\n"
    async with scripted_kernel(text, {"scripted": provider}) as kernel:
        await kernel.credentials.register(credential("a"))
        await trio.sleep(2)
        await kernel.credentials.remove("a")
        await trio.sleep(600)
        assert provider.asked == ["a"]
        await kernel.credentials.register(credential("b"))
        await trio.sleep(2)
        await kernel.reload(scripted_config(text.replace("[providers", "[retry]\npasses = 1\n[providers")))
        assert provider.asked == ["a", "b", "b"]
        provider.away = 0
        await trio.sleep(7)
        assert [model.name for model in kernel.models()] == ["of-b"]
        assert provider.asked == ["a", "b", "b", "b"]


async def test_an_unknown_credential_is_taken_in_by_an_update(autojump_clock: MockClock) -> None:
    """C3.3.2."""
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        await kernel.credentials.update(credential())
        await kernel.execute(ASK)


async def test_reset_forgets_cooldowns(autojump_clock: MockClock) -> None:
    """O22, design 18."""
    provider = ScriptedProvider()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(credential())
        provider.script(Script(failure=ModelMissing()))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        kernel.credentials.reset("a")
        await kernel.execute(ASK)


async def test_disabled_means_no_calls_until_enabled_whatever_outcomes_say(autojump_clock: MockClock) -> None:
    """O23: a late success of a stream does not switch it on again."""
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")] * 5, gap=1))
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(credential())
        async with kernel.stream(ASK) as stream:
            await anext(stream)
            await kernel.credentials.disable("a")
            async for _ in stream:
                pass
        listed = kernel.credentials.get("a")
        assert listed is not None
        assert listed.disabled
        assert kernel.models() == ()
        with pytest.raises(Exception, match="unknown model"):
            await kernel.execute(ASK)
        await kernel.credentials.enable("a")
        await kernel.execute(ASK)


async def test_a_credential_removed_while_a_stream_uses_it_ends_well_and_is_gone(autojump_clock: MockClock) -> None:
    """H3, O18: from the schedule, the catalogue and the store."""
    store = MemoryStore()
    provider = ScriptedProvider(Script(chunks=[Chunk(b"x")] * 5, gap=1))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(credential())
        async with kernel.stream(ASK) as stream:
            await anext(stream)
            await kernel.credentials.remove("a")
            assert len([chunk async for chunk in stream]) == 4
        assert kernel.credentials.list() == ()
        assert kernel.models() == ()
        assert store.records == {}


async def test_a_store_that_fails_is_told_and_the_change_is_in_force(autojump_clock: MockClock) -> None:
    """O20."""
    store = MemoryStore()
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store) as kernel:
        store.broken = "no space left on device"
        with pytest.raises(StoreError, match="not saved yet"):
            await kernel.credentials.register(credential())
        await kernel.execute(ASK)
        store.broken = ""
        await trio.sleep(10)
        assert ("secret", "a") in store.records


async def test_the_store_can_be_read_again_while_the_kernel_runs(autojump_clock: MockClock) -> None:
    """C3.4, O21: what was added is there, what was removed is gone, what is kept nowhere else stays.

    Sessions stay where they are, and rotations go on.
    """
    store = MemoryStore()
    text = TOML + 'credentials = [{ name = "file", api_key = "key-of-file-0123456789" }]\n'
    async with scripted_kernel(text, {"scripted": ScriptedProvider()}, store=store) as kernel:
        await kernel.credentials.register(credential("old"))
        session = Ask(model="m", affinity="s")
        assert (await kernel.execute(session)).decision.served_by == "file"
        await store.save("secret", "new", encode_credential(credential("new")), 0)
        await store.delete("secret", "old")
        await kernel.credentials.load()
        assert {one.id for one in kernel.credentials.list()} == {"file", "new"}
        assert (await kernel.execute(session)).decision.served_by == "file"
        assert (await kernel.execute(ASK)).decision.served_by == "new"
        store.broken = "the disk is gone"
        with pytest.raises(StoreError):
            await kernel.credentials.load()
        assert {one.id for one in kernel.credentials.list()} == {"file", "new"}
        await kernel.execute(ASK)


async def test_what_must_not_be_kept_is_not(autojump_clock: MockClock) -> None:
    """C3.7: no metadata, or runtime only."""
    store = MemoryStore()
    provider = ScriptedProvider(Script(failure=RateLimited(retry_after=50)))
    async with scripted_kernel(TOML, {"scripted": provider}, store=store) as kernel:
        await kernel.credentials.register(attrs.evolve(credential("bare"), metadata=None))
        await kernel.credentials.register(credential("fleeting", attributes={"runtime_only": " TRUE "}))
        await kernel.credentials.register(credential("once", attributes={"runtime_only": "1"}))
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
    assert set(store.records) == {("secret", "once"), ("state", "once"), ("state", "bare")}


async def test_observers_hear_of_registrations_updates_and_removals(autojump_clock: MockClock) -> None:
    """C2.7."""

    class Ear:
        api = 1
        heard: list[type[Event]] = []  # noqa: RUF012 # one instance

        async def hear(self, event: Event) -> None:
            self.heard.append(type(event))

    text = TOML + "[observers.ear]\n"
    async with scripted_kernel(text, {"scripted": ScriptedProvider()}, observers={"ear": Ear()}) as kernel:
        await kernel.credentials.register(credential())
        await kernel.credentials.update(credential())
        await kernel.credentials.remove("a")
        await trio.sleep(1)
        assert Ear.heard == [CredentialRegistered, CredentialUpdated, CredentialRemoved]


async def test_bad_arguments_are_named_and_change_nothing(autojump_clock: MockClock) -> None:
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        registry = kernel.credentials
        for argument, call in (
            ("credential", lambda: registry.register("a")),  # type: ignore[arg-type]  # that is the point
            ("credential.provider", lambda: registry.register(attrs.evolve(credential(), provider="nosuch"))),
            ("credential.id", lambda: registry.update(credential(""))),
            ("credential.id", lambda: registry.register(credential(" a"))),
        ):
            with pytest.raises(InvalidAsk) as caught:
                await call()  # type: ignore[no-untyped-call]  # lambdas
            assert caught.value.argument == argument
        with pytest.raises(UnknownCredential):
            await registry.remove("nobody")
        with pytest.raises(UnknownCredential):
            registry.reset("nobody")
        with pytest.raises(InvalidAsk):
            registry.get(3)  # type: ignore[arg-type]  # that is the point
        assert registry.list() == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_key", "a text"),
        ("proxy_url", "http://proxy.test"),
        ("disabled", "no"),
        ("prefix", None),
        ("label", 3),
        ("origin", 3),
        ("metadata", {"access_token": "x"}),
        ("metadata", Metadata({"access_token": object()})),
        ("attributes", {"priority": 5}),
        ("attributes", {5: "priority"}),
        ("created_at", "yesterday"),
        ("next_refresh_after", math.nan),
        ("next_refresh_after", math.inf),
        ("last_refreshed_at", True),
    ],
)
async def test_a_wrong_field_of_a_credential_is_named_and_nothing_changes(
    autojump_clock: MockClock, field: str, value: Any
) -> None:
    """C1.1."""
    store = MemoryStore()
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}, store=store) as kernel:
        for change in (kernel.credentials.register, kernel.credentials.update):
            with pytest.raises(InvalidAsk) as caught:
                await change(attrs.evolve(credential(), **{field: value}))
            assert caught.value.argument == f"credential.{field}"
        assert kernel.credentials.list() == ()
    assert store.records == {}


NO_ORIGINS = [
    ("https://a.example", "no port"),
    ("https://a.example:443/v1", "goes on after the port"),
    ("https://a.example:443/", "goes on after the port"),
    ("https://a.example:443?x=1", "goes on after the port"),
    ("https://user:hunter2@a.example:443", "a user or a password"),
    ("a.example:443", "not `scheme://host:port`"),
    ("https://:443", "not `scheme://host:port`"),
    ("https://a.example:99999", "not `scheme://host:port`"),
    ("https://a example:443", "not `scheme://host:port`"),
    ("", "not `scheme://host:port`"),
]
"""What a provider may give by mistake, and what is said of it."""


@pytest.mark.parametrize(("origin", "said"), NO_ORIGINS)
async def test_what_is_no_origin_is_told_at_the_start_with_the_name_of_the_provider(
    origin: str, said: str, autojump_clock: MockClock
) -> None:
    """S11: it is compared as a text, so each call of the credential failed, or its password was shown."""
    provider = ScriptedProvider(origin=origin or " ")

    told = f"credential a: provider 'scripted': `origin` gave no origin: .*{said}"
    with pytest.raises(ConfigError, match=told) as caught:
        async with scripted_kernel(WITH_CREDENTIAL, {"scripted": provider}):
            pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("origin", ["https://a.example:443", "http://127.0.0.1:8080", "http://[::1]:80", "grpc://a:1"])
async def test_an_origin_of_any_scheme_and_host_is_taken(origin: str, autojump_clock: MockClock) -> None:
    async with scripted_kernel(WITH_CREDENTIAL, {"scripted": ScriptedProvider(origin=origin)}) as kernel:
        (one,) = kernel.credentials.list()

    assert one.origin == origin


@pytest.mark.parametrize("dialects", ["openai.chat", ["openai.chat"], {"openai.chat"}, 3, frozenset({"OpenAI"})])
async def test_dialects_that_only_an_instance_has_are_judged_at_the_start(
    dialects: object, autojump_clock: MockClock
) -> None:
    provider = ScriptedProvider()
    provider.dialects = dialects  # type: ignore[assignment,misc] # it breaks its protocol

    with pytest.raises(PluginError, match=r"^provider 'scripted': `dialects` "):
        async with scripted_kernel(TOML, {"scripted": provider}):
            pass


async def test_a_credential_whose_origin_makes_no_sense_is_refused(autojump_clock: MockClock) -> None:
    class Picky(ScriptedProvider):
        def origin(self, credential: Credential) -> str:
            raise ValueError("not a URL: secret")

    async with scripted_kernel(TOML, {"scripted": Picky()}) as kernel:
        with pytest.raises(ConfigError, match="base_url") as caught:
            await kernel.credentials.register(credential())
        assert "secret" not in str(caught.value)
        assert kernel.credentials.list() == ()


class Signing(ScriptedProvider):
    """Puts keys on raw requests, as dictionaries here: the kernel does not look inside."""

    def __init__(self) -> None:
        super().__init__()
        self.closed_sessions: list[str] = []

    def prepare(self, request: dict[str, str], credential: Credential) -> None:
        if credential.api_key is not None:
            request["authorization"] = credential.api_key.reveal()

    async def send(self, request: dict[str, str], credential: Credential, transport: object) -> str:
        if "refuse" in request:
            raise UpstreamFailed(RateLimited(retry_after=60))
        self.prepare(request, credential)
        return f"sent with {request['authorization'][:8]}"

    async def close_session(self, session: str) -> None:
        self.closed_sessions.append(session)


async def raw(kernel: Kernel, id: str) -> dict[str, str]:
    request: dict[str, str] = {}
    kernel.credentials.prepare(request, id)  # type: ignore[arg-type]  # this provider signs dictionaries
    return request


async def test_raw_requests_are_prepared_sent_and_injected(autojump_clock: MockClock) -> None:
    """C13.2, C13.4, C13.5, C13.6."""
    provider = Signing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.register(credential())
        assert await raw(kernel, "a") == {"authorization": "key-of-a-0123456789"}
        assert await kernel.credentials.send({}, "a") == "sent with key-of-a"  # type: ignore[arg-type,comparison-overlap]
        assert kernel.credentials.inject({}, "a")  # type: ignore[arg-type]
        assert not kernel.credentials.inject({}, "nobody")  # type: ignore[arg-type]
        with pytest.raises(UpstreamFailed):
            await kernel.credentials.send({"refuse": ""}, "a")  # type: ignore[arg-type]
        assert kernel.credentials.state("a") == CredentialState()


async def test_raw_requests_that_are_none_are_told_or_left_alone(autojump_clock: MockClock) -> None:
    """C13.2, C13.4, C13.5: an unknown credential is told first; injecting is silent."""
    async with scripted_kernel(TOML, {"scripted": Signing()}) as kernel:
        await kernel.credentials.register(credential())
        with pytest.raises(UnknownCredential):
            kernel.credentials.prepare(None, "nobody")  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidAsk, match="http request is nil"):
            kernel.credentials.prepare(None, "a")  # type: ignore[arg-type]  # likewise
        with pytest.raises(InvalidAsk, match="http request is nil"):
            await kernel.credentials.send(None, "a")  # type: ignore[arg-type]  # likewise
        await kernel.credentials.register(credential("z", attributes={"compat_name": "elsewhere"}))
        with pytest.raises(InvalidAsk, match="http request is nil"):
            kernel.credentials.prepare(None, "z")  # type: ignore[arg-type]  # likewise
        with pytest.raises(NotSupported, match="executor not registered for provider: elsewhere"):
            await kernel.credentials.send({}, "z")  # type: ignore[arg-type]  # likewise
        assert not kernel.credentials.inject(None, "a")  # type: ignore[arg-type]  # likewise


async def test_a_provider_without_the_capability_says_so(autojump_clock: MockClock) -> None:
    """C13.2: `not_supported`."""
    async with scripted_kernel(TOML, {"scripted": ScriptedProvider()}) as kernel:
        await kernel.credentials.register(credential())
        with pytest.raises(NotSupported, match="does not support http request preparation"):
            await raw(kernel, "a")
        assert not kernel.credentials.inject({}, "a")  # type: ignore[arg-type]
        with pytest.raises(NotSupported, match="does not send raw requests"):
            await kernel.credentials.send({}, "a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attributes", "key"),
    [
        ({}, "scripted"),
        ({"provider_key": "ignored"}, "scripted"),
        ({"compat_name": "  ", "provider_key": "ignored"}, "scripted"),
        ({"compat_name": " OpenRouter "}, "openrouter"),
        ({"compat_name": "x", "provider_key": " Scripted "}, "scripted"),
        ({"compat_name": "X", "provider_key": " "}, "x"),
    ],
)
async def test_raw_requests_of_a_compatible_credential_go_by_the_provider_that_it_names(
    attributes: dict[str, str], key: str, autojump_clock: MockClock
) -> None:
    """C13.1; C13.2 and C6.1 for one that is not there."""
    async with scripted_kernel(TOML, {"scripted": Signing()}) as kernel:
        await kernel.credentials.register(attrs.evolve(credential(), attributes=attributes))
        if key == "scripted":
            assert await raw(kernel, "a") == {"authorization": "key-of-a-0123456789"}
            return
        with pytest.raises(NotSupported) as caught:
            await raw(kernel, "a")
        assert caught.value.code == "provider_not_found"
        assert str(caught.value) == f"executor not registered for provider: {key}"
        assert not kernel.credentials.inject({}, "a")  # type: ignore[arg-type]


async def test_closing_a_session_tells_every_provider_that_can(autojump_clock: MockClock) -> None:
    """C3.6.4, C2.2."""
    provider = Signing()
    async with scripted_kernel(TOML, {"scripted": provider}) as kernel:
        await kernel.credentials.close_session(" s1 ")
        await kernel.credentials.close_session("  ")
        assert provider.closed_sessions == ["s1"]
