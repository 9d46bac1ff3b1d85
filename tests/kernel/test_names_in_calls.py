"""Names from a client's request to the upstream and back into the records, through a whole kernel."""

import gc
import random
import weakref
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Call, Credential, Model, RateLimited, Reply, Secret, Transient
from turnout._alias_tables import Channel
from turnout._names import parse
from turnout.errors import CoolingDown, PoolError, UnknownModel, UpstreamFailed
from turnout.testing import Script, ScriptedProvider, scripted_kernel
from turnout.testing._backdoor import record

LIMITED = Script(failure=RateLimited(retry_after=60))
LATER = Script(failure=RateLimited(retry_after=90))

POOL = """
[retry]
passes = 1
[[providers.scripted.models]]
name = "x"
alias = "fast"
[[providers.scripted.models]]
name = "y(low)"
alias = "fast"
[[providers.scripted.models]]
name = "plain"
[[providers.scripted.credentials]]
name = "a"
api_key = "key-a-0123456789"
"""


def sent(provider: ScriptedProvider) -> list[str]:
    models = [call.model for call in provider.calls]
    provider.calls.clear()
    return models


async def test_a_pools_members_take_turns_and_only_calls_count(autojump_clock: MockClock) -> None:
    """C7.4, C7.8 with O29: suffixes share the turns."""
    provider = ScriptedProvider()
    async with scripted_kernel(POOL, {"scripted": provider}) as kernel:
        for model in ("fast", "fast(high)", "FAST", "fast"):
            if model == "FAST":  # names that clients ask for compare exactly (O6)
                with pytest.raises(UnknownModel):
                    await kernel.execute(Ask(model=model))
            else:
                await kernel.execute(Ask(model=model))

    assert sent(provider) == ["x", "y(low)", "x"]


async def test_the_turns_of_a_pool_go_with_its_credential(autojump_clock: MockClock) -> None:
    """O18: whoever comes again under an id that was removed begins with the first member."""
    provider = ScriptedProvider()
    async with scripted_kernel(POOL, {"scripted": provider}) as kernel:
        again = kernel.credentials.get("a")
        assert again is not None
        await kernel.execute(Ask(model="fast"))
        await kernel.credentials.remove("a")
        await kernel.credentials.register(again)
        await kernel.execute(Ask(model="fast"))
        await kernel.credentials.update(again)
        await kernel.execute(Ask(model="fast"))

    assert sent(provider) == ["x", "x", "y(low)"]


async def test_a_cooling_member_is_left_out_and_the_pool_goes_on(autojump_clock: MockClock) -> None:
    """C7.10, O28: the credential cools for the alias only when all its members do; the earliest one decides."""
    provider = ScriptedProvider()
    async with scripted_kernel(POOL, {"scripted": provider}) as kernel:
        provider.script(LIMITED)
        await kernel.execute(Ask(model="fast"))
        assert sent(provider) == ["x", "y(low)"]

        await kernel.execute(Ask(model="fast"))
        await kernel.execute(Ask(model="fast"))
        assert sent(provider) == ["y(low)", "y(low)"]

        provider.script(LATER)
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="fast"))
        with pytest.raises(CoolingDown) as caught:
            await kernel.execute(Ask(model="fast(high)"))
        assert sent(provider) == ["y(low)"]

        state = kernel.credentials.state("a")
        assert set(state.models) == {"x", "y"}
        assert caught.value.until == state.models["x"].next_retry_after
        assert caught.value.model == "fast(high)"

        await kernel.execute(Ask(model="plain"))
        assert sent(provider) == ["plain"]


async def test_a_model_cools_under_every_suffix_and_alias(autojump_clock: MockClock) -> None:
    """C7.9, O27: recorded and checked under the upstream base name."""
    provider = ScriptedProvider(LIMITED)
    async with scripted_kernel(POOL, {"scripted": provider}) as kernel:
        with pytest.raises(UpstreamFailed):
            await kernel.execute(Ask(model="plain(high)"))
        for model in ("plain", "plain(low)", "plain(high)"):
            with pytest.raises(CoolingDown):
                await kernel.execute(Ask(model=model))

        assert set(kernel.credentials.state("a").models) == {"plain"}
    assert sent(provider) == ["plain(high)"]


PREFIXED = """
[turnout]
force_model_prefix = {force}
[[providers.scripted.models]]
name = "m"
[[providers.scripted.models]]
name = "hidden-preview"
[[providers.scripted.credentials]]
name = "a"
api_key = "key-a-0123456789"
prefix = "team"
[providers.scripted]
excluded_models = ["*-preview"]
"""


@pytest.mark.parametrize("force", [False, True])
async def test_a_prefix_is_a_name_space_and_is_never_sent(autojump_clock: MockClock, force: bool) -> None:
    """C7.3, C16.8, C15: with `force_model_prefix` plain names are not served; excluded ones never."""
    provider = ScriptedProvider()
    async with scripted_kernel(PREFIXED.format(force=str(force).lower()), {"scripted": provider}) as kernel:
        await kernel.execute(Ask(model="team/m(high)"))
        assert sent(provider) == ["m(high)"]

        names = ["team/m"] if force else ["m", "team/m"]
        assert list(kernel.models()) == [Model(name=name, providers=("scripted",), ready=1) for name in names]
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="team/hidden-preview"))
        if force:
            with pytest.raises(UnknownModel):
                await kernel.execute(Ask(model="m"))
        else:
            await kernel.execute(Ask(model="m"))
            assert sent(provider) == ["m"]


ALIASED = """
[[oauth_aliases.letters]]
name = "m"
alias = "nice"
fork = true
[[oauth_aliases.letters]]
name = "n"
alias = "plain"
[[providers.scripted.models]]
name = "m"
[[providers.scripted.models]]
name = "n"
[[providers.scripted.credentials]]
name = "a"
api_key = "key-a-0123456789"
"""


async def test_an_oauth_alias_is_announced_and_resolved(autojump_clock: MockClock) -> None:
    """C7.5, C16.8: a fork keeps the original name, otherwise the alias stands in for it."""

    class Lettered(ScriptedProvider):
        channel = Channel("letters", keys=True)

    provider = Lettered()
    async with scripted_kernel(ALIASED, {"scripted": provider}) as kernel:
        assert [model.name for model in kernel.models()] == ["m", "nice", "plain"]
        await kernel.execute(Ask(model="nice(high)"))
        await kernel.execute(Ask(model="plain"))
        await kernel.execute(Ask(model="m"))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="n"))

        assert sent(provider) == ["m(high)", "n", "m"]


async def test_a_removed_credential_is_really_gone(autojump_clock: MockClock) -> None:
    """O18: its tables go with it, and so do its secrets."""
    provider = ScriptedProvider()
    async with scripted_kernel(POOL, {"scripted": provider}) as kernel:
        await kernel.credentials.register(Credential(id="late", provider="scripted", api_key=Secret("key-late")))
        await kernel.execute(Ask(model="fast", pin="late"))
        gone = weakref.ref(kernel.credentials.get("late"))
        provider.calls.clear()
        await kernel.credentials.remove("late")
        await kernel.execute(Ask(model="fast"))
        gc.collect()

        assert gone() is None
        assert [call.credential.id for call in provider.calls] == ["a"]


AUTO = """
[retry]
passes = 1
[[providers.one.models]]
name = "big"
alias = "auto"
[[providers.one.models]]
name = "small(low)"
alias = "auto"
[[providers.one.credentials]]
name = "a"
api_key = "key-a-0123456789"
[[providers.two.models]]
name = "other"
[[providers.two.credentials]]
name = "b"
api_key = "key-b-0123456789"
"""


async def test_auto_stands_for_the_models_that_the_operator_says_and_for_none_without(
    autojump_clock: MockClock,
) -> None:
    """C17.1, in place of "the newest": which one that is nobody can tell; with a suffix as well, and only for those."""
    one, two = ScriptedProvider(), ScriptedProvider()
    async with scripted_kernel(AUTO, {"one": one, "two": two}) as kernel:
        await kernel.execute(Ask(model="auto"))
        await kernel.execute(Ask(model="auto(high)"))
        await kernel.execute(Ask(model="auto(high)"))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="auto2"))

    assert sent(one) == ["big", "small(low)", "big(high)"]
    assert not two.calls

    plain = AUTO.replace('alias = "auto"\n', "")
    async with scripted_kernel(plain, {"one": one, "two": two}) as kernel:
        with pytest.raises(UnknownModel) as caught:
            await kernel.execute(Ask(model="auto"))
    assert caught.value.served == ("big", "other", "small")


SUFFIXED = """
[retry]
passes = {passes}
[[providers.scripted.models]]
name = "x"
alias = "fast"
{y}
[[providers.scripted.models]]
name = "z"
alias = "fast(high)"
[[providers.scripted.credentials]]
name = "a"
api_key = "key-a-0123456789"
"""

Y = """
[[providers.scripted.models]]
name = "y"
alias = "fast"
"""


@pytest.mark.parametrize("pin", [None, "a"])
@pytest.mark.parametrize("y", ["", Y], ids=["one plain member", "two plain members"])
async def test_a_member_behind_an_alias_with_a_suffix_hides_no_cooldown(
    autojump_clock: MockClock, y: str, pin: str | None
) -> None:
    """C7.7.2, C7.10, O15, O16, O51: who may serve `fast(high)` says nothing about `fast`, which tells its own time."""
    provider = ScriptedProvider()
    async with scripted_kernel(SUFFIXED.format(y=y, passes=1), {"scripted": provider}) as kernel:
        provider.script(LATER, *([LIMITED] if y else []))
        with pytest.raises(UpstreamFailed) as failed:
            await kernel.execute(Ask(model="fast", pin=pin))
        called = sent(provider)
        with pytest.raises(CoolingDown) as caught:
            await kernel.execute(Ask(model="fast", pin=pin, id="again"))
        times = [one.next_retry_after for one in kernel.credentials.state("a").models.values()]
        decision = kernel.explain("again")
        assert not provider.calls

        await kernel.execute(Ask(model="fast(high)"))

    assert called == (["x", "y"] if y else ["x"])
    assert sent(provider) == ["z(high)"]
    assert caught.value.until == failed.value.until == min(time for time in times if time is not None)
    assert decision is not None
    assert [id for id, why in decision.skipped if "rate limited until" in why] == ["a"]


async def test_a_cooldown_that_an_alias_with_a_suffix_hid_is_waited_for(autojump_clock: MockClock) -> None:
    """C8.5, O39: the next pass begins when the first of the plain members is back."""
    provider = ScriptedProvider()
    provider.script(*(Script(failure=RateLimited(retry_after=seconds)) for seconds in (20, 9)))
    async with scripted_kernel(SUFFIXED.format(y=Y, passes=2), {"scripted": provider}) as kernel:
        answer = await kernel.execute(Ask(model="fast"))

    assert sent(provider) == ["x", "y", "y"]
    assert 9 <= answer.decision.waited < 11


class Watched(ScriptedProvider):
    """Counts how many calls of each model were under way at once, whatever their suffix."""

    def __init__(self) -> None:
        super().__init__(Script(wait=0.5))
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def execute(self, call: Call) -> Reply:
        name = parse(call.model).key
        self.running[name] += 1
        self.most[name] = max(self.most[name], self.running[name])
        try:
            return await super().execute(call)
        finally:
            self.running[name] -= 1


TWO_NAMES = """
[[providers.scripted.models]]
name = "x"
alias = "one"
[[providers.scripted.models]]
name = "x"
alias = "two"
[[providers.scripted.credentials]]
name = "a"
api_key = "key-a-0123456789"
"""


@pytest.mark.parametrize(
    ("config", "asked", "most"),
    [
        (TWO_NAMES, ["one", "two"], {"x": 1}),
        (POOL, ["fast", "fast(high)"], {"x": 1, "y": 4}),
    ],
    ids=["two aliases", "a pool"],
)
async def test_a_model_that_comes_back_is_probed_by_one_call_whatever_it_is_asked_for(
    config: str, asked: list[str], most: dict[str, int], autojump_clock: MockClock
) -> None:
    """Design 8, D6: a pool's other member serves meanwhile."""
    provider = Watched()
    async with scripted_kernel(config, {"scripted": provider}) as kernel:
        record(kernel, "a", RateLimited(retry_after=5), "x")
        await trio.sleep(6)
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(kernel.execute, Ask(model=asked[number % 2]))
            await trio.sleep(0.4)
            assert provider.most == most
    assert len(provider.calls) == 5


async def test_a_probe_behind_an_alias_with_a_suffix_is_waited_for(autojump_clock: MockClock) -> None:
    """Design 8, C8.5: `fast(high)` has a sound member, so the group of `fast` shows no probe of the plain one."""
    provider = Watched()
    async with scripted_kernel(SUFFIXED.format(y="", passes=2), {"scripted": provider}) as kernel:
        record(kernel, "a", RateLimited(retry_after=5), "x")
        await trio.sleep(6)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(kernel.execute, Ask(model="fast"))
            await trio.sleep(0.4)
            assert provider.most == {"x": 1}
    assert len(provider.calls) == 3


NAMES, UPSTREAMS = ("x", "y", "z(low)", "fast"), ("x", "y", "z", "fast")
ALIASES = ("", "fast", "fast(high)", "FAST", "x(high)")
ASKED = ("fast", "fast(high)", "fast(low)", "x", "x(high)", "z", "fast()")


def any_aliases(chance: random.Random) -> str:
    """A configuration with aliases of all kinds for credentials of two tiers."""
    lines = [LETTER]
    for _ in range(chance.randint(1, 4)):
        alias = chance.choice(ALIASES)
        lines += ["[[providers.p.models]]", f'name = "{chance.choice(NAMES)}"', f'alias = "{alias}"' if alias else ""]
    for name in "abc"[: chance.randint(1, 3)]:
        lines += ["[[providers.p.credentials]]", f'name = "{name}"', f'api_key = "key-{name}-0123456789"']
        lines += [f"priority = {chance.randint(0, 1)}"]
    return "\n".join(lines)


LETTER = """
[retry]
max_wait = "0s"
passes = 1
[health]
half_open = false
keep_last = false
blame_routes = false
"""


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_the_aliases_nobody_who_cools_is_called_and_the_earliest_time_is_told(
    seed: int, autojump_clock: MockClock
) -> None:
    """C7.10, O15, O28, against a reading of each credential by itself."""
    chance = random.Random(seed)  # noqa: S311  # a failure is to come again
    provider = ScriptedProvider()
    async with scripted_kernel(any_aliases(chance), {"p": provider}) as kernel:
        for credential in kernel.credentials.list():
            for model in UPSTREAMS:
                kind = chance.choice((RateLimited, Transient, None))
                if kind is not None:
                    record(kernel, credential.id, kind(retry_after=chance.randint(10, 99)), model)

        def until(id: str, upstream: str) -> float | None:
            known = kernel.credentials.state(id).models.get(upstream)
            return None if known is None else known.next_retry_after

        aliases = kernel._conductor.generation.providers["p"].aliases
        for model in ASKED:
            name = parse(model)
            waits = {
                one.id: [until(one.id, upstream.recorded) for upstream in aliases.upstreams(one, name)]
                for one in kernel.credentials.list()
                if kernel._custody.catalogue.supports(one.id, name.key)
            }
            served = ""
            refused: UnknownModel | PoolError | None = None
            try:
                served = (await kernel.execute(Ask(model=model))).decision.served_by
            except (UnknownModel, PoolError) as error:
                refused = error
            if isinstance(refused, PoolError):
                assert refused.until == min(time for times in waits.values() for time in times if time is not None)
                assert all(None not in times for times in waits.values())
            else:
                assert None in waits[served] if refused is None else not waits
        assert all(until(call.credential.id, parse(call.model).key) is None for call in provider.calls)
