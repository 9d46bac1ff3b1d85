"""Streams of every dialect, cut at every byte: whatever pieces they come in, a client gets the same of them."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from provider_kinds import KINDS, Kind
from stream_reading import read_stream

from turnout import Call, Chunk, Failure, Protocol, RateLimited
from turnout_anthropic._events import MESSAGES
from turnout_gemini._events import GENERATE
from turnout_openai._chat_events import CHAT_EVENTS
from turnout_openai._response_events import RESPONSE_EVENTS
from turnout_wire import Grammar, PassedEvents, UpstreamAnswer, verdict
from turnout_wire.testing import Script, ScriptedTransport, Step

NAMES = ("openai", "openai responses", "anthropic", "gemini")
FOUR = [kind for kind in KINDS if kind.name in NAMES]
"""One provider of each dialect."""

GRAMMARS: dict[str, Grammar] = {
    "openai.chat": CHAT_EVENTS,
    "openai.responses": RESPONSE_EVENTS,
    "anthropic.messages": MESSAGES,
    "gemini.generate": GENERATE,
}

each_dialect = pytest.mark.parametrize("kind", FOUR, ids=[kind.dialect for kind in FOUR])

ODD = (
    b": a comment\n\ndata:\n\nid: 7\nretry: 9\n\n: two\n: comments\n\n",
    b'unheard: of\ndata: {"a":\ndata: 1}\nid\n\n',
    b'data: {"usage":null}\nevent: late\n\n',
    'data: {"a":"\u2028\u0085"}\n\n\n\n'.encode(),
)
"""What else may stand between two events."""


def sound(kind: Kind) -> bytes:
    """A whole stream with everything in it that the standard allows."""
    return b"".join([kind.opening, *ODD[:2], kind.content, *ODD[2:], kind.end])


def with_crlf(stream: bytes) -> bytes:
    return stream.replace(b"\n", b"\r\n")


def with_cr(stream: bytes) -> bytes:
    return stream.replace(b"\n", b"\r")


def with_a_mark(stream: bytes) -> bytes:
    return b"\xef\xbb\xbf" + stream


def with_all_line_ends(stream: bytes) -> bytes:
    """In an order in which no CR meets an LF that is another line's."""
    pieces = stream.split(b"\n")
    return b"".join(piece + (b"\n", b"\r", b"\r\n")[place % 3] for place, piece in enumerate(pieces[:-1]))


FORMS: list[Callable[[bytes], bytes]] = [bytes, with_crlf, with_cr, with_a_mark, with_all_line_ends]

FORM_NAMES = ["LF", "CRLF", "CR", "BOM", "all line ends"]


async def read(kind: Kind, *steps: Step) -> tuple[bytes, Failure | None]:
    """What a client gets of a stream, and how it failed."""
    transport = ScriptedTransport(Script(headers={"content-type": "text/event-stream"}, body=steps))
    call = Call(ask=kind.ask, credential=kind.credential, model="m", transport=transport)
    chunks, failure = await read_stream(kind.make().stream(call), transport)
    return joined(chunks), failure


def machine_of(kind: Kind) -> PassedEvents:
    return PassedEvents(GRAMMARS[kind.dialect], lambda status, body: verdict(status, body, {}, now=0.0))


def fed(kind: Kind, pieces: list[bytes]) -> tuple[bytes, Failure | None]:
    """The same as `read` without a provider around it, for the thousands of ways to cut a stream."""
    machine = machine_of(kind)
    chunks: list[Chunk] = []
    for piece in pieces:
        if not (machine.done or machine.failure):
            chunks += machine.feed(piece)
    if not (machine.done or machine.failure):
        chunks += machine.end()
    return joined(chunks), machine.failure


def joined(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


async def each_way(kind: Kind, stream: bytes) -> AsyncIterator[tuple[bytes, Failure | None]]:
    """What comes of the stream in one piece, byte by byte, and in two pieces, cut at each of its bytes in turn."""
    bytewise = [bytes([byte]) for byte in stream]
    yield await read(kind, stream)
    yield await read(kind, *bytewise)
    yield fed(kind, bytewise)
    for place in range(1, len(stream)):
        yield fed(kind, [stream[:place], stream[place:]])


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
@each_dialect
async def test_a_sound_stream_is_the_same_wherever_it_is_cut(kind: Kind, form: Callable[[bytes], bytes]) -> None:
    """J4, B15."""
    stream = form(sound(kind))
    async for passed, failure in each_way(kind, stream):
        assert failure is None
        assert passed.removesuffix(b"\n") == stream.removesuffix(b"\n")


@pytest.mark.parametrize("form", FORMS[:3], ids=FORM_NAMES[:3])
@pytest.mark.parametrize("ahead", [0, 1, 2], ids=["at once", "before content", "after content"])
@each_dialect
async def test_an_error_is_the_same_wherever_its_stream_is_cut(
    kind: Kind, ahead: int, form: Callable[[bytes], bytes]
) -> None:
    """B22."""
    before = form(b"".join([kind.opening, kind.content][:ahead]))
    async for passed, failure in each_way(kind, before + form(kind.error)):
        assert isinstance(failure, RateLimited)
        assert passed == before


@pytest.mark.parametrize("tail", [b"", httpx.ReadError("")], ids=["closed", "broken off"])
@pytest.mark.parametrize("missing", [1, 2], ids=["no blank line", "no line end"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@each_dialect
async def test_an_error_without_its_blank_line_is_the_upstreams_word(
    kind: Kind, newline: bytes, missing: int, tail: Step
) -> None:
    """B22, B12, B11: before the first payload and after it; its event is not passed on."""
    error = kind.error.removesuffix(b"\n" * missing)
    for ahead in ([], [kind.opening], [kind.opening, kind.content]):
        before, last = (piece.replace(b"\n", newline) for piece in (b"".join(ahead), error))
        passed, failure = await read(kind, before, last, tail)
        assert isinstance(failure, RateLimited)
        assert isinstance(failure.detail, UpstreamAnswer)
        assert b"slow down" in failure.detail.body
        assert passed == before


@each_dialect
async def test_content_without_its_blank_line_is_not_passed_on(kind: Kind) -> None:
    """B12: nobody knows whether more of it was to come."""
    passed, failure = await read(kind, kind.opening, kind.content, kind.content.rstrip(b"\n"))
    assert isinstance(failure, Protocol)
    assert passed == kind.opening + kind.content


@each_dialect
async def test_half_an_error_is_a_stream_that_broke_off(kind: Kind) -> None:
    """B12: what cannot be read says nothing, unless the name of its event says that it is an error."""
    half = kind.error[: kind.error.index(b"slow")]
    _, failure = await read(kind, kind.opening, half.removeprefix(b"event: error\n"))
    assert isinstance(failure, Protocol)


@each_dialect
def test_an_event_and_then_the_rest_of_its_line_end_are_given_as_soon_as_they_are_here(kind: Kind) -> None:
    """A client that looks for the whole CRLF has every event when we have it, not with the next one."""
    machine = machine_of(kind)
    for event in map(with_crlf, (kind.opening, kind.content, kind.content)):
        assert joined(machine.feed(event[:-1])) == event[:-1]
        assert joined(machine.feed(event[-1:])) == event[-1:]
    assert not machine.done


@each_dialect
async def test_a_stream_that_ends_with_half_a_line_end_has_a_whole_one_for_its_client(kind: Kind) -> None:
    """Many clients split at the whole CRLF, and the last event would never come."""
    stream = with_crlf(b"".join(kind.sound))
    for pieces in ([stream[:-1]], [stream[:-2], stream[-2:-1]], [bytes([byte]) for byte in stream[:-1]]):
        assert await read(kind, *pieces) == (stream, None)
