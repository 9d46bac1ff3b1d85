"""A request body is judged strictly and forwarded as it came: C-9, F11, section 15 of the design."""

import gc
import json
from contextlib import nullcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnout.errors import InvalidAsk
from turnout_wire import BadJSON, check_json, peek, with_model

SOUND = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'


def test_a_sound_body_gives_its_model_and_stream() -> None:
    found = peek(SOUND, texts=("user", "prompt_cache_key"))
    assert (found.model, found.stream, found.texts) == ("m", True, {})
    assert peek(b' {"model":"m","user":"u","prompt_cache_key":7} \n', texts=("user", "prompt_cache_key")).texts == {
        "user": "u"
    }
    assert peek(b'{"model":"m","stream":null}').stream is False


@pytest.mark.parametrize(
    ("body", "offset", "reason"),
    [
        (b"", 0, "empty"),
        (b"hello", 0, "invalid character"),
        (b'{"model":"m"', 12, "ends too early"),
        (b'{"model":"m"} x', 15, "trailing characters"),
        (b'{"model":"m",}', 13, "trailing comma"),
        (b'{"model":"m","x":NaN}', 17, "invalid character"),
        (b'{"model":"m","x":-Infinity}', 18, "invalid character"),
        (b'{"model":"m","x":1e999}', None, "out of range"),
        (b'{"model":"m","x":' + b"9" * 5000 + b"}", None, "out of range"),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "nested too deeply"),
        (b'{"a":' * 100_000, None, "nested too deeply"),
        (b'{"model":"m","x":"\\ud800"}', 26, "surrogate"),
        (b'{"model":"m","x":"\\ud800\\u0041"}', 30, "surrogate"),
        (b'{"model":"m","x":"\\udc00"}', 24, "surrogate"),
        (b'{"model":"m","x":"\xff"}', 18, "not UTF-8"),
        (b'{"model":"m","x":"\xed\xa0\x80"}', 18, "not UTF-8"),
        (b'{"model":"m","\xff":1}', 14, "not UTF-8"),
        (b'\xef\xbb\xbf{"model":"m"}', 0, "invalid character"),
        (b'[{"model":"m"}]', 0, "must be an object"),
        (b'"model"', 0, "must be an object"),
        (b"null", 0, "must be an object"),
        (b'{"model":"a","model":"b"}', None, "'model' is given twice"),
        (b'{"stream":true,"model":"a","stream":false}', None, "'stream' is given twice"),
        (b'{"model":"a","mod\\u0065l":"b"}', None, "'model' is given twice"),
        (b'{"stream":true,"model":"a","\\u0073tream":false}', None, "'stream' is given twice"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_sound_json_is_refused_with_its_place(body: bytes, offset: int | None, reason: str) -> None:
    """C-9: each is a bad request of the same kind."""
    with pytest.raises(BadJSON, match="the body is not sound JSON") as caught:
        peek(body)
    assert isinstance(caught.value, InvalidAsk)
    assert isinstance(caught.value, ValueError)
    assert caught.value.offset == offset
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("body", "argument"),
    [
        (b"{}", "model"),
        (b'{"model":null}', "model"),
        (b'{"model":7}', "model"),
        (b'{"model":["m"]}', "model"),
        (b'{"model":""}', "model"),
        (b'{"model":"  "}', "model"),
        (b'{"model":"a\\r\\nb"}', "model"),
        (b'{"model":"a\\u0000b"}', "model"),
        (b'{"model":"' + b"x" * 513 + b'"}', "model"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","stream":"true"}', "stream"),
        (b'{"model":"m","stream":{}}', "stream"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_without_a_usable_model_or_stream_is_refused_by_name(body: bytes, argument: str) -> None:
    """S51: a model name holds no control characters."""
    with pytest.raises(InvalidAsk) as caught:
        peek(body)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    "body",
    [
        b'{"tools":[{"model":1}],"model":"m"}',
        b'{"model":"m","tools":{"model":{"stream":1,"model":2}},"stream":false}',
        b'{"model":"m","messages":[{"content":"say \\"model\\" and \\"stream\\""}]}',
        b'{"model":"m","messages":[{"content":"\\u006dodel"}]}',
        b'{"x":"model","model":"m","y":["model","stream","model"]}',
        b'{"y":[{"model":"a"},{"model":"b"}],"model":"m","z":[[],{},[{}],"{\\"model\\":1}","model"]}',
    ],
)
def test_the_same_name_further_down_is_no_repetition(body: bytes) -> None:
    """C-9."""
    assert peek(body).model == "m"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["model", "stream"]), inner, max_size=4)
    ),
    max_leaves=12,
)
members = st.dictionaries(st.text().filter(lambda name: name not in {"model", "stream"}), json_values, max_size=5)


@given(members, st.integers(0, 5), st.text(min_size=1), st.booleans(), st.sampled_from([None, 1]))
@example({"x": {"model": ["model"]}}, 1, 'a"b\\', True, 1)
def test_only_the_value_of_the_model_is_replaced(
    others: dict[str, object], place: int, model: str, ascii_only: bool, indent: int | None
) -> None:
    """Pass-through is byte-exact but for the name of the model (C2.1.1)."""
    names = list(others)
    names.insert(min(place, len(names)), "model")
    whole = {name: others.get(name, "the-old-name") for name in names}
    body = json.dumps(whole, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    check_json(body)
    replaced = with_model(body, model)
    assert json.loads(replaced) == whole | {"model": model}
    value = json.dumps(model, ensure_ascii=False).encode()
    if value in replaced and body.count(b'"the-old-name"') == 1:
        before, after = body.split(b'"the-old-name"')
        assert replaced.startswith(before)
        assert replaced.endswith(after)


@pytest.mark.parametrize("body", [b"{}", b'{"model":7}', b'{"x":{"model":"m"}}'])
def test_a_model_that_is_not_there_cannot_be_replaced(body: bytes) -> None:
    with pytest.raises(InvalidAsk):
        with_model(body, "m")


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_either_read_or_refused(body: bytes) -> None:
    """C-9, J2."""
    try:
        found = peek(body)
    except InvalidAsk:
        return
    assert json.loads(body)["model"] == found.model


@pytest.mark.parametrize("twice", [b"", b',"y":{"model":1}'])
def test_no_depth_makes_the_readers_disagree(twice: bytes) -> None:
    """C-9, F11: just below and just above what the stack bears."""
    refused = 0
    for depth in range(700, 1100):
        body = b'{"model":"m","x":' + b"[" * depth + b"]" * depth + twice + b"}"
        try:
            assert peek(body).model == "m"
            assert with_model(body, "n") == body.replace(b'"m"', b'"n"', 1)
        except BadJSON:
            refused += 1
    assert 0 < refused < 400


def test_a_huge_flat_body_is_read() -> None:
    body = b'{"model":"m","messages":[' + b",".join([b'{"content":"model"}'] * 5_000) + b"]}"
    assert peek(body).model == "m"
    assert with_model(body, "n") == body.replace(b'"m"', b'"n"', 1)


@pytest.mark.parametrize(
    ("ends", "sound"), [(b"]}", True), (b"]", False), (b"\xff]}", False), (b'],"a":1e999}', False)]
)
def test_the_cycle_collector_rests_while_a_large_body_is_decoded_and_works_again(ends: bytes, sound: bool) -> None:
    """A8: it looked at all of the body's lists again and again."""
    body = b'{"model":"m","x":[' + b"[]," * 50_000 + b"[]" + ends
    begun: list[str] = []
    gc.callbacks.append(lambda phase, _info: begun.append(phase))
    try:
        with nullcontext() if sound else pytest.raises(BadJSON):
            check_json(body)
    finally:
        gc.callbacks.pop()

    assert begun.count("start") <= 3
    assert gc.isenabled()


def test_a_cycle_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        check_json(b'{"model":"m","x":"%b"}' % (b"x" * 100_000))
        assert not gc.isenabled()
    finally:
        gc.enable()
