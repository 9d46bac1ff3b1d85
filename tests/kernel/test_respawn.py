from hypothesis import given
from hypothesis import strategies as st

from turnout._respawn import PAUSE_CAP, STEADY, TRIES, End, GiveUp, House, Respawn, next_step

KILLED = -9
ALONE = House(draining=False, started=True, serving=False)
TWO = House(draining=False, started=True, serving=True)


def pauses(ends: list[End], house: House) -> list[float | None]:
    """Seconds before each successor; None for the end of all, which is the last."""
    found: list[float | None] = []
    early = 0
    for end in ends:
        step = next_step(end, early, house)
        if not isinstance(step, Respawn):
            return [*found, None]
        early = step.early
        found.append(step.pause)
    return found


def test_a_process_that_served_long_is_replaced_at_once() -> None:
    assert next_step(End(code=KILLED, served=STEADY), 3, TWO) == Respawn(0.0, 0)


def test_successors_that_end_early_come_later_each_time_up_to_a_minute() -> None:
    """H8's curve."""
    ends = [End(code=1, served=None)] * 2000

    assert pauses(ends, TWO) == [0, 1, 2, 4, 8, 16, 32, *[60] * 1993]


def test_a_process_that_serves_well_in_between_is_forgiven_what_was_before() -> None:
    early, sound = End(code=1, served=1.0), End(code=KILLED, served=100.0)

    assert pauses([early, early, early, sound, early, early], TWO) == [0, 1, 2, 0, 0, 1]


def test_it_is_over_when_nobody_serves_and_no_successor_does() -> None:
    assert pauses([End(code=3, served=None)] * 10, ALONE) == [0, 1, 2, 4, 8, None]
    assert next_step(End(code=3, served=None), TRIES, ALONE) == GiveUp(1)


def test_a_start_that_fails_ends_all_with_its_own_code() -> None:
    starting = House(draining=False, started=False, serving=True)

    assert next_step(End(code=3, served=None), 0, starting) == GiveUp(3)
    assert next_step(End(code=KILLED, served=None), 0, starting) == GiveUp(1)
    assert next_step(End(code=0, served=None), 0, starting) == GiveUp(1)


@given(
    code=st.integers(-64, 255),
    served=st.none() | st.floats(0, 1e9),
    early=st.integers(0, 2000),
    house=st.builds(House, draining=st.booleans(), started=st.booleans(), serving=st.booleans()),
)
def test_a_drain_starts_nobody_and_no_pause_is_longer_than_a_minute(
    code: int, served: float | None, early: int, house: House
) -> None:
    step = next_step(End(code=code, served=served), early, house)

    assert (step is None) == house.draining
    if isinstance(step, Respawn):
        assert 0 <= step.pause <= PAUSE_CAP
    if isinstance(step, GiveUp):
        assert step.code > 0
        assert not (house.started and house.serving)
