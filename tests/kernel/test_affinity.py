from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout._affinity import Affinity, AffinityStatistics, Preference, digest
from turnout._affinity_records import decode_preferences, encode_preferences
from turnout.errors import InvalidAsk

NOW = 1_800_000_000.0


def key(text: str) -> bytes:
    found = digest(text)
    assert found is not None
    return found


ANNA, BEN = key("anna"), key("ben")


def test_a_session_finds_the_credential_that_served_it_last() -> None:
    """C12.5: a success elsewhere replaces what was known."""
    table = Affinity()
    table.learn("m", ANNA, "first", NOW)
    table.learn("m", ANNA, "second", NOW)

    assert table.find("m", ANNA, NOW) == "second"
    assert table.find("m", BEN, NOW) is None


def test_a_preference_holds_for_one_model_only() -> None:
    """O4, against C12.1."""
    table = Affinity()
    table.learn("m", ANNA, "a", NOW)

    assert table.find("other", ANNA, NOW) is None


def test_a_preference_ends_exactly_at_its_time_and_a_success_renews_it() -> None:
    """O3, against C12.1: an hour by default; looking it up renews nothing."""
    table = Affinity()
    table.learn("m", ANNA, "a", NOW)
    table.learn("m", BEN, "b", NOW)

    assert table.find("m", ANNA, NOW + 3599) == "a"
    table.learn("m", BEN, "b", NOW + 3599)
    assert table.find("m", ANNA, NOW + 3600) is None
    assert table.find("m", BEN, NOW + 3600) == "b"
    assert table.statistics().entries == 1


def test_the_table_is_bounded_and_drops_what_was_used_longest_ago() -> None:
    """O3, I8."""
    table = Affinity(entries=2)
    table.learn("m", ANNA, "a", NOW)
    table.learn("m", BEN, "b", NOW)
    table.find("m", ANNA, NOW)
    table.learn("m", key("carl"), "c", NOW)

    assert table.find("m", BEN, NOW) is None
    assert table.find("m", ANNA, NOW) == "a"
    assert table.statistics().evicted == 1


def test_a_credential_that_is_gone_is_forgotten_everywhere() -> None:
    """O1: disabled, removed or moved to another provider."""
    table = Affinity()
    table.learn("m", ANNA, "gone", NOW)
    table.learn("n", BEN, "gone", NOW)
    table.learn("n", ANNA, "stays", NOW)
    table.forget_credential("gone")
    table.forget_credential("never seen")

    assert table.find("m", ANNA, NOW) is None
    assert table.find("n", BEN, NOW) is None
    assert table.find("n", ANNA, NOW) == "stays"


def test_a_clients_key_is_kept_as_a_digest() -> None:
    """O3, C12.2: case matters, white space around it does not, bytes and text are the same, blank is none."""
    table = Affinity()
    table.learn("m", key("sk-canary"), "a", NOW)

    assert b"canary" not in b"".join(where[1] for where in table._entries)
    assert digest(" sk-canary\n") == digest(b"sk-canary") == key("sk-canary")
    assert digest("SK-canary") != key("sk-canary")
    assert digest("  ") is None
    assert digest(b"") is None
    assert len(key("\ud800")) == 16


def test_statistics_count_hits_and_misses() -> None:
    table = Affinity(entries=5)
    table.learn("m", ANNA, "a", NOW)
    for now in (NOW, NOW, NOW + 4000):
        table.find("m", ANNA, now)
    view = table.statistics()

    assert (view.entries, view.capacity, view.hits, view.misses, view.evicted) == (0, 5, 2, 1, 0)


def test_the_defaults_are_those_of_the_design_and_one_entry_is_enough() -> None:
    """Design 16: an hour, 10,000 entries."""
    one = Affinity(entries=1)
    for key_ in (ANNA, BEN):
        one.learn("m", key_, "a", NOW)

    assert Affinity().statistics() == AffinityStatistics(entries=0, capacity=10_000, hits=0, misses=0, evicted=0)
    assert one.find("m", BEN, NOW) == "a"
    assert one.statistics().entries == 1


def test_room_and_time_may_change_while_it_is_used() -> None:
    """O3: what is too much goes, the least recently used first; the new time counts from the next use."""
    table = Affinity(ttl=10)
    for number in range(3):
        table.learn("m", bytes([number]) * 16, "a", NOW)
    table.limit(ttl=100, entries=2)
    table.learn("m", bytes([2]) * 16, "a", NOW)

    assert [table.find("m", bytes([number]) * 16, NOW + 50) for number in range(3)] == [None, None, "a"]
    assert table.statistics().evicted == 1


@pytest.mark.parametrize("settings", [{"ttl": 0.0}, {"ttl": float("nan")}, {"entries": 0}])
def test_a_table_without_time_or_room_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidAsk) as caught:
        Affinity(**settings)  # type: ignore[arg-type]  # one setting each
    assert caught.value.argument in settings


moves = st.lists(
    st.tuples(
        st.sampled_from(["learn", "find", "forget"]), st.sampled_from("mn"), st.integers(0, 5), st.sampled_from("abc"),
        st.floats(0, 40),
    ),
    max_size=60,
)  # fmt: skip


@given(moves)
def test_the_table_agrees_with_a_plain_model(story: list[tuple[str, str, int, str, float]]) -> None:
    """O3: the same as a dictionary in order of use that is cut to size."""
    table, model, now = Affinity(ttl=60, entries=4), OrderedDict[tuple[str, bytes], tuple[str, float]](), NOW
    for what, base, session, credential, gap in story:
        now += gap
        where = (base, bytes([session]))
        if what == "learn":
            table.learn(*where, credential, now)
            model.pop(where, None)
            model[where] = (credential, now + 60)
            while len(model) > 4:
                model.popitem(last=False)
        elif what == "forget":
            table.forget_credential(credential)
            model = OrderedDict((one, held) for one, held in model.items() if held[0] != credential)
        else:
            held = model.pop(where, None)
            expected = held[0] if held and held[1] > now else None
            assert table.find(*where, now) == expected
            if held and expected:
                model[where] = held
        assert set(table._entries) == set(model)
        assert {one for keys in table._keys_of.values() for one in keys} == set(model)
        assert all(table._keys_of.values())


# --- kept and shared -------------------------------------------------------------------------------------------------

PREFERENCES = st.lists(
    st.builds(
        Preference,
        st.text(max_size=5),
        st.binary(min_size=16, max_size=16),
        st.sampled_from(["a", "b", "ü\0"]),
        st.integers(0, 5000).map(float),
    )
)


@given(PREFERENCES)
def test_preferences_survive_their_bytes(preferences: list[Preference]) -> None:
    assert decode_preferences(encode_preferences(preferences)) == preferences


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"preferences":[1]}', b'{"preferences":[["m","zz","a",1]]}'])
def test_damaged_preferences_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_preferences(data)


@given(PREFERENCES, PREFERENCES)
def test_two_that_adopt_each_others_preferences_agree(mine: list[Preference], theirs: list[Preference]) -> None:
    """Whatever the order: the later confirmation counts; nothing outlives a fresh entry."""
    one, other = Affinity(), Affinity()
    for table, first, second in ((one, mine, theirs), (other, theirs, mine)):
        table.adopt(first, 10.0)
        table.adopt(second, 10.0)
    for preference in (*mine, *theirs):
        found = {p.until for p in (*mine, *theirs) if (p.base, p.key) == (preference.base, preference.key)}
        untied = len({p.credential for p in (*mine, *theirs) if p.until == max(found)}) == 1
        if untied and max(found) <= 3610:
            found_by_both = [table.find(preference.base, preference.key, 10.0) for table in (one, other)]
            assert found_by_both[0] == found_by_both[1]
            assert (found_by_both[0] is None) is (max(found) <= 10)


def test_a_bucket_has_news_when_an_entry_is_new_moved_or_much_older_than_what_is_kept() -> None:
    """G12: a busy session is kept four times in its life, not at each call."""
    table, told = Affinity(ttl=100), list[float]()
    key = b"\x05" + bytes(15)
    for second in range(101):
        table.changed = lambda second=second: told.append(second)  # type: ignore[misc]
        table.learn("m", key, "a", float(second))
        assert table.unsaved <= {"5"}
        table.unsaved.clear()
    assert told == [0, 26, 52, 78]
    table.learn("m", key, "b", 101.0)
    assert table.unsaved == {"5"}
    assert table.bucket("5", 101.0) == [Preference("m", key, "b", 201.0)]
    assert table.bucket("4", 101.0) == []
    assert table.bucket("5", 201.0) == []
