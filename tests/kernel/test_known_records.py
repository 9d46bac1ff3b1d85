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
