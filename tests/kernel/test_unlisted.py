"""Models of a provider that has not said yet what it serves: a client may come back, where nobody knows better."""

import pytest
import trio
from trio.testing import MockClock

from turnout import Ask, Credential, Decision, ModelMissing, RateLimited, TimedOut, Unauthorized, Unreachable
from turnout.errors import NotSupported, Unavailable, UnknownModel, UpstreamFailed
from turnout.testing import ScriptedProvider, scripted_kernel
from turnout.testing._house import scripted_config, wall

TOML = """\
[providers.own]
[[providers.own.credentials]]
name = "a"
api_key = "key-of-a-0123456789"
"""

Answer = list[str] | Exception


class Lister(ScriptedProvider):
    """Its upstream answers with the next of `answers`, after 20 s each; `m` for ever when there are no more."""

    def __init__(self, *answers: Answer, takes: float = 20.0) -> None:
        super().__init__()
        self.answers = list(answers)
        self.takes = takes

    async def models(self, credential: Credential, transport: object) -> list[str]:
        await trio.sleep(self.takes)
        answer = self.answers.pop(0) if self.answers else ["m"]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_model_is_not_unknown_before_its_provider_was_listed(autojump_clock: MockClock) -> None:
    """O16: 503 with a time, which clients wait for; once all have been listed, a name that none has is unknown."""
    decided: list[Decision | None] = []
    async with scripted_kernel(TOML, {"own": Lister()}) as kernel:
        for name in ("m", "mistyped"):
            with pytest.raises(Unavailable, match="the models of own are not known yet") as caught:
                await kernel.execute(Ask(model=name, id=name))
            assert caught.value.until == pytest.approx(wall() + 5)
            decided.append(kernel.explain(name))
        assert [one and one.error for one in decided] == ["auth_unavailable"] * 2
        with pytest.raises(Unavailable):
            async with kernel.stream(Ask(model="m")):
                pytest.fail("nobody serves it yet")
        await trio.sleep(20)
        await kernel.execute(Ask(model="m"))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="mistyped"))


@pytest.mark.parametrize("failure", [Unreachable(), RateLimited(retry_after=3), TimedOut()], ids=lambda one: one.code)
async def test_a_listing_that_failed_for_now_is_waited_for(
    failure: Unreachable | RateLimited | TimedOut, autojump_clock: MockClock
) -> None:
    """It is said when it is asked for again."""
    async with scripted_kernel(TOML, {"own": Lister(UpstreamFailed(failure), takes=1)}) as kernel:
        asked_again = wall() + 5  # it failed when the kernel was ready: after 1 s
        await trio.sleep(2)
        with pytest.raises(Unavailable) as caught:
            await kernel.execute(Ask(model="m"))
        assert caught.value.until == pytest.approx(asked_again)
        await trio.sleep(5)
        await kernel.execute(Ask(model="m"))


async def test_a_provider_that_is_never_reached_does_not_hide_for_ever_that_a_name_is_unknown(
    autojump_clock: MockClock,
) -> None:
    """Its base_url may be wrong. It is asked on, so that what it serves is known once it is back."""
    never = [UpstreamFailed(Unreachable())] * 8
    async with scripted_kernel(TOML, {"own": Lister(*never, takes=1)}) as kernel:
        await trio.sleep(590)
        with pytest.raises(Unavailable):
            await kernel.execute(Ask(model="m"))
        await trio.sleep(20)
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="m"))
        await trio.sleep(600)
        await kernel.execute(Ask(model="m"))


@pytest.mark.parametrize(
    "answer",
    [UpstreamFailed(Unauthorized()), UpstreamFailed(ModelMissing()), ZeroDivisionError(), [1]],
    ids=["refused", "no such page", "a bug", "no texts"],
)
async def test_a_listing_that_time_does_not_mend_is_not_waited_for(answer: Answer, autojump_clock: MockClock) -> None:
    """A wrong key, or an upstream that lists nothing: names of other providers are not tried again for its sake."""
    async with scripted_kernel(TOML, {"own": Lister(*[answer] * 9, takes=1)}) as kernel:
        for _ in range(3):
            with pytest.raises(UnknownModel):
                await kernel.execute(Ask(model="m"))
            await trio.sleep(5.5)  # within a further try, for one


async def test_one_answer_speaks_for_a_provider(autojump_clock: MockClock) -> None:
    """A further key is no reason to doubt which names there are; what it alone serves comes with its own answer."""
    second = '[[providers.own.credentials]]\nname = "b"\napi_key = "key-of-b-0123456789"\n'
    provider = Lister(["m"], UpstreamFailed(Unreachable()), ["m", "n"], takes=1)
    async with scripted_kernel(TOML + second, {"own": provider}) as kernel:
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="n"))
        await trio.sleep(10)
        await kernel.execute(Ask(model="n"))


class Other(ScriptedProvider):
    dialects = frozenset({"other"})


OTHERS = """\
[[providers.other.models]]
name = "o"
[[providers.other.credentials]]
name = "b"
api_key = "key-of-b-0123456789"
"""


class Speaks(Lister):
    dialects = frozenset({"own"})


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (Ask(model="m", dialect="own"), Unavailable),
        (Ask(model="o", dialect="own"), Unavailable),
        (Ask(model="o", dialect="third"), NotSupported),
        (Ask(model="m", dialect="other"), UnknownModel),
        (Ask(model="m", pin="a"), Unavailable),
        (Ask(model="m", pin="b"), UnknownModel),
        (Ask(model="m", pin="who"), UnknownModel),
    ],
    ids=["its dialect", "served in another", "of none", "another dialect", "pinned", "pinned to another", "to nobody"],
)
async def test_only_a_provider_that_could_take_the_call_is_waited_for(
    ask: Ask, error: type[Exception], autojump_clock: MockClock
) -> None:
    """C5.11."""
    async with scripted_kernel(TOML + OTHERS, {"own": Speaks(), "other": Other()}) as kernel:
        with pytest.raises(error):
            await kernel.execute(ask)


async def test_what_was_known_before_a_reload_is_known_after_it(autojump_clock: MockClock) -> None:
    """O64: while everybody is asked again."""
    async with scripted_kernel(TOML, {"own": Lister(takes=1)}) as kernel:
        await kernel.reload(scripted_config(TOML.replace("[providers.own]", "[retry]\npasses = 1\n[providers.own]", 1)))
        with pytest.raises(UnknownModel):
            await kernel.execute(Ask(model="mistyped"))
        await kernel.execute(Ask(model="m"))
