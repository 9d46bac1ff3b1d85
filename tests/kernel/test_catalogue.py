from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, Metadata, Model, Secret
from turnout._catalogue import Catalogue, Serves, announced, is_excluded
from turnout._names import Aliases, Channel, ModelEntry, ModelList, Naming, parse

ONE: Serves = {"m": ("m",)}
WORDS = st.sampled_from(["a", "b", "m", "M", "n", "m(high)"])


def naming(
    *, prefix: str = "", oauth: tuple[ModelEntry, ...] = (), models: tuple[ModelEntry, ...] = (), **rest: Any
) -> Naming:
    aliases = Aliases(
        [ModelList(name="claude", models=models)], channel=Channel("claude", keys=True), oauth={"claude": oauth}, **rest
    )
    return aliases.of(Credential(id="c1", provider="claude", prefix=prefix, api_key=Secret("k"), metadata=Metadata()))


def serve(models: tuple[ModelEntry | str, ...], *, prefix: str = "", force: bool = False, **rest: Any) -> list[str]:
    return list(announced(models, naming(prefix=prefix, **rest), force_prefix=force))


# --- C16.8 what a credential announces


def test_a_model_is_announced_by_its_alias_or_else_its_name() -> None:
    """C16.8: the first of a repeated alias wins; case counts (O6)."""
    models = (ModelEntry("x", "fast"), ModelEntry("y", "fast"), " z ", ModelEntry(" w "), "Z", "")

    assert serve(models) == ["fast", "z", "w", "Z"]


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("gpt-4", "GPT-4", True),
        ("gpt-4", "gpt-4o", False),
        (" GPT-* ", "gpt-4o", True),
        ("*", "anything", True),
        ("*", "", True),
        ("", "", False),
        ("", "m", False),
        ("*-preview", "m-preview", True),
        ("*-preview", "m-preview-2", False),
        ("a*b", "ab", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("*b*c*", "abcd", True),
        ("*c*b*", "abcd", False),
        ("a**d", "abcd", True),
        ("*bc*cd", "abcd", False),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
    ],
)
def test_an_excluded_pattern_fits(pattern: str, name: str, fits: bool) -> None:
    """C16.8: literal parts in order and without overlap; nothing but `*` is special."""
    assert is_excluded(name, [pattern]) is fits


@given(st.text(alphabet="ab", max_size=8), st.text(alphabet="ab*", max_size=8))
def test_a_pattern_fits_like_the_plain_definition(name: str, pattern: str) -> None:
    """C16.8."""

    def fits(rest: str, parts: str) -> bool:
        if not parts:
            return not rest
        if parts[0] == "*":
            return any(fits(rest[at:], parts[1:]) for at in range(len(rest) + 1))
        return rest[:1] == parts[0] and fits(rest[1:], parts[1:])

    assert is_excluded(name, [pattern]) is (pattern != "" and fits(name, pattern))


def test_exclusion_comes_before_aliases_and_prefix() -> None:
    """C16.8: the order of the steps."""
    rules = naming(prefix="P", oauth=(ModelEntry("m", "kept"), ModelEntry("n", "gone")))

    assert list(announced(["m", "n", "P/o"], rules, excluded=["N", "kept", "p/*"])) == ["kept", "P/kept"]


@pytest.mark.parametrize(
    ("oauth", "expected"),
    [
        ((), ["m", "n"]),
        ((ModelEntry("m", "a"), ModelEntry("m", "b")), ["a", "b", "n"]),
        ((ModelEntry("m", "a"), ModelEntry("M", "b", fork=True)), ["m", "a", "b", "n"]),
        ((ModelEntry("m", "n"),), ["n"]),
        ((ModelEntry("n", "a"), ModelEntry("m", "A")), ["m", "a"]),
        ((ModelEntry("m", "M"), ModelEntry("m", " "), ModelEntry("", "a")), ["m", "n"]),
    ],
)
def test_oauth_aliases_stand_in_for_their_models(oauth: tuple[ModelEntry, ...], expected: list[str]) -> None:
    """C16.8, C7.5.2: in configuration order; a fork keeps the original in front."""
    assert serve(("m", "n"), oauth=oauth) == expected


@pytest.mark.parametrize(
    ("prefix", "force", "expected"),
    [
        ("", False, ["m", "P"]),
        ("  ", True, ["m", "P"]),
        (" P ", False, ["m", "P/m", "P", "P/P"]),
        ("P", True, ["P/m", "P", "P/P"]),
    ],
)
def test_a_prefix_adds_names_or_replaces_them(prefix: str, force: bool, expected: list[str]) -> None:
    """C16.8: with `force_model_prefix` only a model named like the prefix stays plain."""
    assert serve(("m", "P", "m"), prefix=prefix, force=force) == expected


def test_what_is_announced_says_what_is_recorded() -> None:
    """C16.8, O27, O28: the alias of a pool stands for all of its members, a name for its upstream base name."""
    models = (ModelEntry("x(low)", "fast"), ModelEntry("y", "fast"), ModelEntry("z(high)"))
    rules = naming(models=models, pools=True, prefix="P")

    assert announced(rules.models, rules) == {
        "fast": ("x", "y"),
        "P/fast": ("x", "y"),
        "z": ("z",),
        "P/z": ("z",),
    }


def test_names_with_suffix_are_announced_by_their_base() -> None:
    """C5.3, C16.8: one key for all of them, with everything that may be recorded."""
    models = (ModelEntry("x", "fast"), ModelEntry("y", "fast(high)"))
    rules = naming(models=models, pools=True)

    assert announced(models, rules) == {"fast": ("x", "y")}


def test_credentials_that_agree_share_one_announcement_that_nobody_can_change() -> None:
    """O13: ten thousand keys of one provider do not mean ten thousand computations."""
    rules = naming()
    first = announced(["m"], rules)

    assert announced(("m",), rules) is first
    assert announced(["m"], rules, excluded=["m"]) == {}
    assert announced(["m", "n"], rules) == {"m": ("m",), "n": ("n",)}
    with pytest.raises(TypeError):
        first["n"] = ("n",)  # type: ignore[index]  # read-only


@given(
    st.lists(st.builds(ModelEntry, name=WORDS, alias=WORDS | st.just("")), max_size=5).map(tuple),
    st.lists(st.builds(ModelEntry, name=WORDS, alias=WORDS, fork=st.booleans()), max_size=3).map(tuple),
    st.sampled_from(["", "P", "m"]),
    st.booleans(),
    st.booleans(),
)
def test_every_request_for_an_announced_name_is_recorded_as_announced(
    models: tuple[ModelEntry, ...], oauth: tuple[ModelEntry, ...], prefix: str, force: bool, pools: bool
) -> None:
    """O27, O28: catalogue, schedule and ledger cannot come to speak of different names."""
    rules = naming(prefix=prefix, oauth=oauth, models=models, pools=pools)
    for base, recorded in announced(models, rules, force_prefix=force).items():
        assert recorded
        assert base == parse(base).key
        assert {upstream.recorded for upstream in rules.upstreams(parse(base))} <= set(recorded)


# --- C16.1 to C16.7 the catalogue


def test_registering_replaces_what_a_credential_serves() -> None:
    """C16.1, O12."""
    catalogue = Catalogue()
    catalogue.register("c1", " OpenAI ", {"m": ("m",), "n": ("n",)})
    catalogue.register("c1", "openai", {"n": ("n",), "o": ("o",)})

    assert catalogue.names() == (("n", ("openai",)), ("o", ("openai",)))
    assert [catalogue.supports("c1", base) for base in "mno"] == [False, True, True]


def test_registering_nothing_unregisters() -> None:
    """C16.1."""
    catalogue = Catalogue()
    catalogue.register("c1", "openai", ONE)
    catalogue.register("c1", "openai", {})
    catalogue.unregister("c1")
    catalogue.unregister("unknown")

    assert catalogue.names() == ()
    assert catalogue.providers_of("m") == ()
    assert not catalogue.supports("c1", "m")


def test_a_credential_that_moves_to_another_provider_counts_there() -> None:
    """C16.1."""
    catalogue = Catalogue()
    catalogue.register("c1", "openai", ONE)
    catalogue.register("c1", "router", ONE)

    assert catalogue.providers_of("m") == ("router",)


def test_names_compare_exactly() -> None:
    """C16.2 with O6: case and suffix count; the caller asks by the key of C7.2."""
    catalogue = Catalogue()
    catalogue.register("c1", "openai", ONE)

    assert catalogue.supports("c1", "m")
    assert not catalogue.supports("c1", "M")
    assert not catalogue.supports("c1", "m(high)")
    assert not catalogue.supports("c2", "m")
    assert catalogue.providers_of("M") == ()


def test_providers_come_by_number_of_credentials_and_then_by_name() -> None:
    """C16.7: at once after every change (O12)."""
    catalogue = Catalogue()
    for id, provider in (("1", "b"), ("2", "a"), ("3", "c"), ("4", "c")):
        catalogue.register(id, provider, ONE)
    assert catalogue.providers_of("m") == ("c", "a", "b")

    catalogue.register("5", "b", ONE)
    assert catalogue.providers_of("m") == ("b", "c", "a")

    catalogue.unregister("3")
    catalogue.unregister("5")
    assert catalogue.providers_of("m") == ("a", "b", "c")


def test_a_name_that_nobody_serves_leaves_no_trace() -> None:
    """C16.7: clients may ask for any name, so nothing is kept about unknown ones."""
    catalogue = Catalogue()
    for number in range(100):
        assert catalogue.providers_of(f"m{number}") == ()

    assert not catalogue._orders


def test_two_kernels_know_nothing_of_each_other() -> None:
    """O63: the catalogue belongs to one kernel."""
    one, two = Catalogue(), Catalogue()
    one.register("c1", "openai", ONE)

    assert two.names() == ()


@pytest.mark.parametrize(
    ("standing", "shown"),
    [
        ({"ready": 2, "blocked": 0}, True),
        ({"ready": 1, "blocked": 1}, True),
        ({"ready": 0, "blocked": 0}, True),
        ({"ready": 0, "blocked": 1}, False),
    ],
    ids=["all ready", "some ready", "all cooling", "broken"],
)
def test_a_listing_is_derived_from_the_schedules_own_times(standing: Mapping[str, int], shown: bool) -> None:
    """C16.3, C16.4, C16.5, C16.6 with O60, O61: no flag of its own; each credential counts once."""
    catalogue = Catalogue()
    catalogue.register("c1", "openai", ONE)
    catalogue.register("c2", "openai", ONE)
    asked: list[tuple[str, str, float]] = []

    def ready(provider: str, base: str, now: float) -> int:
        asked.append((provider, base, now))
        return standing["ready"]

    listed = catalogue.models(7.0, ready=ready, blocked=lambda *_: standing["blocked"])

    assert listed == ((Model(name="m", providers=("openai",), ready=standing["ready"]),) if shown else ())
    assert asked == [("openai", "m", 7.0)]


def test_a_listing_is_sorted_and_sums_over_providers() -> None:
    """C16.5, C16.6 with O61."""
    catalogue = Catalogue()
    catalogue.register("c1", "openai", {"n": ("n",), "m": ("m",)})
    catalogue.register("c2", "router", ONE)
    numbers = {("openai", "m"): 1, ("router", "m"): 1, ("openai", "n"): 0}

    assert catalogue.models(0.0, ready=lambda provider, base, _: numbers[provider, base]) == (
        Model(name="m", providers=("openai", "router"), ready=2),
        Model(name="n", providers=("openai",), ready=0),
    )


def test_the_catalogue_never_says_who_may_be_picked() -> None:
    """C16.9: what a credential supports does not depend on how anybody stands."""
    catalogue = Catalogue()
    catalogue.register("c1", "openai", ONE)
    catalogue.models(0.0, ready=lambda *_: 0, blocked=lambda *_: 1)

    assert catalogue.supports("c1", "m")
    assert catalogue.providers_of("m") == ("openai",)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["p", "q"]), st.frozensets(st.sampled_from("abc"))
        )
    )
)
def test_counting_step_by_step_equals_counting_anew(steps: list[tuple[str, str, frozenset[str]]]) -> None:
    """C16.1, C16.7, O13: after any history the catalogue answers as if it had only seen the latest registrations."""
    grown, latest = Catalogue(), dict[str, tuple[str, frozenset[str]]]()
    for id, provider, bases in steps:
        grown.register(id, provider, {base: (base,) for base in sorted(bases)})
        latest[id] = (provider, bases)
        grown.providers_of("a")
        grown.names()
    fresh = Catalogue()
    for id, (provider, bases) in latest.items():
        fresh.register(id, provider, {base: (base,) for base in bases})

    assert grown.names() == fresh.names()
    assert grown._counts == fresh._counts
