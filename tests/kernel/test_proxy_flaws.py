"""Proxies that the transport cannot use: refused where they are configured, and never shown."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from trio.testing import MockClock

from turnout import Ask, Credential, Kernel, Metadata, Plugins, Secret, open_kernel, parse_config
from turnout._assemble import choose
from turnout.abc import ProxyJudge
from turnout.errors import ConfigError, PluginError
from turnout.testing import MemoryStore, ScriptedProvider, given
from turnout.testing._house import InTurn, NoTransport

TOML = """
[turnout]
selector = "in-turn"
store = "memory"
transport = "none"
[providers.scripted]
models = [{ name = "m" }]
[[providers.scripted.credentials]]
name = "first"
[[providers.scripted.credentials]]
name = "second"
"""
BAD, SOUND = 'proxy_url = "ftp://canary:canary@proxy"\n', 'proxy_url = "http://canary:canary@proxy"\n'
FLAW = "this transport knows http:// proxies only"


class Picky:
    """A transport that opens no connections, and would use proxies of one kind."""

    api: ClassVar[int] = 1
    raises: ClassVar[BaseException | None] = None

    @classmethod
    def proxy_flaw(cls, proxy: Secret) -> str:
        if cls.raises is not None:
            raise cls.raises
        return "" if proxy.reveal().startswith("http://") else FLAW

    def for_credential(self, credential: Credential) -> None:
        """None: scripted providers use no transport."""


class Unsaid:
    """One that does not say what it does with proxies."""

    api: ClassVar[int] = 1

    def for_credential(self, credential: Credential) -> None:
        """None, as above."""


def with_transport(kind: type, store: MemoryStore | None = None) -> Plugins:
    return Plugins.of(
        {
            "turnout.providers": {"scripted": given(ScriptedProvider())},
            "turnout.stores": {"memory": given(MemoryStore() if store is None else store)},
            "turnout.transports": {"none": kind},
            "turnout.selectors": {"in-turn": given(InTurn())},
        }
    )


def test_a_proxy_of_the_file_that_no_connection_could_use_is_refused_at_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        choose(parse_config(TOML + BAD), with_transport(Picky))

    (problem,) = caught.value.problems
    assert problem.startswith(f"turnout.toml:12:13: providers.scripted.credentials[1].proxy_url: {FLAW}")
    assert "canary" not in problem
    assert issubclass(Picky, ProxyJudge)


@pytest.mark.parametrize(("kind", "line"), [(Picky, SOUND), (Picky, ""), (Unsaid, ""), (NoTransport, BAD)])
def test_a_proxy_that_can_be_used_is_none_of_our_business(kind: type, line: str) -> None:
    assert choose(parse_config(TOML + line), with_transport(kind))


def test_a_proxy_is_refused_with_a_transport_that_may_never_look_at_it() -> None:
    """It would send the credential's secret past the proxy, and nothing would tell."""
    with pytest.raises(ConfigError, match="does not say that it can use proxies") as caught:
        choose(parse_config(TOML + SOUND), with_transport(Unsaid))

    assert "canary" not in str(caught.value)


def test_a_transport_that_fails_over_a_proxy_is_named_for_it() -> None:
    broken = type("Broken", (Picky,), {"raises": ZeroDivisionError("canary")})
    with pytest.raises(ConfigError, match=r"turnout\.transport: ") as caught:
        choose(parse_config(TOML + SOUND), with_transport(broken))

    assert "ZeroDivisionError" in str(caught.value)
    assert "canary" not in str(caught.value)


def proxied(url: str) -> Credential:
    return Credential(id="third", provider="scripted", proxy_url=Secret(url), metadata=Metadata({"note": "kept"}))


async def add(kernel: Kernel) -> None:
    await kernel.credentials.register(proxied("ftp://canary@proxy"))


async def reload(kernel: Kernel) -> None:
    await kernel.reload(parse_config(TOML + BAD))


@pytest.mark.parametrize("change", [add, reload])
async def test_a_running_kernel_refuses_such_a_proxy_and_stays_as_it_is(
    change: Callable[[Kernel], Any], autojump_clock: MockClock
) -> None:
    async with open_kernel(parse_config(TOML), plugins=with_transport(Picky)) as kernel:
        with pytest.raises(ConfigError, match=FLAW) as caught:
            await change(kernel)
        await kernel.credentials.register(proxied("http://canary@proxy"))

        assert "canary" not in str(caught.value)
        assert [one.id for one in kernel.credentials.list()] == ["first", "second", "third"]
        assert (await kernel.execute(Ask(model="m"))).decision.served_by


async def test_a_stored_credential_with_such_a_proxy_is_left_out_by_name(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    async with open_kernel(parse_config(TOML), plugins=with_transport(NoTransport, store)) as kernel:
        await add(kernel)
    async with open_kernel(parse_config(TOML), plugins=with_transport(Picky, store)) as kernel:
        assert [one.id for one in kernel.credentials.list()] == ["first", "second"]

    assert f"credential third: its proxy_url is unusable: {FLAW}; it is left out" in caplog.text
    assert "canary" not in caplog.text


async def test_what_a_transport_raises_over_a_proxy_is_its_own_fault(autojump_clock: MockClock) -> None:
    """H8."""
    broken = type("Broken", (Picky,), {"raises": ZeroDivisionError("canary")})
    async with open_kernel(parse_config(TOML), plugins=with_transport(broken)) as kernel:
        with pytest.raises(PluginError, match="none"):
            await add(kernel)
