"""What a store is known to hold: nothing that is heard of late, or twice, is news (G5)."""

from turnout import Record
from turnout._known_records import KnownRecords
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
