"""What a store is known to hold: nothing that is heard of late, or twice, is news (G5)."""

import json

from turnout import Credential, Record
from turnout._known_records import KnownRecords
from turnout._records import encode_credential
from turnout._unknown_fields import NOTHING
from turnout.abc import Change

KEY = "secret", "a"


def written(version: int, data: bytes = b"{}") -> Change:
    return Change(kind="secret", id="a", record=Record(kind="secret", id="a", data=data, version=version))


GONE = Change(kind="secret", id="a", record=None)


def known(version: int) -> KnownRecords:
    records = KnownRecords()
    records.begin({KEY: Record(kind="secret", id="a", data=b"{}", version=version)})
    return records


def test_an_older_record_is_no_news_and_neither_is_one_that_is_known() -> None:
    records = known(5)
    assert records.news([written(4), written(5)]) == []
    assert records.version(KEY) == 5
    assert records.news([written(6), written(6), written(3)]) == [written(6)]
    assert records.version(KEY) == 6


def test_what_we_have_written_is_no_news_to_us() -> None:
    records = known(1)
    assert records.saved(KEY, 2)
    assert records.news([written(2)]) == []
    assert records.news([written(3)]) == [written(3)]
    assert not records.saved(KEY, 2), "somebody else was heard of since"
    assert not records.saved(KEY, 3)
    assert records.version(KEY) == 3


def test_a_removal_is_told_once_and_a_record_may_come_again() -> None:
    records = known(1)
    assert records.news([GONE, GONE]) == [GONE]
    assert records.version(KEY) == 0
    assert records.news([written(3)]) == [written(3)]


def test_all_that_a_store_lists_may_be_news_and_so_is_what_it_lists_no_more() -> None:
    records = known(1)
    other = Record(kind="state", id="b", data=b"{}", version=1)
    assert records.news(records.differs({("state", "b"): other})) == [
        Change(kind="state", id="b", record=other),
        GONE,
    ]
    assert records.news(records.differs({("state", "b"): other})) == []


def test_what_a_later_version_of_us_writes_beside_is_kept_as_it_was_heard_of_last() -> None:
    """G10: also while this one runs; of a record that is gone nothing is."""
    records = known(1)
    later = encode_credential(Credential(id="a", provider="p"))
    records.news([written(2, later[:-1] + b', "team": 7}')])
    assert json.loads(records.unknown(KEY).kept_in(later))["team"] == 7
    records.news([GONE])
    assert records.unknown(KEY) is NOTHING


def test_a_write_whose_answer_was_lost_is_known_for_ours_when_it_is_found() -> None:
    """And what somebody else has written in its place is not."""
    for found, ours in ((b"first", True), (b"second", True), (b"another's", False)):
        records = known(1)
        records.begun(KEY, b"first")
        records.begun(KEY, b"second")
        assert records.news([written(2, found)]) == [written(2, found)]
        assert records.is_ours(written(2, found)) == ours
        assert not records.is_ours(written(3, found)), "it was done once"


def test_a_removal_whose_answer_was_lost_is_known_for_ours() -> None:
    records = known(1)
    records.begun(KEY, None)
    assert records.news([GONE]) == [GONE]
    assert records.is_ours(GONE)
    assert not records.is_ours(GONE)


def test_once_an_answer_came_nothing_before_it_is_in_doubt() -> None:
    records = known(1)
    records.begun(KEY, b"lost")
    records.begun(KEY, b"told")
    records.saved(KEY, 2)
    assert not records.is_ours(written(3, b"lost"))


def test_a_store_may_hold_what_was_sent_there_until_it_is_told_to_be_gone() -> None:
    records = KnownRecords()
    assert not records.may_hold(KEY)
    records.begun(KEY, b"lost")
    assert records.may_hold(KEY)
    records.removed(KEY)
    assert not records.may_hold(KEY)
