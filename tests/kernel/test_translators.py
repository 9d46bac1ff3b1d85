"""Asks in a dialect that only some providers speak, and others translate."""

from typing import ClassVar

import pytest

from turnout import Ask, CountUnsupported, Inexpressible, Kernel, RateLimited
from turnout.errors import CoolingDown, NotSupported, UnknownModel, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel


class Native(ScriptedProvider):
    """Speaks what clients say."""

    dialects: ClassVar[frozenset[str]] = frozenset({"theirs"})


class Translating(ScriptedProvider):
    """Speaks something else, and translates."""

    dialects: ClassVar[frozenset[str]] = frozenset({"ours"})
    translated: ClassVar[frozenset[str]] = frozenset({"theirs"})


ASK = Ask(model="m", dialect="theirs", payload=b"{}")
UNSAID = Script(failure=Inexpressible(message="stop cannot be translated"))
AT_ONCE = '[retry]\nmax_wait = "0s"\n'


def toml(*credentials: tuple[str, str], more: str = "") -> str:
    keys = "".join(
        f'[[providers.{provider}.credentials]]\nname = "{name}"\napi_key = "key-of-{name}-0123456789"\n'
        for provider, name in credentials
    )
    models = "".join(f'[[providers.{key}.models]]\nname = "m"\n' for key in sorted({key for key, _ in credentials}))
    return more + models + keys


POOL = (("native", "n1"), ("native", "n2"), ("another", "t1"), ("another", "t2"))


async def run(kernel: Kernel, mode: str, ask: Ask = ASK) -> None:
    if mode == "execute":
        await kernel.execute(ask)
        return
    async with kernel.stream(ask) as stream:
        async for _ in stream:
            pass


BOTH = pytest.mark.parametrize("mode", ["execute", "stream"])


async def test_those_that_translate_take_turns_with_those_that_speak() -> None:
    """C5.10: both are candidates; a priority is how an operator prefers one kind."""
    native, translating = Native(), Translating()
    async with scripted_kernel(toml(*POOL), {"native": native, "another": translating}) as kernel:
        for _ in range(4):
            await kernel.execute(ASK)

    assert native.called() == ["n1", "n2"]
    assert translating.called() == ["t1", "t2"]


async def test_fill_first_takes_those_that_speak_before_those_that_translate() -> None:
    """C5.10.4: whatever the order of the tables in the file."""
    native, translating = Native(), Translating()
    config = toml(*POOL, more='[turnout]\nselector = "in-order"\n')
    async with scripted_kernel(config, {"another": translating, "native": native}) as kernel:
        for _ in range(3):
            await kernel.execute(ASK)

    assert native.called() == ["n1", "n1", "n1"]
    assert translating.called() == []


@BOTH
async def test_what_one_upstream_cannot_say_is_said_by_another(mode: str) -> None:
    """C6.3.4: the provider's second credential is not asked in vain, and nobody is benched."""
    native, translating = Native(), Translating(UNSAID)
    config = toml(*POOL, more='[turnout]\nselector = "in-order"\n')
    native.script(Script(failure=RateLimited()), credential="n1")
    async with scripted_kernel(config, {"native": native, "another": translating}) as kernel:
        await run(kernel, mode, ASK)
        assert (native.called(), translating.called()) == (["n1", "n2"], [])
        native.script(Script(failure=RateLimited()), credential="n2")
        with pytest.raises(UpstreamFailed) as caught:
            await run(kernel, mode, Ask(model="m", dialect="theirs", deadline=0.5))
        assert kernel.models()[0].ready == 2

    assert caught.value.verdict == RateLimited()
    assert translating.called() == ["t1"]


@BOTH
async def test_what_nobody_can_say_is_told(mode: str) -> None:
    """C6.3.4, C10.4."""
    translating = Translating(UNSAID)
    config = toml(("another", "t1"), ("another", "t2"))
    async with scripted_kernel(config, {"another": translating}) as kernel:
        with pytest.raises(UpstreamFailed) as caught:
            await run(kernel, mode)
        assert kernel.models()[0].ready == 2

    assert isinstance(caught.value.verdict, Inexpressible)
    assert translating.called() == ["t1"]


async def test_a_provider_that_could_say_it_and_cools_is_worth_another_try() -> None:
    """C6.2: not the client's mistake, as another credential of the pool could serve it later."""
    native, translating = Native(), Translating(UNSAID)
    native.script(Script(failure=RateLimited(retry_after=900)))
    config = toml(("native", "n1"), ("another", "t1"), more=AT_ONCE + "[health]\nkeep_last = false\n")
    async with scripted_kernel(config, {"native": native, "another": translating}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(ASK)
        with pytest.raises(CoolingDown) as caught:
            await kernel.execute(ASK)

    assert caught.value.provider == "native"


async def test_a_count_that_one_upstream_lacks_does_not_hide_why_another_failed() -> None:
    """O41."""
    native, translating = Native(Script(failure=RateLimited())), Translating(Script(failure=CountUnsupported()))
    config = toml(("native", "n1"), ("another", "t1"), more='[turnout]\nselector = "in-order"\n' + AT_ONCE)
    async with scripted_kernel(config, {"native": native, "another": translating}) as kernel:
        with pytest.raises(UpstreamFailed) as caught:
            await kernel.count(ASK)

    assert caught.value.verdict == RateLimited()


async def test_a_served_model_in_a_dialect_that_nobody_takes_is_not_supported() -> None:
    """C17.1: the model is known, so it is not called unknown."""
    async with scripted_kernel(toml(("another", "t1")), {"another": Translating()}) as kernel:
        with pytest.raises(NotSupported):
            await kernel.execute(Ask(model="m", dialect="nobodys"))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="unknown", dialect="nobodys"))


async def test_an_embedding_that_no_provider_offers_is_not_supported() -> None:
    class NoEmbeddings(ScriptedProvider):
        embed = None  # type: ignore[assignment]

    async with scripted_kernel(toml(("another", "t1")), {"another": NoEmbeddings()}) as kernel:
        with pytest.raises(UpstreamFailed) as caught:
            await kernel.embed(Ask(model="m"))

    assert isinstance(caught.value.verdict, Inexpressible)
