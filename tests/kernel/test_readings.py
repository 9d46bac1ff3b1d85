import hashlib
import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, Metadata, Secret
from turnout._readings import (
    Account,
    Instant,
    account,
    boolean,
    cooling_off,
    duration,
    expiry,
    ident,
    last_refresh,
    priority,
    proxy_label,
    redact,
    refresh_interval,
    retries,
    stable_index,
    timestamp,
    tool_prefix_off,
    virtual_parent,
    websockets,
    whole_number,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def make(
    id: str = "c1", provider: str = "openai", *, metadata: dict[str, Any] | None = None, **rest: Any
) -> Credential:
    return Credential(id=id, provider=provider, metadata=None if metadata is None else Metadata(metadata), **rest)


def index_of(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()[:16]


# --- C1.7 stable index


def test_an_index_that_is_set_is_kept() -> None:
    """C1.7."""
    assert stable_index(make(index="0123456789abcdef", file_name="a.json")) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("credential", "seed"),
    [
        (make(file_name=" dir/a.json ", attributes={"base_url": "https://x"}), "file:dir/a.json"),
        (
            make(
                provider=" OpenAI ",
                proxy_url=Secret(" http://proxy "),
                api_key=Secret(" k1 "),
                attributes={"compat_name": " RoUter ", "base_url": " https://X/v1 ", "source": " config:1 "},
            ),
            "config:provider=openai\0compat=router\0base=https://X/v1\0proxy=http://proxy\0api_key=k1\0source=config:1",
        ),
        (make(api_key=Secret("k1")), "config:provider=openai\0api_key=k1"),
        (
            make(api_key=Secret("k1"), attributes={"provider_key": " Router "}),
            "config:provider=router\0api_key=k1",
        ),
        (make(attributes={"source": "s", "compat_name": "  "}), "config:provider=openai\0source=s"),
        (make(id=" c1 ", attributes={"provider_key": "router", "priority": "3"}), "id:c1"),
        (make(id="ключ"), "id:ключ"),
    ],
)
def test_the_index_is_made_of_the_first_seed_that_applies(credential: Credential, seed: str) -> None:
    """C1.7."""
    assert stable_index(credential) == index_of(seed)


def test_a_credential_that_nothing_identifies_has_no_index_yet() -> None:
    """C1.7, step 4: an id comes with registration (C3.2)."""
    assert stable_index(make(id="")) == ""
    assert stable_index(make(id="", api_key=Secret("k1"))) == index_of("config:provider=openai\0api_key=k1")


@given(st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_an_index_is_always_sixteen_hex_digits(id: str, file_name: str, key: str) -> None:
    """C1.7: for every text, also one with lone surrogates."""
    index = stable_index(make(id=id, file_name=file_name, api_key=Secret(key)))

    assert len(index) == 16
    assert set(index) <= set("0123456789abcdef")


# --- C1.8 account


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (make(metadata={"email": " a@b.c "}, api_key=Secret("k")), Account("oauth", "a@b.c")),
        (make(metadata={"email": "  "}, api_key=Secret("k")), Account("api_key", Secret("k"))),
        (make(metadata={"email": 7}, api_key=Secret(" ")), Account("api_key", Secret(" "))),
        (
            make(provider="Gemini-CLI", metadata={"email": "a@b.c", "project_id": " p1 "}),
            Account("oauth", "a@b.c (p1)"),
        ),
        (make(provider="gemini-cli", metadata={"email": "a@b.c", "project_id": " "}), Account("oauth", "a@b.c")),
        (make(provider="gemini-cli", metadata={"email": "a@b.c", "project_id": 4}), Account("oauth", "a@b.c")),
        (make(provider="claude", metadata={"email": "a@b.c", "project_id": "p1"}), Account("oauth", "a@b.c")),
        (make(api_key=Secret("")), Account()),
        (make(), Account()),
    ],
)
def test_an_account_is_an_email_or_else_a_key(credential: Credential, expected: Account) -> None:
    """C1.8."""
    assert account(credential) == expected


def test_an_account_does_not_show_whose_it_is() -> None:
    """C1.8, S42: neither key nor e-mail is in the text of an account."""
    shown = repr(account(make(metadata={"email": "a@b.c"}))) + repr(account(make(api_key=Secret("canary-key"))))

    assert "a@b.c" not in shown
    assert "canary-key" not in shown


# --- C1.9 proxy label


@pytest.mark.parametrize(
    ("url", "label"),
    [
        (None, ""),
        ("   ", ""),
        (" socks5://user:pw@host:1 ", "via socks5 proxy"),
        ("http://host", "via http proxy"),
        ("://host", "via proxy"),
        ("host:8080", "via proxy"),
    ],
)
def test_a_proxy_label_tells_no_more_than_the_scheme(url: str | None, label: str) -> None:
    """C1.9, C14.3."""
    assert proxy_label(make(proxy_url=None if url is None else Secret(url))) == label


# --- C1.10 lenient values


@pytest.mark.parametrize("value", [True, "1", "t", "T", "TRUE", "true", " True ", 1, -2, 0.5], ids=repr)
def test_a_boolean_is_read_as_true(value: object) -> None:
    """C1.10.1."""
    assert boolean(value) is True


@pytest.mark.parametrize("value", [False, "0", "f", "F", "FALSE", "false", "\tFalse\n", 0, 0.0], ids=repr)
def test_a_boolean_is_read_as_false(value: object) -> None:
    """C1.10.1."""
    assert boolean(value) is False


@pytest.mark.parametrize("value", ["", "  ", "yes", "tRUE", "on", "2", None, [], [True], {}, b"1"], ids=repr)
def test_a_boolean_is_unreadable(value: object) -> None:
    """C1.10.1."""
    assert boolean(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (3.9, 3), (-3.9, -3), (" 12 ", 12), ("+7", 7), ("-7", -7), ("007", 7), ("9223372036854775807", 2**63 - 1)],
    ids=repr,
)
def test_a_whole_number_is_read(value: object, expected: int) -> None:
    """C1.10.2."""
    assert whole_number(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, "", " ", "1.5", "1e3", "1_000", "0x10", "+ 7", "--7", "٣", None, []),
        *(math.inf, math.nan, 1e300, 2**63, "9223372036854775808", "9" * 5000),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_whole_number_is_unreadable(value: object) -> None:
    """C1.10.2."""
    assert whole_number(value) is None


# --- C1.11 overrides


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, None),
        ({}, None),
        ({"disable_cooling": True}, True),
        ({"disable-cooling": "false"}, False),
        ({"disable_cooling": "yes", "disable-cooling": 1}, True),
        ({"disable_cooling": False, "disable-cooling": True}, False),
        ({"disable_cooling": None}, None),
    ],
)
def test_cooling_off_is_the_first_readable_key(metadata: dict[str, Any] | None, expected: bool | None) -> None:
    """C1.11."""
    assert cooling_off(make(metadata=metadata)) is expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"request_retry": 2}, 2),
        ({"request_retry": 0, "request-retry": 5}, 0),
        ({"request_retry": "1.5", "request-retry": "3"}, 3),
        ({"request_retry": -1, "request-retry": 5}, 0),
        ({"request_retry": True}, None),
    ],
)
def test_retries_are_the_first_readable_key_and_never_negative(metadata: dict[str, Any], expected: int | None) -> None:
    """C1.11."""
    assert retries(make(metadata=metadata)) == expected


def test_the_tool_prefix_stays_on_unless_switched_off() -> None:
    """C1.11."""
    assert tool_prefix_off(make(metadata={"tool_prefix_disabled": "x", "tool-prefix-disabled": "t"}))
    assert not tool_prefix_off(make(metadata={"tool_prefix_disabled": "f", "tool-prefix-disabled": "t"}))
    assert not tool_prefix_off(make())


# --- C1.12 scheduling attributes


@pytest.mark.parametrize(
    ("text", "expected"), [(None, 0), ("", 0), (" 10 ", 10), ("-3", -3), ("+4", 4), ("1.5", 0), ("high", 0)]
)
def test_a_priority_is_a_whole_number_or_zero(text: str | None, expected: int) -> None:
    """C1.12.1: and metadata is not looked at."""
    attributes = {} if text is None else {"priority": text}

    assert priority(make(attributes=attributes, metadata={"priority": 99})) == expected


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        (None, None, False),
        ("true", False, True),
        ("0", True, False),
        ("maybe", True, True),
        (None, "T", True),
        (None, "yes", False),
        (None, 1, False),
        (None, 0.5, False),
    ],
)
def test_websockets_are_an_attribute_or_else_metadata(attribute: str | None, value: object, expected: bool) -> None:
    """C1.12.2."""
    attributes = {} if attribute is None else {"websockets": attribute}

    assert websockets(make(attributes=attributes, metadata={"websockets": value})) is expected


def test_a_virtual_parent_is_a_trimmed_attribute() -> None:
    """C1.12.3, C1.17."""
    assert virtual_parent(make(attributes={"gemini_virtual_parent": " p "})) == "p"
    assert virtual_parent(make(metadata={"gemini_virtual_parent": "p"})) == ""


# --- C1.13 timestamps


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-01-02T03:04:05Z", 1767323045.0),
        (" 2026-01-02T03:04:05.25Z ", 1767323045.25),
        ("2026-01-02T03:04:05+02:00", 1767315845.0),
        ("2026-01-02T03:04:05-00:30", 1767324845.0),
        ("2026-01-02 03:04:05", 1767323045.0),
        ("2026-01-02 03:04:05.5", 1767323045.5),
        ("2026-01-02 03:04", 1767323040.0),
        ("1767323045", 1767323045.0),
        (" 1767323045123 ", 1767323045.123),
        (1767323045, 1767323045.0),
        (1767323045.9, 1767323045.0),
        (1_000_000_000_000, 1_000_000_000_000.0),
        (1_000_000_000_001, 1_000_000_000.001),
        (0, None),
        (-5, None),
        ("0", None),
        ("-1", None),
        ("0001-01-01T00:00:00Z", None),
    ],
    ids=repr,
)
def test_a_timestamp_is_recognised(value: object, at: float | None) -> None:
    """C1.13.1, C1.13.2, C1.13.3: recognised, although it may mean that nothing is set."""
    assert timestamp(value) == Instant(at)


@pytest.mark.parametrize(
    "value",
    [
        *("", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04Z", "2026-01-02t03:04:05Z", "2026-01-02T03:04:05z"),
        *("2026-02-30 03:04", "2026-01-02T25:04:05Z", "2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+01:60"),
        *("1767323045.5", "soon", "2026-01-02  03:04", True, False, None, [], {}, math.nan, math.inf),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_timestamp_is_not_recognised(value: object) -> None:
    """C1.13.1, C1.13.2."""
    assert timestamp(value) is None


@given(
    st.datetimes(min_value=datetime(2, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001  # the zone is drawn
    st.integers(-23 * 60, 23 * 60),
)
def test_a_printed_time_is_read_back(moment: datetime, minutes: int) -> None:
    """C1.13.1: every RFC 3339 text is read, to a few microseconds."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = timestamp(aware.isoformat())

    assert found is not None
    assert found.at == pytest.approx(aware.timestamp(), abs=1e-4, rel=0)


# --- C1.14 expiry


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, None),
        ({"expires": 5, "expiry": 4, "expiresAt": 3, "expires_at": 2, "expire": 1}, 1.0),
        ({"expired": "soon", "expires": 5}, 5.0),
        ({"expired": 0, "expires": 5}, None),
        ({"token": {"expiry": 7}, "Token": {"expiry": 8}}, 7.0),
        ({"token": {"expiry": "x"}, "Token": {"expiry": 8}}, 8.0),
        ({"token": {"Token": {"expires": 9}}, "Token": {"expiry": 8}}, 9.0),
        ({"token": {"expiry": 0}, "Token": {"expiry": 8}}, None),
        ({"expires": 5, "token": {"expired": 7}}, 5.0),
        ({"token": "opaque", "Token": [1]}, None),
    ],
)
def test_an_expiry_is_the_first_recognised_time(metadata: dict[str, Any] | None, expected: float | None) -> None:
    """C1.14: and attributes are not searched."""
    assert expiry(make(metadata=metadata, attributes={"expires": "3"})) == expected


@pytest.mark.parametrize(
    ("read", "keys", "values"),
    [
        (expiry, ("expired", "expire", "expires_at", "expiresAt", "expiry", "expires"), (1.0, 2.0)),
        (last_refresh, ("last_refresh", "lastRefresh", "last_refreshed_at", "lastRefreshedAt"), (1.0, 2.0)),
        (
            refresh_interval,
            ("refresh_interval_seconds", "refreshIntervalSeconds", "refresh_interval", "refreshInterval"),
            (1.0, 2.0),
        ),
        (cooling_off, ("disable_cooling", "disable-cooling"), (True, False)),
        (retries, ("request_retry", "request-retry"), (1, 2)),
        (tool_prefix_off, ("tool_prefix_disabled", "tool-prefix-disabled"), (True, False)),
    ],
)
def test_each_key_is_read_and_every_one_before_those_that_come_later(
    read: Callable[[Credential], object], keys: tuple[str, ...], values: tuple[object, object]
) -> None:
    """C1.11, C1.14, C1.16.1, C1.16.2."""
    one, other = values
    for at, key in enumerate(keys):
        assert read(make(metadata={key: one})) == one
        for later in keys[at + 1 :]:
            assert read(make(metadata={later: other, key: one})) == one


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (last_refresh, ("last_refresh", "lastRefresh", "last_refreshed_at", "lastRefreshedAt")),
        (
            refresh_interval,
            ("refresh_interval_seconds", "refreshIntervalSeconds", "refresh_interval", "refreshInterval"),
        ),
    ],
)
def test_attributes_are_read_by_the_same_keys_and_only_after_metadata(
    read: Callable[[Credential], object], keys: tuple[str, ...]
) -> None:
    """C1.16.1, C1.16.2."""
    for key in keys:
        assert read(make(attributes={key: "3"})) == 3.0
        assert read(make(attributes={keys[0]: "3"}, metadata={key: 4})) == 4.0


def test_a_deeply_nested_token_is_read_without_recursion() -> None:
    """C1.14."""
    record: dict[str, Any] = {"expires": 5}
    for _ in range(5000):
        record = {"token": record}

    assert expiry(make(metadata=record)) == 5.0


# --- C1.15 durations


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3, 3.0),
        (0.25, 0.25),
        (" 1h30m ", 5400.0),
        ("+2m", 120.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3\u03bcs", 3e-6),
        ("5ns", 5e-9),
        ("1m1m", 120.0),
        ("90", 90.0),
        ("1.5e2", 150.0),
    ],
    ids=repr,
)
def test_a_duration_is_read_as_seconds(value: object, seconds: float) -> None:
    """C1.15.1."""
    assert duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, "0", "0s", "-5m", "-3", "", " ", "1d", "1H", "1h 30m", "h", "5 s", "abc", True, False, None, [], {}),
        *(math.inf, math.nan, "inf", "nan", "1e999", "9" * 400 + "s", 10**400),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_duration_is_absent(value: object) -> None:
    """C1.15.2."""
    assert duration(value) is None


# --- C1.16 refresh interval and last refresh


@pytest.mark.parametrize(
    ("metadata", "attributes", "expected"),
    [
        ({}, {}, None),
        ({"refreshInterval": "1m", "refresh_interval_seconds": 30}, {}, 30.0),
        ({"refresh_interval_seconds": 0, "refresh_interval": "1m"}, {}, 60.0),
        ({"refresh_interval": "never"}, {"refreshIntervalSeconds": "45"}, 45.0),
        ({"refresh_interval": 20}, {"refresh_interval_seconds": "45"}, 20.0),
    ],
)
def test_a_refresh_interval_is_the_first_positive_duration(
    metadata: dict[str, Any], attributes: dict[str, str], expected: float | None
) -> None:
    """C1.16.1."""
    assert refresh_interval(make(metadata=metadata, attributes=attributes)) == expected


@pytest.mark.parametrize(
    ("own", "metadata", "attributes", "expected"),
    [
        (9.0, {"last_refresh": 5}, {}, 9.0),
        (None, {"lastRefreshedAt": 4, "last_refresh": 5}, {}, 5.0),
        (None, {"last_refresh": "x"}, {"lastRefresh": "6"}, 6.0),
        (None, {"last_refresh": 0}, {"lastRefresh": "6"}, None),
        (None, {}, {}, None),
    ],
)
def test_the_last_refresh_is_the_records_own_or_the_first_recognised(
    own: float | None, metadata: dict[str, Any], attributes: dict[str, str], expected: float | None
) -> None:
    """C1.16.2."""
    assert last_refresh(make(last_refreshed_at=own, metadata=metadata, attributes=attributes)) == expected


# --- C14 log-safe names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("k", "***"),
        ("12345678", "***"),
        ("1234567890123456", "***"),
        ("sk-1234567890wxyz", "sk-1...wxyz"),
    ],
)
def test_a_redacted_key_shows_both_ends_only_when_it_is_long(text: str, shown: str) -> None:
    """C14.2, O62: short keys are masked entirely."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("credential", "shown"),
    [
        (make(file_name="/home/me/auths/claude-1.json"), "provider=openai auth_file=claude-1.json"),
        (make(file_name="C:\\auths\\claude-1.json"), "provider=openai auth_file=claude-1.json"),
        (make(id="auths/one.json/"), "provider=openai auth_file=one.json"),
        (make(id="a\nb"), "provider=openai auth_file=a?b"),
        (make(id="one", metadata={"email": "a@b.c"}), "provider=openai auth_file=one"),
    ],
)
def test_a_credential_is_logged_without_directory_or_email(credential: Credential, shown: str) -> None:
    """C14.3, O62: and a name cannot forge a log line."""
    assert ident(credential) == shown


READERS: list[Callable[[Credential], object]] = [
    stable_index,
    account,
    cooling_off,
    retries,
    tool_prefix_off,
    websockets,
    expiry,
    refresh_interval,
    last_refresh,
    ident,
]
KEYS = [
    *("email", "project_id", "disable_cooling", "request_retry", "tool_prefix_disabled", "websockets"),
    *("expired", "expires", "token", "Token", "refresh_interval", "last_refresh"),
]


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.dictionaries(st.sampled_from(KEYS), st.text()))
def test_no_reading_of_a_record_ever_raises(metadata: dict[str, Any], attributes: dict[str, str]) -> None:
    """C1.10, C1.13, C1.15: lenient means that a strange record still loads."""
    credential = make(provider="gemini-cli", metadata=metadata, attributes=attributes)
    for read in READERS:
        read(credential)


@given(JSON)
def test_no_reading_of_a_value_ever_raises(value: object) -> None:
    """C1.10, C1.13, C1.15."""
    assert boolean(value) in {True, False, None}
    number = whole_number(value)
    assert number is None or -(2**63) <= number < 2**63
    seconds = duration(value)
    assert seconds is None or 0 < seconds < math.inf
    timestamp(value)
