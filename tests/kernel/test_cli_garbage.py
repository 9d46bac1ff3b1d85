import gc
from collections.abc import Iterator

import pytest

from turnout._cli_garbage import YOUNG, rare_collections


def is_looked_through(thing: object) -> bool:
    return any(known is thing for known in gc.get_objects())


@pytest.fixture
def nothing_permanent() -> Iterator[None]:
    """As in a process of its own: the tests make permanent what they have imported."""
    permanent = gc.get_freeze_count()
    gc.unfreeze()
    yield
    if permanent:
        gc.freeze()


@pytest.mark.usefixtures("nothing_permanent")
def test_while_a_process_serves_collections_are_rare_and_what_was_there_before_is_left_alone() -> None:
    before = gc.get_threshold()
    old = [object()]
    assert is_looked_through(old)
    with rare_collections():
        assert gc.get_threshold() == (YOUNG, *before[1:])
        assert not is_looked_through(old)
        new = [object()]
        assert is_looked_through(new)
    assert gc.get_threshold() == before
    assert is_looked_through(old)


def test_python_s_own_settings_come_back_when_serving_fails() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError), rare_collections():
        raise RuntimeError
    assert gc.get_threshold() == before


@pytest.mark.usefixtures("nothing_permanent")
def test_what_a_caller_made_permanent_stays_so() -> None:
    theirs = [object()]
    gc.freeze()
    try:
        with rare_collections():
            pass
        assert not is_looked_through(theirs)
    finally:
        gc.unfreeze()
