"""C5: who is picked, clause by clause."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs
import pytest

from turnout import Ask, Credential, CredentialState, Metadata, ModelState, Quota, Status
from turnout._schedule import ReadyView, Schedule
from turnout._values import CLEAN
from turnout.abc import Candidate, Ready, Tier
from turnout.errors import InvalidAsk

NOW = 1000.0
SERVES = {"m": ("m",)}
Serves = Mapping[str, tuple[str, ...]]


def credential(
    id: str,
    provider: str = "p",
    *,
    priority: int | str | None = None,
    parent: str = "",
    websockets: bool = False,
    origin: str = "https://one:443",
) -> Credential:
    attributes = {} if priority is None else {"priority": str(priority)}
    if parent:
        attributes["gemini_virtual_parent"] = parent
    metadata = Metadata({"websockets": True}) if websockets else None
    return Credential(id=id, provider=provider, attributes=attributes, metadata=metadata, origin=origin)


def waits(until: float, model: str = "m", *, limit: bool = False) -> CredentialState:
    quota = Quota(exceeded=limit, reason="quota" if limit else "", next_recover_at=until if limit else None)
    state = ModelState(status=Status.ERROR, unavailable=True, next_retry_after=until, quota=quota)
    return CredentialState(models={model: state})


def schedule(*credentials: Credential | str, serves: Serves = SERVES, half_open: bool = False) -> Schedule:
    """Everybody in it is clean and serves `m`; half-open probing is off unless a test is about it."""
    made = Schedule(half_open=half_open)
    for one in credentials:
        made.upsert(credential(one) if isinstance(one, str) else one, CLEAN, serves, NOW)
    return made


def view(made: Schedule, providers: Sequence[str] = ("p",), base: str = "m", now: float = NOW) -> ReadyView:
    found = made.ready(providers, base, now)
    assert found is not None
    return found


def turns(
    made: Schedule,
    count: int,
    providers: Sequence[str] = ("p",),
    *,
    tried: Collection[str] = (),
    websocket: bool = False,
    now: float = NOW,
) -> list[str]:
    """Ids that round robin chooses, one after the other."""
    ids = []
    for _ in range(count):
        found = made.ready(providers, "m", now, tried=tried, websocket=websocket)
        assert found is not None
        choice = found.best.following()
        made.chosen(choice, found)
        ids.append(choice.id)
    return ids


def everybody(tiers: Iterable[Tier]) -> list[list[str]]:
    return [[candidate.id for candidate in tier] for tier in tiers]


# -- who stands in a group


def test_a_ready_view_and_its_candidates_are_what_the_protocols_say() -> None:
    """C2.5: a selector sees priority, parent, attributes, calls in flight and latency, and may change none of it."""
    found: Ready = view(schedule(credential("a", priority=3, parent="x")))
    candidate: Candidate = found.best.first()

    assert (candidate.id, candidate.provider, candidate.priority, candidate.parent) == ("a", "p", 3, "x")
    assert candidate.attributes == {"priority": "3", "gemini_virtual_parent": "x"}
    assert (candidate.in_flight, candidate.latency, found.now) == (0, None, NOW)
    with pytest.raises(AttributeError):
        candidate.priority = 9  # type: ignore[misc]  # that is what is tested


def test_provider_keys_are_lower_cased_and_trimmed_blanks_and_repeats_dropped() -> None:
    """C5.1, C5.10.1"""
    made = schedule(credential("a", " P "), credential("b", "q"))

    assert [one.id for one in view(made, ("", " P", "p", "Q ", "  ")).best] == ["a", "b"]


def test_a_disabled_credential_is_removed() -> None:
    """C5.1, C5.2"""
    made = schedule("a", "b")
    view(made)
    made.upsert(attrs.evolve(credential("a"), disabled=True), CLEAN, SERVES, NOW)

    assert everybody(view(made).tiers) == [["b"]]
    assert made.ready(("p",), "m", NOW, pin="a") is None
    made.upsert(credential(""), CLEAN, SERVES, NOW)  # nor is one without an id
    assert made.statistics().credentials == 1


def test_a_changed_provider_moves_a_credential() -> None:
    """C5.2: its calls in flight go with it."""
    made = schedule("a", "b")
    held = view(made).best.first()
    made.begin(held)
    made.upsert(credential("a", "q"), CLEAN, SERVES, NOW)

    assert everybody(view(made, ("p",)).tiers) == [["b"]]
    assert everybody(view(made, ("q",)).tiers) == [["a"]]
    assert view(made, ("q",)).best.first().in_flight == 1
    made.end(held)
    assert view(made, ("q",)).best.first().in_flight == 0


def test_a_removed_credential_is_gone_from_every_group() -> None:
    """O18: removing what is not there is no error, and a provider without credentials leaves nothing behind."""
    made = schedule("a")
    view(made), view(made, base="")
    made.remove("a")
    made.remove("a")

    assert made.ready(("p",), "m", NOW) is None
    assert made.statistics() == Schedule().statistics()


def test_everybody_serves_the_empty_model_and_otherwise_only_what_is_announced() -> None:
    """C5.1, C5.3"""
    made = schedule("a")
    made.upsert(credential("b"), CLEAN, {}, NOW)

    assert everybody(view(made, base="").tiers) == [["a", "b"]]
    assert everybody(view(made, base="m").tiers) == [["a"]]
    assert made.ready(("p",), "M", NOW) is None
    assert made.ready(("p",), "n", NOW) is None


def test_a_credential_announced_or_withdrawn_is_picked_or_not_at_once() -> None:
    """O12"""
    made = schedule("a", "b")
    view(made)
    made.upsert(credential("c"), CLEAN, SERVES, NOW)
    made.upsert(credential("a"), CLEAN, {"n": ("n",)}, NOW)

    assert everybody(view(made).tiers) == [["b", "c"]]
    assert everybody(view(made, base="n").tiers) == [["a"]]
    made.upsert(credential("a"), CLEAN, SERVES, NOW)
    assert made.ready(("p",), "n", NOW) is None
    assert everybody(view(made).tiers) == [["a", "b", "c"]]


def test_groups_are_built_when_they_are_consulted_and_never_for_unknown_names() -> None:
    """C5.1, O11: asking for what nobody serves costs nothing and leaves nothing."""
    made = schedule("a", "b", serves={"m": ("m",), "n": ("n",)})

    assert made.statistics().groups == 0
    view(made)
    for number in range(100):
        assert made.ready(("p", "q"), f"unknown {number}", NOW) is None
        made.why_not(("p",), f"unknown {number}", NOW, model="x")
    assert made.statistics().groups == 1
    assert made.statistics().entries == 2


def test_a_failed_pick_neither_rebuilds_nor_restarts_anything() -> None:
    """C5.13.4 and C5.15 with O11"""
    made = schedule("a", "b", "c")
    turns(made, 1)
    candidate = view(made).best.first()
    assert made.ready(("p",), "m", NOW, tried={"a", "b", "c"}) is None
    made.why_not(("p",), "m", NOW, model="m", tried={"a", "b", "c"})

    assert view(made).best.first() is candidate
    assert turns(made, 1) == ["b"]


# -- states and times


@pytest.mark.parametrize("limit", [True, False])
def test_a_cooling_credential_is_skipped_until_its_time(limit: bool) -> None:
    """C5.4, C5.6, C4.6"""
    made = schedule("a", "b")
    made.update("a", waits(NOW + 5, limit=limit), "m", NOW)

    assert everybody(view(made).tiers) == [["b"]]
    assert everybody(view(made, now=NOW + 4.999).tiers) == [["b"]]
    assert everybody(view(made, now=NOW + 5).tiers) == [["a", "b"]]


def test_a_model_that_waits_does_not_keep_another_one_back() -> None:
    """C4.2, C5.1"""
    made = schedule("a", serves={"m": ("m",), "n": ("n",)})
    view(made, base="n")
    made.update("a", waits(NOW + 5), "m", NOW)

    assert made.ready(("p",), "m", NOW) is None
    assert everybody(view(made, base="n").tiers) == [["a"]]


def test_an_alias_waits_for_the_first_of_its_members() -> None:
    """O28"""
    made = schedule("a", serves={"alias": ("x", "y")})
    view(made, base="alias")
    state = waits(NOW + 9, "x", limit=True)
    made.update("a", state, "x", NOW)
    assert made.ready(("p",), "alias", NOW) is not None

    both = attrs.evolve(state, models={**state.models, **waits(NOW + 4, "y", limit=True).models})
    made.update("a", both, "y", NOW)
    assert made.ready(("p",), "alias", NOW) is None
    assert made.soonest(("p",), "alias", NOW) == NOW + 4
    assert made.ready(("p",), "alias", NOW + 4) is not None


def test_an_alias_follows_its_pool_when_that_changes() -> None:
    """O12, O28"""
    made = schedule("a", serves={"alias": ("x",)})
    made.update("a", waits(NOW + 9, "x"), "x", NOW)
    assert made.ready(("p",), "alias", NOW) is None
    made.upsert(credential("a"), waits(NOW + 9, "x"), {"alias": ("x", "y")}, NOW)
    assert made.ready(("p",), "alias", NOW) is not None
    made.update("a", CredentialState(models={**waits(NOW + 9, "x").models, **waits(NOW + 4, "y").models}), "y", NOW)

    assert made.soonest(("p",), "alias", NOW) == NOW + 4


def test_a_recovery_time_beyond_the_retry_time_is_shown_but_holds_nobody_back() -> None:
    """C4.5, C5.12: the error tells the recovery time; C4 alone says who is blocked."""
    quota = Quota(exceeded=True, next_recover_at=NOW + 60)
    state = ModelState(unavailable=True, next_retry_after=NOW + 10, quota=quota)
    made = schedule("a")
    made.update("a", CredentialState(models={"m": state}), None, NOW)

    assert made.why_not(("p",), "m", NOW, model="m").until == NOW + 60
    assert made.ready(("p",), "m", NOW + 10) is not None


def test_the_empty_model_follows_the_aggregate_of_the_others() -> None:
    """C4.3, C10.7"""
    made = schedule("a")
    view(made, base="")
    whole = attrs.evolve(waits(NOW + 5), unavailable=True, next_retry_after=NOW + 5)
    made.update("a", whole, "m", NOW)

    assert made.ready(("p",), "", NOW) is None
    assert made.ready(("p",), "", NOW + 5) is not None


def test_an_operators_switch_on_one_model_turns_it_off() -> None:
    """C4.2b, C5.4"""
    made = schedule("a", "b")
    made.update("a", CredentialState(models={"m": ModelState(status=Status.DISABLED)}), "m", NOW)

    assert everybody(view(made, now=NOW + 10**9).tiers) == [["b"]]
    assert made.statistics().off == 1
    made.update("a", CLEAN, None, NOW)
    assert everybody(view(made).tiers) == [["a", "b"]]


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    "state",
    [
        CredentialState(status=Status.DISABLED),
        CredentialState(needs_login="revoked"),
        CredentialState(unusable_until=NOW + 5),
    ],
)
def test_what_concerns_the_whole_credential_keeps_every_group_back(state: CredentialState, built: bool) -> None:
    """C4.1, O57: even when the change came with an outcome of some other model."""
    made = schedule("a", serves={"m": ("m",), "n": ("n",)})
    if built:
        view(made)
    made.update("a", state, "n", NOW)

    assert made.ready_count("p", "m", NOW) == 0
    assert made.ready(("p",), "m", NOW) is None
    assert made.soonest(("p",), "m", NOW) == state.unusable_until
    made.update("a", CLEAN, "n", NOW)
    assert made.ready(("p",), "m", NOW) is not None


def test_an_outcome_moves_nothing_but_its_own_credential_and_model() -> None:
    """O13: the state of `n` changed too, but this outcome was not about it, so its entry was not looked at."""
    made = schedule("a", serves={"m": ("m",), "n": ("n",)})
    view(made), view(made, base="n")
    state = attrs.evolve(waits(NOW + 5), models={**waits(NOW + 5).models, **waits(NOW + 5, "n").models})
    made.update("a", state, "m", NOW)

    assert made.ready(("p",), "m", NOW) is None
    assert made.ready(("p",), "n", NOW) is not None


# -- order and tiers


def test_tiers_go_by_priority_and_inside_by_id() -> None:
    """C5.5, C1.12.1"""
    made = schedule(
        credential("b"), credential("a", priority="x"), credential("Z", priority=-1), credential("c", priority=" 10 ")
    )

    assert everybody(view(made).tiers) == [["c"], ["a", "b"], ["Z"]]
    assert [tier.priority for tier in view(made).tiers] == [10, 0, -1]
    assert view(made).best.priority == 10


def test_ids_compare_by_code_point() -> None:
    """C5.5"""
    assert [one.id for one in view(schedule("é", "a", "Z", "10", "9", "z")).best] == ["10", "9", "Z", "a", "z", "é"]


def test_a_lower_tier_is_reached_only_when_all_higher_ones_are_tried_or_not_ready() -> None:
    """C5.8"""
    made = schedule(credential("a", priority=2), credential("b", priority=2), credential("c", priority=1))
    made.update("a", waits(NOW + 5), "m", NOW)

    assert turns(made, 2) == ["b", "b"]
    assert turns(made, 1, tried={"b"}) == ["c"]
    assert made.ready(("p",), "m", NOW, tried={"b", "c"}) is None
    assert turns(made, 1, tried={"b"}, now=NOW + 5) == ["a"]


def test_a_changed_priority_moves_a_credential_at_once() -> None:
    """C5.2, C5.5"""
    made = schedule("a", "b")
    view(made)
    made.upsert(credential("b", priority=5), CLEAN, SERVES, NOW)

    assert everybody(view(made).tiers) == [["b"], ["a"]]


# -- choosing inside a tier


def test_fill_first_takes_the_first_by_id_that_passes() -> None:
    """C5.7.1: without any rotation."""
    made = schedule("b", "a", "c")
    for _ in range(3):
        found = view(made)
        made.chosen(found.best.first(), found)
        assert found.best.first().id == "a"
    found = made.ready(("p",), "m", NOW, tried=["a"])  # type: ignore[assignment]  # it is asserted
    assert found is not None
    assert found.best.first().id == "b"


def test_round_robin_takes_everybody_in_turn() -> None:
    """C5.7.2"""
    assert turns(schedule("a", "b", "c"), 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_filtered_credentials_are_skipped_and_keep_their_turn() -> None:
    """C5.7.2: skipped, not consumed."""
    made = schedule("a", "b", "c", "d")

    assert turns(made, 1, tried={"a", "b"}) == ["c"]
    assert turns(made, 2) == ["d", "a"]


def test_asking_without_choosing_moves_nothing() -> None:
    made = schedule("a", "b")

    assert [view(made).best.following().id for _ in range(3)] == ["a", "a", "a"]


@pytest.mark.parametrize("change", ["fails", "recovers", "joins", "leaves", "moves", "same", "succeeds"])
def test_rotation_goes_on_behind_the_last_choice_whatever_changed(change: str) -> None:
    """O10 against C5.15: in the seed each of these restarts the rotation."""
    made = schedule("a", "b", "c", "d")
    made.update("d", waits(NOW + 1), "m", NOW)
    assert turns(made, 2) == ["a", "b"]
    if change == "fails":
        made.update("b", waits(NOW + 60), "m", NOW)
    elif change == "joins":
        made.upsert(credential("aa"), CLEAN, SERVES, NOW)
    elif change == "leaves":
        made.remove("b")
    elif change == "moves":
        made.upsert(credential("a", priority=-1), CLEAN, SERVES, NOW)
    elif change == "same":
        made.upsert(credential("a"), CLEAN, SERVES, NOW)
    elif change == "succeeds":
        made.update("b", CredentialState(models={"m": ModelState()}), "m", NOW)

    assert turns(made, 1, now=NOW + (1 if change == "recovers" else 0)) == ["c"]


def test_with_two_parents_these_take_turns_and_their_members_inside() -> None:
    """C5.7.3"""
    made = schedule(
        credential("a1", parent="a"), credential("b1", parent="b"), credential("a2", parent="a"),
        credential("a3", parent="a"),
    )  # fmt: skip

    assert turns(made, 6) == ["a1", "b1", "a2", "b1", "a3", "b1"]
    assert turns(made, 1) == ["a1"]


def test_a_parent_without_a_passing_member_is_skipped() -> None:
    """C5.7.3"""
    made = schedule(
        credential("a1", parent="a"), credential("b1", parent="b"), credential("b2", parent="b"),
        credential("c1", parent="c"),
    )  # fmt: skip

    assert turns(made, 1) == ["a1"]
    assert turns(made, 1, tried={"b1", "b2"}) == ["c1"]
    assert turns(made, 1, tried={"a1", "b1", "c1"}) == ["b2"]
    assert made.ready(("p",), "m", NOW, tried={"a1", "b1", "b2", "c1"}) is None


def test_a_parent_whose_members_all_cool_loses_its_turn() -> None:
    """C5.7.3"""
    made = schedule(credential("a1", parent="a"), credential("b1", parent="b"), credential("c1", parent="c"))
    view(made)
    made.update("b1", waits(NOW + 5), "m", NOW)

    assert turns(made, 3) == ["a1", "c1", "a1"]
    assert turns(made, 2, now=NOW + 5) == ["b1", "c1"]


def test_with_one_parent_or_any_credential_without_one_rotation_is_plain() -> None:
    """C5.7.3"""
    alone = schedule(credential("a1", parent="a"), credential("a2", parent="a"))
    mixed = schedule(credential("a1", parent="a"), credential("a2", parent="a"), credential("b1", parent="b"), "c")

    assert turns(alone, 3) == ["a1", "a2", "a1"]
    assert turns(mixed, 4) == ["a1", "a2", "b1", "c"]


def test_grouping_looks_at_the_ready_entries_of_the_tier() -> None:
    """C5.5, C5.7.3: a credential without a parent that cools does not stand in the tier."""
    made = schedule(credential("a1", parent="a"), credential("a2", parent="a"), credential("b1", parent="b"), "c")
    made.update("c", waits(NOW + 5), "m", NOW)

    assert turns(made, 3) == ["a1", "b1", "a2"]


def test_with_one_parent_left_rotation_is_plain_and_goes_on_behind_the_last_choice() -> None:
    """C5.7.3 with O10"""
    made = schedule(credential("a1", parent="a"), credential("a2", parent="a"), credential("b1", parent="b"))
    assert turns(made, 2) == ["a1", "b1"]
    made.update("b1", waits(NOW + 5), "m", NOW)

    assert turns(made, 3) == ["a1", "a2", "a1"]


def test_single_and_mixed_picks_share_their_marks() -> None:
    """C5.7.4"""
    made = schedule("a", "b", "c", credential("x", "q"))

    assert turns(made, 1) == ["a"]
    assert turns(made, 2, ("p", "q")) == ["b", "x"]
    assert turns(made, 1) == ["c"]


# -- websockets


def test_a_websocket_prefers_those_that_have_them_on_within_each_tier() -> None:
    """C5.9.3 with O8: in executions too, for whatever provider the conductor says."""
    made = schedule("a", credential("b", websockets=True), "c", credential("d", websockets=True))

    assert turns(made, 3, websocket=True) == ["b", "d", "b"]
    assert turns(made, 2, websocket=False) == ["c", "d"]


def test_a_websocket_prefers_them_over_all_providers_of_the_tier() -> None:
    """C5.9.3, O8"""
    made = schedule("a", credential("x", "q", websockets=True))

    assert [turns(made, 1, ("p", "q"), websocket=True) for _ in range(2)] == [["x"], ["x"]]


def test_a_websocket_falls_back_to_plain_members_of_the_same_tier() -> None:
    """O9"""
    made = schedule("a", credential("b", websockets=True), credential("low", priority=-1, websockets=True))

    assert turns(made, 1, websocket=True, tried={"b"}) == ["a"]
    made.update("b", waits(NOW + 5), "m", NOW)
    assert turns(made, 1, websocket=True) == ["a"]
    assert turns(made, 1, websocket=True, tried={"a"}) == ["low"]


def test_a_websocket_does_not_change_the_tier() -> None:
    """C5.9.3, C5.8"""
    made = schedule(credential("a", priority=1), credential("b", websockets=True))

    assert turns(made, 1, websocket=True) == ["a"]


def test_a_pin_and_a_websocket_give_the_pinned_one() -> None:
    """C5.9.3"""
    made = schedule("a", credential("b", websockets=True))
    found = made.ready(("p",), "m", NOW, pin="a", websocket=True)

    assert found is not None
    assert everybody(found.tiers) == [["a"]]


def test_the_websocket_flag_follows_the_credential() -> None:
    """C1.12.2, C5.2"""
    made = schedule("a", "b")
    assert turns(made, 1, websocket=True) == ["a"]
    made.upsert(credential("a", websockets=True), CLEAN, SERVES, NOW)

    assert turns(made, 2, websocket=True) == ["a", "a"]


# -- several providers


def test_providers_alternate_one_to_one_however_many_credentials_each_has() -> None:
    """C5.10.5, O17"""
    made = schedule("a", "b", "c", credential("x", "q"))

    assert turns(made, 6, ("p", "q")) == ["a", "x", "b", "x", "c", "x"]


def test_a_provider_with_nobody_ready_loses_its_turn() -> None:
    """C5.10.5"""
    made = schedule("a", credential("x", "q"), credential("y", "r"))
    made.update("x", waits(NOW + 5), "m", NOW)

    assert turns(made, 4, ("p", "q", "r")) == ["a", "y", "a", "y"]
    assert turns(made, 3, ("p", "q", "r"), now=NOW + 5) == ["a", "x", "y"]


def test_one_rotation_serves_a_set_of_providers_however_it_is_ordered() -> None:
    """O17: the catalogue reorders its lists when counts change."""
    made = schedule("a", credential("x", "q"))

    assert turns(made, 1, ("p", "q")) == ["a"]
    assert turns(made, 1, ("q", "p")) == ["x"]
    assert turns(made, 1, ("p", "q")) == ["a"]


def test_each_set_of_providers_has_a_turn_of_its_own() -> None:
    """C5.10.5"""
    made = schedule("a", credential("x", "q"), credential("y", "r"))

    assert turns(made, 1, ("p", "q")) == ["a"]
    assert turns(made, 1, ("p", "r")) == ["a"]
    assert turns(made, 1, ("p", "q")) == ["x"]


def test_each_model_has_a_turn_of_its_own() -> None:
    """C5.10.5"""
    serves = {"m": ("m",), "n": ("n",)}
    made = schedule("a", credential("x", "q"), serves=serves)
    chosen = []
    for base in ("m", "n", "m", "n"):
        found = view(made, ("p", "q"), base)
        chosen.append(found.best.following().id)
        made.chosen(found.best.following(), found)

    assert chosen == ["a", "a", "x", "x"]


def test_the_best_tier_is_found_over_all_providers() -> None:
    """C5.10.3"""
    made = schedule("a", credential("x", "q", priority=5))

    assert turns(made, 3, ("p", "q")) == ["x", "x", "x"]
    assert everybody(view(made, ("p", "q")).tiers) == [["x"], ["a"]]


def test_fill_first_takes_the_first_provider_listed() -> None:
    """C5.10.4"""
    made = schedule("b", credential("a", "q"), credential("top", "r", priority=-1))

    assert view(made, ("r", "p", "q")).best.first().id == "b"
    assert view(made, ("q", "p")).best.first().id == "a"
    assert [one.id for one in view(made, ("q", "r", "p")).best] == ["a", "b"]


def test_a_choice_without_its_view_moves_the_latest_views_mark() -> None:
    """C5.10.5"""
    made = schedule("a", credential("x", "q"))
    made.chosen(view(made, ("p", "q")).best.following())

    assert turns(made, 1, ("p", "q")) == ["x"]


def test_marks_of_providers_are_bounded() -> None:
    """C5.14: at most 4096, then all are dropped."""
    bases = {f"m{number}": (f"m{number}",) for number in range(4097)}
    made = schedule(serves=bases)
    made.upsert(credential("a"), CLEAN, bases, NOW)
    made.upsert(credential("x", "q"), CLEAN, bases, NOW)
    for base in bases:
        found = view(made, ("p", "q"), base)
        made.chosen(found.best.following(), found)

    assert len(made._turns._last) == 1


# -- pins and preferences


@pytest.mark.parametrize("case", ["unknown", "of another provider", "not serving", "tried", "cooling", "disabled"])
def test_a_pin_never_falls_back(case: str) -> None:
    """C5.10.2, C5.11"""
    made = schedule("a", "b")
    if case == "of another provider":
        made.upsert(credential("b", "q"), CLEAN, SERVES, NOW)
    elif case == "not serving":
        made.upsert(credential("b"), CLEAN, {}, NOW)
    elif case == "cooling":
        made.update("b", waits(NOW + 5), "m", NOW)
    elif case == "disabled":
        made.upsert(attrs.evolve(credential("b"), disabled=True), CLEAN, SERVES, NOW)
    tried = {"b"} if case == "tried" else set()
    pin = "nobody" if case == "unknown" else "b"

    assert made.ready(("p",), "m", NOW, pin=pin, tried=tried) is None
    assert made.ready(("p",), "m", NOW, pin="a", tried=tried) is not None


def test_a_pin_passes_over_priorities_and_leaves_the_providers_turn_alone() -> None:
    """C5.10.2"""
    made = schedule("a", credential("x", "q", priority=9), credential("y", "q"))
    found = made.ready(("p", "q"), "m", NOW, pin="a")
    assert found is not None
    choice = found.best.following()
    made.chosen(choice, found)
    made.chosen(choice)

    assert [choice.id, found.best.first().id] == ["a", "a"]
    assert found.turn is None
    assert made._turns._last == {}


def test_a_preference_is_shown_when_it_passes_and_no_higher_tier_is_ready() -> None:
    """O1, O2, O4, O5"""
    made = schedule("a", "b", credential("top", priority=1))

    def preferred(*, tried: Collection[str] = (), id: str = "b", base: str = "m") -> str | None:
        found = made.ready(("p",), base, NOW, prefer=id, tried=tried)
        assert found is not None
        return None if found.preferred is None else found.preferred.id

    assert preferred() is None  # O5: a higher tier is ready
    assert preferred(tried={"top"}) == "b"
    assert preferred(tried={"top", "b"}) is None  # O2: it failed, so the call goes on elsewhere
    made.update("top", waits(NOW + 5), "m", NOW)
    assert preferred() == "b"
    made.update("b", waits(NOW + 5), "m", NOW)
    assert preferred() is None  # O1
    assert preferred(base="") is None  # O5 again: `top` waits for `m` only
    assert preferred(id="nobody") is None
    made.upsert(credential("b"), CLEAN, {}, NOW)
    assert preferred() is None  # O4: eligibility is judged per model


def test_a_preference_may_go_before_a_higher_tier() -> None:
    """O5: which of the two goes first can be configured."""
    made = schedule("a", credential("top", priority=1))
    found = made.ready(("p",), "m", NOW, prefer="a", prefer_tier=False)
    assert found is not None
    assert found.preferred is not None
    assert (found.preferred.id, found.best.first().id) == ("a", "top")


def test_a_preference_for_another_provider_is_no_preference() -> None:
    """O1"""
    made = schedule("a", credential("x", "q"))
    found = made.ready(("p",), "m", NOW, prefer="x")

    assert found is not None
    assert found.preferred is None


# -- origins


def test_credentials_of_skipped_origins_are_left_out() -> None:
    """Design 8: after `origin_failures` the others of that origin are skipped for the rest of the pass."""
    made = schedule("a", "b", credential("c", origin="https://two:443"), credential("low", priority=-1))
    skipped = frozenset({"https://one:443"})
    found = made.ready(("p",), "m", NOW, skip_origins=skipped)
    assert found is not None

    assert everybody(found.tiers) == [["c"]]
    assert made.ready(("p",), "m", NOW, skip_origins=skipped, tried={"c"}) is None
    assert made.ready(("p",), "m", NOW, skip_origins=skipped, pin="a") is None
    made.upsert(credential("a", origin="https://two:443"), CLEAN, SERVES, NOW)
    assert made.ready(("p",), "m", NOW, skip_origins=skipped, tried={"c"}) is not None


# -- calls in flight


def test_calls_in_flight_are_counted_over_all_models() -> None:
    """C2.5, for selectors that look for the least busy one"""
    made = schedule("a", serves={"m": ("m",), "n": ("n",)})
    one, other = view(made).best.first(), view(made, base="n").best.first()
    made.begin(one)
    made.begin(other)
    made.end(one, release=False, took=2.0)
    assert (one.in_flight, other.in_flight) == (2, 2)
    made.end(one)
    assert one.in_flight == 1
    made.upsert(credential("a", priority=4), CLEAN, {"m": ("m",)}, NOW)
    assert view(made).best.first().in_flight == 1
    made.end(other)
    assert view(made).best.first().in_flight == 0


def test_latency_is_a_moving_average_per_model_that_survives_updates() -> None:
    made = schedule("a", serves={"m": ("m",), "n": ("n",)})
    candidate = view(made).best.first()
    made.begin(candidate)
    made.end(candidate, took=1.0)
    made.end(candidate, release=False, took=2.0)
    made.upsert(credential("a", priority=4), CLEAN, SERVES, NOW)

    assert view(made).best.first().latency == pytest.approx(1.2)
    assert candidate.latency == pytest.approx(1.2)


def test_a_call_may_outlive_its_credential() -> None:
    """O18"""
    made = schedule("a")
    held = view(made).best.first()
    made.begin(held)
    made.remove("a")
    made.upsert(credential("a"), CLEAN, SERVES, NOW)
    made.chosen(held)
    made.end(held)

    assert view(made).best.first().in_flight == 0


def test_a_candidate_that_is_not_ours_is_refused() -> None:
    made = schedule("a")

    class Stranger:
        id = provider = parent = ""
        priority = in_flight = 0
        attributes: Mapping[str, str] = {}
        latency = remaining = None

    for use in (made.chosen, made.end, made.begin):
        with pytest.raises(InvalidAsk, match="candidate comes from the ready view"):
            use(Stranger())


def test_a_view_that_is_over_says_so() -> None:
    made = schedule("a")
    found = view(made)
    made.remove("a")

    for ask in (found.best.first, found.best.following):
        with pytest.raises(LookupError, match="only during `select`"):
            ask()


# -- half open


def half_open() -> tuple[Schedule, float]:
    made = schedule("a", "b", half_open=True)
    made.update("a", waits(NOW + 5), "m", NOW)
    made.update("b", waits(NOW + 500), "m", NOW)
    return made, NOW + 5


def test_after_a_cooldown_one_probe_at_a_time_is_let_through() -> None:
    """Design 8, D6: while it runs the credential counts as cooling for another second, whenever it is asked."""
    made, now = half_open()
    probe = view(made, now=now).best.first()
    assert made.begin(probe)

    assert made.ready(("p",), "m", now) is None
    assert made.ready(("p",), "m", now, pin="a") is None
    for later in (now, now + 30):
        error = made.why_not(("p",), "m", later, model="m")
        assert (error.code, error.until) == ("model_cooldown", later + 1)
        assert made.soonest(("p",), "m", later) == later + 1
        assert made.soonest(("p",), "m", later, pin="a") == later + 1
    assert made.statistics().probing == 1


@pytest.mark.parametrize("how", ["first payload", "failure", "cancellation", "success"])
def test_a_probe_ends_with_its_first_payload_or_however_the_call_ends(how: str) -> None:
    """Design 8"""
    made, now = half_open()
    probe = view(made, now=now).best.first()
    made.begin(probe)
    if how == "first payload":
        made.end(probe, release=False)
    elif how == "success":
        made.update("a", CLEAN, "m", now)
        assert made.ready(("p",), "m", now) is not None
        made.end(probe)
    elif how == "failure":
        made.update("a", waits(now + 9), "m", now)
        made.end(probe)
        assert made.ready(("p",), "m", now + 8.9) is None
        now += 9
    else:
        made.end(probe)

    found = made.ready(("p",), "m", now)
    assert found is not None
    assert made.begin(found.best.first()) is (how != "success")


def test_until_one_probe_succeeds_the_next_is_a_probe_too() -> None:
    """Design 16"""
    made, now = half_open()
    for _ in range(3):
        probe = view(made, now=now).best.first()
        assert made.begin(probe)
        assert made.ready(("p",), "m", now) is None
        made.end(probe)
    made.update("a", CLEAN, "m", now)

    assert not made.begin(view(made, now=now).best.first())
    assert made.ready(("p",), "m", now) is not None


def test_a_call_that_began_before_the_cooldown_does_not_end_the_probe() -> None:
    """Design 8: `begin` says which call is the probe."""
    made = schedule("a", half_open=True)
    candidate = view(made).best.first()
    earlier = made.begin(candidate)
    made.update("a", waits(NOW + 5), "m", NOW)
    view(made, now=NOW + 5)
    assert made.begin(candidate)
    made.end(candidate, probe_over=earlier)

    assert made.ready(("p",), "m", NOW + 5) is None


def test_a_probe_survives_a_change_of_its_credential_and_dies_with_it() -> None:
    """Design 8"""
    made, now = half_open()
    probe = view(made, now=now).best.first()
    made.begin(probe)
    made.upsert(credential("a", priority=3), waits(NOW + 5), SERVES, now)
    assert made.ready(("p",), "m", now) is None
    assert made.soonest(("p",), "m", now) == now + 1
    made.remove("a")
    made.end(probe)

    assert made.statistics().probing == 0
    assert made.ready(("p",), "m", now) is None


def of_two_names(*names: str) -> Schedule:
    """One credential, half open at `NOW` for these names, which serves `m` by two aliases and pools `m` with `n`."""
    serves = {"m": ("m",), "fast": ("m",), "n": ("n",), "pool": ("m", "n")}
    made = schedule("a", serves=serves, half_open=True)
    lapsed = {name: entry for name in names for entry in waits(NOW - 1, name).models.values()}
    made.update("a", CredentialState(models=lapsed), None, NOW)
    return made


@pytest.mark.parametrize("built", [False, True])
def test_one_probe_of_a_model_is_enough_whatever_alias_asks_for_it(built: bool) -> None:
    """Design 8: the upstream sees one model; groups that are built later know of the probe, too."""
    made = of_two_names("m")
    if built:
        view(made, base="fast")
    probe = view(made).best.first()
    assert made.begin(probe, "m")

    assert made.ready_count("p", "fast", NOW) == 0
    assert made.ready(("p",), "fast", NOW) is None
    assert made.soonest(("p",), "fast", NOW) == NOW + 1
    assert made.ready(("p",), "n", NOW) is not None
    made.end(probe, "m")
    assert made.begin(view(made, base="fast").best.first(), "m")
    assert made.ready(("p",), "m", NOW) is None


def test_a_pool_goes_on_with_sound_members_while_one_is_probed() -> None:
    """Design 8, O28."""
    made = of_two_names("m")
    pool = view(made, base="pool").best.first()
    assert made.begin(pool, "m")

    assert made.is_probed("a", "m")
    assert not made.is_probed("a", "n")
    assert made.ready(("p",), "m", NOW) is None
    again = view(made, base="pool").best.first()
    assert not made.begin(again, "n")
    made.end(again, "n", probe_over=False)
    assert made.is_probed("a", "m")
    made.end(pool, "m")
    assert not made.is_probed("a", "m")
    assert made.ready(("p",), "m", NOW) is not None


def test_a_pool_with_no_sound_member_is_probed_through_one_at_a_time() -> None:
    """Design 8: whoever asks for that member, by the pool's alias or by its own name."""
    made = of_two_names("m", "n")
    probe = view(made, base="n").best.first()
    assert made.begin(probe, "n")

    assert made.ready(("p",), "pool", NOW) is None
    assert made.ready(("p",), "m", NOW) is not None
    made.update("a", CredentialState(models=waits(NOW - 1).models), "n", NOW)
    assert made.ready(("p",), "pool", NOW) is not None
    made.end(probe, "n")
    assert made.statistics().probing == 0


def test_with_half_open_switched_off_a_block_that_is_over_leaves_no_trace() -> None:
    """Design 16: then C10 with C19 holds to the letter."""
    made = schedule("a")
    made.update("a", waits(NOW + 5), "m", NOW)
    assert not made.begin(view(made, now=NOW + 5).best.first())

    assert made.ready(("p",), "m", NOW + 5) is not None


def test_switching_half_open_off_ends_the_probes_under_way() -> None:
    """C4, C10 with design 16: to the letter from now on, and not only once a slow probe is over."""
    made, now = half_open()
    probe = view(made, now=now).best.first()
    assert made.begin(probe)
    made.probe_after_blocks(on=False)

    found = made.ready(("p",), "m", now)
    assert found is not None
    assert not made.begin(found.best.first())
    assert made.statistics().probing == 0
    made.end(probe)
    made.end(probe, probe_over=False)
    assert probe.in_flight == 0


# -- what listings and the ledger ask


def test_the_last_ready_credential_of_a_model_is_known() -> None:
    """Design 16: over all providers asked for, and whatever was tried."""
    made = schedule("a", "b", credential("x", "q"))

    assert not made.is_last_ready("a", "m", ("p",), NOW)
    made.update("b", waits(NOW + 5), "m", NOW)
    assert made.is_last_ready("a", "m", ("p",), NOW)
    assert not made.is_last_ready("b", "m", ("p",), NOW)
    assert not made.is_last_ready("a", "m", ("p", "q"), NOW)
    assert not made.is_last_ready("a", "m", ("p",), NOW + 5)
    made.update("a", waits(NOW + 5), "m", NOW)
    assert made.is_last_ready("b", "m", ("p",), NOW)


@pytest.mark.parametrize("built", [False, True])
def test_ready_credentials_are_counted_by_their_own_times(built: bool) -> None:
    """O60, O61: whether the group has been built or not."""
    made = schedule("a", "b", "c")
    made.upsert(credential("d"), CLEAN, {"n": ("n",)}, NOW)
    if built:
        view(made)
    made.update("a", waits(NOW + 5, limit=True), "m", NOW)
    made.update("b", waits(NOW + 9), "m", NOW)

    assert [made.ready_count("p", "m", NOW + later) for later in (0, 4.9, 5, 9)] == [1, 1, 2, 3]
    assert (made.ready_count(" P ", "", NOW), made.ready_count("p", "n", NOW)) == (4, 1)
    assert (made.ready_count("p", "unknown", NOW), made.ready_count("q", "m", NOW)) == (0, 0)
    assert made.statistics().groups == int(built)


@pytest.mark.parametrize("built", [False, True])
def test_those_who_are_blocked_for_another_reason_than_a_rate_limit_are_counted(built: bool) -> None:
    """C16.5 with O60: whether the group has been built or not."""
    made = schedule("a", "b", "c", "d")
    if built:
        view(made)
    made.update("a", waits(NOW + 5, limit=True), "m", NOW)
    made.update("b", waits(NOW + 9), "m", NOW)
    made.update("c", CredentialState(models={"m": ModelState(status=Status.DISABLED)}), "m", NOW)

    assert [made.blocked_count(" P ", "m", NOW + later) for later in (0, 8.9, 9)] == [2, 2, 1]
    assert (made.blocked_count("p", "unknown", NOW), made.blocked_count("q", "m", NOW)) == (0, 0)
    assert made.statistics().groups == int(built)


def test_statistics_say_how_many_stand_where() -> None:
    made = schedule("a", "b", "c", "d", half_open=True)
    view(made)
    made.update("a", waits(NOW + 5, limit=True), "m", NOW)
    made.update("b", waits(NOW + 5), "m", NOW)
    made.update("c", CredentialState(models={"m": ModelState(status=Status.DISABLED)}), "m", NOW)
    seen = made.statistics()

    assert (seen.credentials, seen.groups, seen.entries) == (4, 1, 4)
    assert (seen.ready, seen.cooling, seen.blocked, seen.off, seen.probing) == (1, 1, 1, 1, 0)


@pytest.mark.parametrize("count", [3, 50, 1100])
def test_of_n_ready_credentials_each_gets_its_share(count: int) -> None:
    """D7: 1/N within ten per cent over 10,000 picks, while one of them keeps failing and another comes and goes."""
    made = schedule(*(f"c{number:04}" for number in range(count)))
    shares: Counter[str] = Counter()
    for step in range(10_000):
        if step % 7 == 0:
            made.update("c0001", waits(NOW + step + 3), "m", NOW + step)
        if step % 5 == 0:
            made.upsert(credential("c0002"), CLEAN, SERVES if step % 10 else {}, NOW + step)
        shares.update(turns(made, 1, now=NOW + step))
    del shares["c0001"], shares["c0002"]
    fair = shares.total() / len(shares)

    assert all(abs(share - fair) <= max(fair / 10, 1) for share in shares.values())


def test_a_selector_is_handed_the_view_as_it_is() -> None:
    """O6: any selector sees the same candidates; there is no second computation to disagree with."""

    class Heaviest:
        api = 1

        def select(self, ready: Ready, ask: Ask, draw: object) -> Candidate | None:
            return max((one for tier in ready.tiers for one in tier), key=lambda one: one.id)

    made = schedule("a", "b", credential("z", priority=-1), credential("zz", priority=-2))
    made.update("zz", waits(NOW + 5), "m", NOW)
    choice = Heaviest().select(view(made), Ask(model="m"), None)
    assert choice is not None
    made.chosen(choice)

    assert choice.id == "z"
