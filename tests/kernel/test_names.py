from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, Metadata, Secret
from turnout._alias_tables import (
    Channel,
    ModelEntry,
    ModelList,
    is_compatible,
    key_table,
    list_by_key,
    list_by_name,
    list_of,
    oauth_channel,
    oauth_table,
    pool_members,
)
from turnout._model_name import level, number, parse, special, split, suffixed
from turnout._names import Aliases, Upstream, advanced, pool_key, rotate

NAMES = st.text(alphabet="mAp/() \u00e4", max_size=12)

CHANNELS = {
    **{key: Channel(key, keys=True) for key in ("gemini-cli", "aistudio", "antigravity", "qwen", "iflow", "kimi")},
    **{key: Channel(key) for key in ("vertex", "claude", "codex")},
}
"""The facts of C5.7.1's table, which each provider declares about itself."""


def make(
    provider: str = "gemini", *, key: str | None = "k1", email: str = "", prefix: str = "", **rest: str
) -> Credential:
    return Credential(
        id="c1",
        provider=provider,
        prefix=prefix,
        api_key=None if key is None else Secret(key),
        metadata=Metadata({"email": email}),
        attributes=rest,
    )


def models(*pairs: tuple[str, str]) -> tuple[ModelEntry, ...]:
    return tuple(ModelEntry(name=name, alias=alias) for alias, name in pairs)


def sent(aliases: Aliases, credential: Credential, requested: str) -> list[str]:
    return [upstream.model for upstream in aliases.upstreams(credential, parse(requested))]


# --- C7.1, C7.2 parsing


@pytest.mark.parametrize(
    ("name", "base", "suffix", "key"),
    [
        ("m", "m", None, "m"),
        ("m(high)", "m", "high", "m"),
        ("m()", "m", "", "m"),
        ("(high)", "", "high", "(high)"),
        ("m(a)(b)", "m(a)", "b", "m(a)"),
        ("m(high", "m(high", None, "m(high"),
        ("m)", "m)", None, "m)"),
        ("m(high) ", "m(high) ", None, "m"),
        (" M (8192)", " M ", "8192", "M"),
        ("P/m(high)", "P/m", "high", "P/m"),
        ("m((a)", "m(", "a", "m("),
        ("", "", None, ""),
        ("  ", "  ", None, ""),
        (" (x)", " ", "x", "(x)"),
    ],
)
def test_a_model_name_is_taken_apart(name: str, base: str, suffix: str | None, key: str) -> None:
    """C7.1, C7.2, O32."""
    assert parse(name) == (name, base, suffix, key)


@given(st.text() | NAMES)
def test_parsing_loses_nothing_and_a_key_is_stable(text: str) -> None:
    """C7.1, C7.2."""
    name = parse(text)

    assert text == (name.base if name.suffix is None else f"{name.base}({name.suffix})")
    assert name.key == name.key.strip()
    assert bool(name.key) == bool(text.strip())


@given(st.text().filter(lambda text: not text.endswith(")")), st.text().filter(lambda text: "(" not in text))
def test_what_is_put_together_comes_apart_again(base: str, suffix: str) -> None:
    """C7.1."""
    assert split(f"{base}({suffix})") == (base, suffix)


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        *(("0", 0), ("8192", 8192), ("+7", 7), ("0012", 12), ("9223372036854775807", 2**63 - 1)),
        *(("", None), ("-1", None), (" 7", None), ("7.0", None), ("1e3", None), ("9223372036854775808", None)),
        *(("high", None), ("٣", None), ("9" * 5000, None)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_thinking_number_is_read_or_rejected(suffix: str, expected: int | None) -> None:
    """C7.1."""
    assert number(suffix) == expected


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        *(("minimal", "minimal"), ("LOW", "low"), ("Medium", "medium"), ("high", "high"), ("xhigh", "xhigh")),
        *(("max", "max"), ("", None), (" high", None), ("auto", None), ("highest", None)),
    ],
)
def test_a_thinking_level_is_read_or_rejected(suffix: str, expected: str | None) -> None:
    """C7.1."""
    assert level(suffix) == expected


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("none", "none"), ("NONE", "none"), ("auto", "auto"), ("Auto", "auto"), ("-1", "auto"), ("-2", None), ("", None)],
)
def test_a_special_thinking_word_is_read_or_rejected(suffix: str, expected: str | None) -> None:
    """C7.1."""
    assert special(suffix) == expected


# --- C7.3 prefix


@pytest.mark.parametrize(
    ("name", "prefix", "expected"),
    [
        ("P/m", "P", "m"),
        ("P/m(high)", " P ", "m(high)"),
        ("P/P/m", "P", "P/m"),
        ("p/m", "P", "p/m"),
        ("Pm", "P", "Pm"),
        ("m", "P", "m"),
        ("/m", "", "/m"),
        ("/m", "  ", "/m"),
        ("P/", "P", ""),
    ],
)
def test_a_prefix_is_cut_off_once(name: str, prefix: str, expected: str) -> None:
    """C7.3."""
    assert parse(name).without(prefix) == parse(expected)


# --- C7.5 OAuth aliases


@pytest.mark.parametrize("provider", ["gemini-cli", "aistudio", "antigravity", "qwen", "iflow", "kimi"])
@pytest.mark.parametrize("kind", ["", "oauth", " APIKEY "])
def test_a_channel_for_every_kind_is_used_by_keys_too(provider: str, kind: str) -> None:
    """C7.5.1, C1.17."""
    assert oauth_channel(make(provider, auth_kind=kind), CHANNELS[provider]) == provider


@pytest.mark.parametrize("provider", ["vertex", "claude", "codex"])
@pytest.mark.parametrize(
    ("key", "email", "kind", "has_one"),
    [
        ("k1", "", "", False),
        ("k1", "a@b.c", "", True),
        (None, "", "", True),
        ("k1", "", "oauth", True),
        (None, "a@b.c", " ApiKey ", False),
    ],
)
def test_a_channel_for_logins_only_is_not_used_by_keys(
    provider: str, key: str | None, email: str, kind: str, has_one: bool
) -> None:
    """C7.5.1."""
    credential = make(provider, key=key, email=email, auth_kind=kind)

    assert oauth_channel(credential, CHANNELS[provider]) == (provider if has_one else "")


def test_a_provider_that_declares_no_channel_has_none() -> None:
    """C7.5.1: such as `gemini`."""
    assert oauth_channel(make("gemini", key=None, email="a@b.c"), CHANNELS.get("gemini")) == ""


def test_an_oauth_table_drops_what_says_nothing_and_keeps_the_first() -> None:
    """C7.5.2."""
    table = oauth_table(models((" Fast ", " Up "), ("fast", "other"), ("", "x"), ("y", " "), ("UP", "up"), ("z", "Up")))

    assert table == {"fast": "Up", "z": "Up"}


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("fast", "up-1"),
        (" FAST ", "up-1"),
        ("fast(high)", "up-1(high)"),
        ("fast()", "up-1"),
        ("set", "up-2(low)"),
        ("set(high)", "up-2(low)"),
        ("x(y)", "up-3(y)"),
        ("same(z)", "same(z)"),
        ("chain", "fast"),
        ("plain(high)", "plain(high)"),
        ("Team/fast", "up-1"),
    ],
)
def test_an_oauth_alias_leads_upstream(requested: str, expected: str) -> None:
    """C7.5.3, C7.5.4: a target's own suffix wins, aliases do not chain, a target like its base is none."""
    table = models(("fast", "up-1"), ("set", "up-2(low)"), ("x(y)", "up-3"), ("same(z)", "Same"), ("chain", "fast"))
    aliases = Aliases(channel=Channel("claude"), oauth={" CLAUDE ": table})
    credential = make("claude", key=None, email="a@b.c", prefix="Team")

    assert sent(aliases, credential, requested) == [expected]


@given(NAMES, st.sampled_from([None, "", "high", "8192"]))
def test_a_configured_suffix_beats_the_clients(target: str, suffix: str | None) -> None:
    """C7.5.4."""
    result = suffixed(target, suffix)

    assert result == target if split(target)[1] is not None or not suffix else result == f"{target}({suffix})"


# --- C7.6 API-key aliases

BOTH = ModelList(api_key=Secret(" k1 "), base_url=" https://A/v1 ")
BARE = ModelList(api_key=Secret("k1"))
ELSEWHERE = ModelList(api_key=Secret("k1"), base_url="https://b")
KEYLESS = ModelList(base_url="https://c")


@pytest.mark.parametrize(
    ("key", "base_url", "lists", "expected"),
    [
        ("k1", "https://a/V1", [ELSEWHERE, BARE, BOTH], BOTH),
        ("k1", "", [ELSEWHERE, BARE, BOTH], BARE),
        ("k1", "https://z", [ELSEWHERE, BARE], ELSEWHERE),
        ("k1", "", [ELSEWHERE, BOTH], ELSEWHERE),
        (None, " HTTPS://C ", [BOTH, KEYLESS], KEYLESS),
        (None, "https://b", [BOTH, ELSEWHERE, KEYLESS], ELSEWHERE),
        (None, "", [BARE, KEYLESS], None),
        ("K1", "https://a/v1", [BOTH, BARE, KEYLESS], None),
        ("k2", "https://c", [BOTH, KEYLESS], None),
    ],
)
def test_a_key_finds_the_list_that_belongs_to_it(
    key: str | None, base_url: str, lists: list[ModelList], expected: ModelList | None
) -> None:
    """C7.6.2 with O31: base URLs compare ignoring case, keys exactly."""
    assert list_by_key(make(key=key, base_url=base_url), lists) is expected


def test_a_key_table_keeps_the_first_of_an_alias_and_adds_upstream_names() -> None:
    """C7.6.3: suffixes in aliases are ignored, and a skipped line leaves nothing behind."""
    table = key_table(models(("Fast(low)", "up-1(high)"), ("fast", "up-2"), ("", "up-3"), ("x", ""), ("other", "Up-4")))

    assert table == {"fast": "up-1(high)", "up-1": "up-1(high)", "other": "Up-4", "up-4": "Up-4"}


def test_an_alias_is_not_lost_to_an_upstream_name_before_it() -> None:
    """C7.6.3 with O30: A → B, B → C."""
    assert key_table(models(("a", "b"), ("b", "c"))) == {"a": "b", "b": "c", "c": "c"}


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("fast", "up-1"),
        (" FAST(high) ", "up-1(high)"),
        ("set(high)", "up-2(low)"),
        ("up-2", "up-2(low)"),
        ("UP-2(high)", "up-2(low)"),
        ("team/fast(high)", "up-1(high)"),
        ("Plain(8)", "plain(8)"),
        ("echo(8)", "echo(8)"),
        (" unknown ", "unknown"),
        ("", ""),
    ],
)
def test_a_key_alias_leads_upstream(requested: str, expected: str) -> None:
    """C7.6.4, C7.6.5."""
    lines = (*models(("fast", "up-1"), ("Set", "up-2(low)"), ("", "plain"), ("echo", "")),)
    aliases = Aliases([ModelList(api_key=Secret("k1"), models=lines)])

    assert sent(aliases, make(prefix="team"), requested) == [expected]


def test_a_repeated_alias_of_a_key_is_no_pool() -> None:
    """C7.6.3: there the first wins."""
    aliases = Aliases([ModelList(api_key=Secret("k1"), models=models(("a", "x"), ("a", "y")))])

    assert sent(aliases, make(), "a") == ["x"]


def test_key_aliases_are_for_keys_only() -> None:
    """C7.6.1."""
    aliases = Aliases([ModelList(base_url="https://x", models=models(("a", "x")))])

    assert sent(aliases, make("claude", email="a@b.c", base_url="https://x"), "a") == ["a"]
    assert sent(aliases, make("claude", key=None, base_url="https://x"), " a ") == [" a "]


def test_names_are_worked_out_anew_when_a_credential_is_replaced() -> None:
    """C7.6.6 with O13: and only for that one."""
    aliases = Aliases([ModelList(api_key=Secret("k1"), models=models(("a", "x")))])
    other, before, after = make("other", key="k9"), make(key="k2"), make(key="k1")

    assert sent(aliases, before, "a") == ["a"]
    assert sent(aliases, after, "a") == ["x"]
    assert aliases.of(other) is aliases.of(other)


# --- C7.7 compatible entries and pools


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (make("OpenAI-Compatibility"), True),
        (make("router", compat_name="Router"), True),
        (make("router", compat_name="  "), False),
        (make("router", provider_key="router"), False),
    ],
)
def test_a_compatible_credential_is_known_by_provider_or_attribute(credential: Credential, expected: bool) -> None:
    """C7.7.1."""
    assert is_compatible(credential) is expected


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (make("router", compat_name=" TWO "), "two"),
        (make("router", provider_key="One"), "one"),
        (make("two"), "two"),
        (make("two", compat_name="one"), "one"),
        (make("router"), None),
    ],
)
def test_a_compatible_credential_finds_the_first_list_of_one_of_its_names(
    credential: Credential, expected: str | None
) -> None:
    """C7.7.1."""
    found = list_by_name(credential, [ModelList(), ModelList(name="one"), ModelList(name="two")])

    assert (found.name if found else None) == expected


def test_a_list_for_one_credential_comes_before_all_others() -> None:
    """C7.6.2, C7.7.1: a credential's own models in the configuration are never hidden by its provider's."""
    own, named, keyed = ModelList(credential="c1"), ModelList(name="gemini"), ModelList(api_key=Secret("k1"))

    assert list_of(make(), [keyed, named, own], keyed=True) is own
    assert list_of(make(), [keyed, named], keyed=True) is named
    assert list_of(make(), [keyed], keyed=True) is keyed
    assert list_of(make(), [keyed], keyed=False) is None
    assert list_of(make(), [ModelList(credential="c2", api_key=Secret("k1"))], keyed=True) is None


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("fast", ["x", "y", "fast"]),
        ("FAST(high)", ["x(high)", "y(high)", "FAST(high)"]),
        ("set(high)", ["z(low)"]),
        ("deep(9)", ["exact()", "base(9)"]),
        ("X", ["x"]),
        ("z(low)", ["z(low)"]),
        ("unknown", []),
        ("", []),
    ],
)
def test_a_pool_has_every_model_behind_an_alias(requested: str, expected: list[str]) -> None:
    """C7.7.2, C7.7.3: in configuration order, repeats dropped, else the one model of that name."""
    lines = models(
        *(("fast", "x"), ("Fast", "y"), ("fast", "X"), ("fast", ""), ("set", "z(low)")),
        *(("deep(9)", "exact()"), ("deep", "base"), ("", "x")),
    )

    assert list(pool_members(lines, parse(requested))) == expected


def test_a_key_less_compatible_credential_has_aliases_and_pools() -> None:
    """C7.7.1 with O31."""
    aliases = Aliases([ModelList(name="router", models=models(("a", "x"), ("a", "y"), ("b(low)", "z")))])
    credential = make("router", key=None, compat_name="router")

    assert sent(aliases, credential, "a") == ["x", "y"]
    assert sent(aliases, credential, "b") == ["z"]


def test_a_provider_may_have_pools_for_all_its_credentials() -> None:
    """C7.7: what the seed keeps for look-alikes, `pools` gives to any provider."""
    lists = [ModelList(name="gemini", models=models(("a", "x"), ("a", "y")))]

    assert sent(Aliases(lists, pools=True), make(), "a(high)") == ["x(high)", "y(high)"]
    assert sent(Aliases(lists), make(), "a(high)") == ["x(high)"]


@pytest.mark.parametrize("pools", [False, True])
def test_models_that_are_listed_for_a_provider_are_for_all_its_credentials(pools: bool) -> None:
    """C7.7.1 with O31: no alias of the configuration is without effect, whatever the kind of the credential."""
    aliases = Aliases([ModelList(name="claude", models=models(("a", "x")))], pools=pools)

    assert sent(aliases, make("claude", email="a@b.c"), "a") == ["x"]
    assert sent(aliases, make("claude", key=None), "a") == ["x"]
    assert sent(aliases, make("claude"), "a") == ["x"]


def test_the_steps_come_in_order() -> None:
    """C7.4: prefix, OAuth alias, pool, key alias."""
    aliases = Aliases(
        [ModelList(name="qwen", models=models(("a", "x"), ("a", "y")))],
        pools=True,
        channel=CHANNELS["qwen"],
        oauth={"qwen": models(("front", "a"))},
    )

    assert sent(aliases, make("qwen", prefix="p"), "p/front(high)") == ["x(high)", "y(high)"]
    assert sent(aliases, make("qwen", prefix="p"), "q/front") == ["q/front"]


# --- C7.8 rotation


def test_a_pool_begins_with_the_member_whose_turn_it_is() -> None:
    """C7.8."""
    assert [rotate("abc", counter) for counter in (0, 1, 2, 3)] == [
        tuple("abc"),
        tuple("bca"),
        tuple("cab"),
        tuple("abc"),
    ]
    assert rotate((), 5) == ()


def test_the_counter_of_a_pool_wraps() -> None:
    """C7.8, C18."""
    assert advanced(0) == 1
    assert advanced(2_147_483_639) == 0


def test_turns_are_shared_out_evenly_when_the_counter_advances_per_called_member() -> None:
    """C7.8"""
    called: Counter[str] = Counter()
    counter = 0
    for _ in range(15):
        called[rotate("abc", counter)[0]] += 1
        counter = advanced(counter)

    assert called == {"a": 5, "b": 5, "c": 5}


@pytest.mark.parametrize(
    ("credential", "requested", "expected"),
    [
        (make("Router"), "Fast(high)", ("c1", "router", "fast")),
        (make("router", compat_name=" Two "), "fast", ("c1", "two", "fast")),
        (make("router", compat_name="two", provider_key="One"), "fast(low)", ("c1", "one", "fast")),
        (make("router", prefix="P"), "P/fast", ("c1", "router", "fast")),
        (Credential(id="C1", provider="router"), "fast", ("c1", "router", "fast")),
    ],
)
def test_a_pool_counts_per_credential_provider_and_alias(
    credential: Credential, requested: str, expected: tuple[str, str, str]
) -> None:
    """C7.8: suffixes share it."""
    assert pool_key(credential, parse(requested)) == expected


# --- C7.9 recorded names


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("m(high)", [Upstream("m(high)", "m")]),
        ("p/m(high)", [Upstream("m(high)", "m")]),
        ("set", [Upstream("z(low)", "z")]),
        ("fast(8)", [Upstream("x(8)", "x"), Upstream("y(8)", "y")]),
        ("(high)", [Upstream("(high)", "(high)")]),
    ],
)
def test_an_outcome_is_recorded_under_the_upstream_base_name(requested: str, expected: list[Upstream]) -> None:
    """C7.9 with O27, O28: for pools and single models alike."""
    lines = models(("fast", "x"), ("fast", "y"), ("set", "z(low)"))
    aliases = Aliases([ModelList(name="gemini", models=lines)], pools=True)

    assert list(aliases.upstreams(make(prefix="p"), parse(requested))) == expected


# --- what is remembered


def test_credentials_that_agree_share_their_rules_and_forgotten_ones_leave_nothing() -> None:
    """O13, O18."""
    aliases = Aliases([ModelList(name="gemini", models=models(("a", "x")))], pools=True)
    one, two = make(), Credential(id="c2", provider="gemini", api_key=Secret("k2"))

    assert aliases.of(one) is aliases.of(two)
    aliases.forget("c1")
    aliases.forget("c1")
    assert list(aliases._by_id) == ["c2"]


def test_what_is_remembered_about_clients_names_is_bounded() -> None:
    """O32: a client that varies suffixes or sends huge names fills no memory."""
    aliases, credential = Aliases(), make()
    for number_ in range(5000):
        assert sent(aliases, credential, f"m({number_})") == [f"m({number_})"]
    long = "m" * 100_000

    assert sent(aliases, credential, long) == [long]
    known = aliases.of(credential)._known
    assert len(known) <= 1024
    assert long not in known


@given(
    NAMES,
    NAMES,
    st.lists(st.builds(ModelEntry, name=NAMES, alias=NAMES), max_size=4).map(tuple),
    st.booleans(),
)
def test_every_request_has_an_upstream_name_and_the_memory_changes_nothing(
    requested: str, prefix: str, lines: Any, pools: bool
) -> None:
    """C7.4."""
    aliases = Aliases(
        [ModelList(name="qwen", models=lines), ModelList(api_key=Secret("k1"), models=lines)],
        pools=pools,
        channel=CHANNELS["qwen"],
        oauth={"qwen": lines},
    )
    credential = make("qwen", prefix=prefix)
    first = aliases.upstreams(credential, parse(requested))

    assert first
    assert aliases.upstreams(credential, parse(requested)) is first
    assert len({upstream.model.lower() for upstream in first}) == len(first)
    assert all(upstream.recorded == parse(upstream.model).key for upstream in first)
