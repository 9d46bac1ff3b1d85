"""The event reader against a whole-buffer reference: J4, B15, B16, X3, F7."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from turnout_wire import BlockReader, Event, EventTooLarge, read_event

PIECES = [b"\n", b"\r", b"\r\n", b"\n\n", b"data: ", b"data:", b"data", b"event: x", b":", b"a", b"\xef\xbb\xbf", b" "]
ODD = ["\u2028".encode(), "\x85".encode(), b"\x0b", b"\x0c", b"\x1c", b"\xff", b'{"a":1}', b"[DONE]", b"id: 7"]

streams = st.lists(st.sampled_from(PIECES + ODD) | st.binary(max_size=4), max_size=30).map(b"".join)


def reference(stream: bytes) -> list[Event]:
    """The algorithm of the HTML standard, line by line over the whole stream, without a thought of speed."""
    lines = re.sub(rb"\r\n|\r", b"\n", stream.removeprefix(b"\xef\xbb\xbf")).split(b"\n")[:-1]
    events: list[Event] = []
    data: list[bytes] = []
    name = b""
    for line in lines:
        if not line:
            if data:
                events.append(Event(b"\n".join(data), name))
            data, name = [], b""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
    return events


def read(chunks: list[bytes]) -> tuple[list[Event], bytes]:
    reader = BlockReader()
    blocks = [block for chunk in chunks for block in reader.feed(chunk)]
    events = [event for i, block in enumerate(blocks) if (event := read_event(block, first=i == 0)) is not None]
    return events, b"".join(blocks) + reader.held


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@settings(max_examples=400)
@given(cut_streams())
@example([b"data: x\n\r", b"\ndata: y\r", b"\n\r\n"])
@example([b"data: x\r", b"\n", b"\r", b"\n"])
@example([b"\xef\xbb", b"\xbfdata: x\n\n"])
@example([b"\n\n\ndata: x\n\n\n\n"])
def test_any_bytes_cut_anywhere_give_the_events_of_the_whole(chunks: list[bytes]) -> None:
    """J4: and the blocks joined are the bytes that came."""
    assert read(chunks) == (reference(b"".join(chunks)), b"".join(chunks))


@pytest.mark.long
@settings(max_examples=20_000)
@given(cut_streams())
def test_any_of_many_more_bytes_cut_anywhere_give_the_events_of_the_whole(chunks: list[bytes]) -> None:
    """J4."""
    assert read(chunks) == (reference(b"".join(chunks)), b"".join(chunks))


@given(streams)
def test_one_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    """J4, B17."""
    assert read([bytes([byte]) for byte in stream]) == (reference(stream), stream)


@pytest.mark.parametrize(
    "head", [b"event: a\n", b"event:a\n", b"event: \n", b"event: a\nid: 1\n", b"event: a\nevent: b\n"]
)
@pytest.mark.parametrize(
    "body", [b"data: x", b"data:  x ", b"data: ", b"data: x\ndata: y", b"data: x\nevent: c", b"data: x\n: y", b"data"]
)
def test_a_named_event_is_read_as_the_standard_says(head: bytes, body: bytes) -> None:
    """The usual form has a short way of its own; each of these but the plainest is near it and goes the long one."""
    block = head + body + b"\n\n"
    expected = reference(block)
    found = read_event(block)
    assert [found] == expected if expected else found is None


def test_an_event_is_given_as_soon_as_its_last_byte_is_here() -> None:
    reader = BlockReader()
    assert reader.feed(b"data: x\n") == []
    assert reader.feed(b"\n") == [b"data: x\n\n"]
    assert reader.feed(b"data: y\r\r") == [b"data: y\r\r"]
    assert reader.held == b""


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b"data: x\n\n", Event(b"x")),
        (b"data:x\n\n", Event(b"x")),
        (b"data:  x\n\n", Event(b" x")),
        (b"event: error\ndata: {}\n\n", Event(b"{}", b"error")),
        (b"data: a\ndata: b\n\n", Event(b"a\nb")),
        (b"data: a\rdata: b\r\r", Event(b"a\nb")),
        (b"data: \xe2\x80\xa8\xc2\x85\n\n", Event(b"\xe2\x80\xa8\xc2\x85")),
        (b": ping\n\n", None),
        (b"id: 3\nretry: 4\n\n", None),
        (b"data: a\r\n\r\n", Event(b"a")),
        (b"data: a\ndata: b\r\n\r\n", Event(b"a\nb")),
        (b"data: a\rdata: b\r\n\r\n", Event(b"a\nb")),
        (b"data: a\r\ndata: b\r\n\r\n", Event(b"a\nb")),
        (b"data: a\r\nevent: c\r\n\r\n", Event(b"a", b"c")),
        (b"data: a\n\r\n\r\n", Event(b"a")),
        (b"data: \r\n\r\n", Event(b"")),
        (b"\xef\xbb\xbfdata: a\n\n", None),
    ],
)
def test_a_block_says_what_the_standard_says(block: bytes, event: Event | None) -> None:
    """B15."""
    assert read_event(block) == event


def test_a_byte_order_mark_counts_only_at_the_very_start() -> None:
    """B15."""
    assert read_event(b"\xef\xbb\xbfdata: a\n\n", first=True) == Event(b"a")


@pytest.mark.parametrize("ending", [b"", b"\n\n", b"\r\n\r\n"])
def test_a_line_or_an_event_beyond_its_limit_is_refused(ending: bytes) -> None:
    """B16."""
    with pytest.raises(EventTooLarge, match="a line is longer than 10 bytes"):
        BlockReader(line_limit=10, event_limit=40).feed(b"data: 7890x" + ending)
    with pytest.raises(EventTooLarge, match="an event is longer than 40 bytes"):
        BlockReader(line_limit=10, event_limit=40).feed(b"data: 890\n" * 5 + ending)
    block = b"data: 890\n" * 4 + b"\n"
    assert BlockReader(line_limit=10, event_limit=41).feed(block) == [block]


def test_an_endless_line_is_refused_after_a_mebibyte() -> None:
    """B16: not one read later."""
    reader = BlockReader()
    for _ in range(16):
        assert reader.feed(b"x" * 65_536) == []
    with pytest.raises(EventTooLarge):
        reader.feed(b"x")


def test_an_event_with_an_image_may_be_longer_than_others() -> None:
    """Beyond B16, for vendors who are known to send them; and it has an end as well."""
    reader = BlockReader(image=b"picture")
    block = b"data: picture" + b"x" * (2 << 20) + b"\n\n"
    assert reader.feed(block) == [block]
    assert reader.feed(block[:-9]) + reader.feed(block[-9:]) == [block]
    others = [b": x\r\n\r\n", block.replace(b"\n", b"\r\n"), b"data: y\r\n\r\n", block.replace(b"\n", b"\r"), block]
    assert reader.feed(b"".join(others)) == others
    with pytest.raises(EventTooLarge, match="a line is longer than 1048576"):
        BlockReader(image=b"picture").feed(block.replace(b"picture", b"private"))
    reader.feed(b"data: picture")
    for _ in range(31):
        assert reader.feed(b"x" * (1 << 20)) == []
    with pytest.raises(EventTooLarge, match="with an image is longer than 33554432"):
        reader.feed(b"x" * (1 << 20))


def test_the_other_half_of_a_line_end_is_given_as_soon_as_it_is_here() -> None:
    """And is no blank line of its own, nor waits for the next event."""
    reader = BlockReader()
    assert reader.feed(b"data: x\r\n\r") == [b"data: x\r\n\r"]
    assert reader.half
    assert reader.feed(b"") == []
    assert reader.half
    assert reader.feed(b"\n") == [b"\n"]
    assert (reader.half, reader.held) == (False, b"")
