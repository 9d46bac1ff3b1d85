"""The secrets of many credentials, found in one text (S45)."""

import time

from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, Metadata, Secret
from turnout_wire import Known, scrub

LONG = "a-token-of-somebody-0123"
AROUND = ["{}", '"{}"', "key={}", "token: {}.", "<{}>", "(key:{})", '{{"k":"{}"}}', "Bearer {}, no", "`{}`!"]


def known(*credentials: Credential) -> Known:
    made = Known()
    for credential in credentials:
        made.learn(credential)
    return made


def keyed(id: str, key: str) -> Credential:
    return Credential(id=id, provider="p", api_key=Secret(key))


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=16),
    st.sampled_from(
        ["{}", '"{}"', "key={}", "token: {}.", "<{}>", "(key:{})", '{{"k":"{}"}}', "Bearer {}, no", "`{}`!"]
    ),
)
def test_a_secret_is_found_however_it_is_set_apart(secret: str, around: str) -> None:
    text = around.format(secret)
    found = known(keyed("a", secret), keyed("b", LONG)).within(text)
    assert found == (secret,)
    assert secret not in scrub(text, found)


def test_a_secret_is_found_though_json_escapes_a_part_of_it() -> None:
    made = known(keyed("a", "Kq9/Zx+Wm7Lp2Tn4Vb6c"))
    assert made.within(r'{"error":"no key Kq9\/Zx\u002BWm7Lp2Tn4Vb6c"}') == ("Kq9/Zx+Wm7Lp2Tn4Vb6c",)


def test_a_secret_is_found_at_the_beginning_of_a_line_of_json() -> None:
    assert known(keyed("a", LONG)).within(rf'{{"error":"no key:\n{LONG}"}}') == (LONG,)


def test_tokens_and_headers_count_as_keys_do() -> None:
    made = known(
        Credential(id="a", provider="p", metadata=Metadata({"refresh_token": LONG})),
        Credential(id="b", provider="p", attributes={"header:x-key": "header-secret-0123456"}),
    )
    assert set(made.within(f"{LONG} header-secret-0123456")) == {LONG, "header-secret-0123456"}


def test_short_words_of_somebody_elses_metadata_stay() -> None:
    made = known(Credential(id="a", provider="p", metadata=Metadata({"plan": "premium"})))
    assert made.within("a premium model") == ()


def test_a_credential_that_changed_or_went_is_forgotten_unless_another_has_the_same() -> None:
    made = known(keyed("a", LONG), keyed("b", LONG))
    made.learn(keyed("a", "renewed-key-0123456789"))
    assert made.within(f"{LONG} renewed-key-0123456789") != ()
    assert set(made.within(f"{LONG} renewed-key-0123456789")) == {LONG, "renewed-key-0123456789"}
    made.forget("b")
    assert made.within(LONG) == ()
    made.clear()
    assert made.within("renewed-key-0123456789") == ()


def test_ten_thousand_credentials_cost_an_error_nothing() -> None:
    """What it takes depends on the text: 64 KiB are the most that is read of an error."""
    few, many = known(keyed("a", LONG)), known(*(keyed(str(n), f"key-of-number-{n:09}") for n in range(10_000)))
    text = '{"error":{"message":"' + "key-of-number-nobody-has, " * 2500 + '"}}'

    def best(made: Known) -> float:
        took = []
        for _ in range(5):
            began = time.process_time()
            made.within(text)
            took.append(time.process_time() - began)
        return min(took)

    assert best(many) < 10 * best(few) + 0.005
