"""Named plays: one for each fault that upstreams are known for. Each is a `Play` with a field or two set.

Acceptance rows that a play stands for are named in its first line.
"""

import gzip as _gzip
from collections.abc import Mapping

from turnout_upstream import _openai as _format
from turnout_upstream._script import SOUND, Cut, How, Play, Point

KIB = 1024
MIB = 1024 * KIB


def chat(text: str = SOUND.text, *, every: float = 0.0, delay: float = 0.0) -> Play:
    """A sound answer; `every` seconds before each piece of a stream, `delay` before the first byte."""
    return Play(text=text, every=every, delay=delay)


def events(count: int, *, every: float = 0.0) -> Play:
    """A stream of `count` content events, one each `every` seconds."""
    return Play(text=" ".join(f"word-{number}" for number in range(count)), every=every)


def coalesced(text: str = SOUND.text) -> Play:
    """A stream that arrives in as few segments as possible."""
    return Play(text=text, slices=MIB)


def status(code: int, message: str = "", *, headers: Mapping[str, str] | None = None) -> Play:
    """B23 B24 B26: an error status with the format's error object."""
    body = _format.error(code, message) if message else None
    return Play(status=code, headers=tuple((headers or {}).items()), body=body)


def rate_limited(retry_after: str | float | None = None) -> Play:
    """B25: 429, with a Retry-After as given: seconds, a date, or garbage."""
    return status(429, headers={} if retry_after is None else {"retry-after": str(retry_after)})


def invalid_request(message: str = "this request is wrong") -> Play:
    """B27: 400 with `invalid_request_error`."""
    return status(400, message)


def error_in_200(code: int = 429) -> Play:
    """B22: status 200 whose body is an error object."""
    return Play(body=_format.error(code))


def error_first(code: int = 429) -> Play:
    """B22: a stream whose first event is an error."""
    return Play(events=(b"data: " + _format.error(code) + b"\n\n",))


def error_after(code: int, *, words: int = 2) -> Play:
    """B22 after commit: a stream that turns into an error after some content."""
    return Play(events=(*_some(words), b"data: " + _format.error(code) + b"\n\n"))


def close_after_request() -> Play:
    """B5 on a connection in use: FIN instead of an answer."""
    return Play(cut=Cut(Point.REQUEST, How.CLOSE))


def reset_after_request() -> Play:
    """B6: RST instead of an answer."""
    return Play(cut=Cut(Point.REQUEST, How.RESET))


def reset_mid_head() -> Play:
    """B7: RST in the middle of the headers."""
    return Play(cut=Cut(Point.MID_HEAD, How.RESET))


def stall_before_head() -> Play:
    """B8: no byte ever comes."""
    return Play(cut=Cut(Point.REQUEST, How.STALL))


def stall_after_head() -> Play:
    """B9: headers, then nothing."""
    return Play(cut=Cut(Point.HEAD, How.STALL))


def stall_mid_stream(after: int = 3) -> Play:
    """B10: `after` pieces, then nothing; the first one is a role-only opening."""
    return Play(cut=Cut(Point.PIECES, How.STALL, after))


def reset_mid_stream(after: int = 3) -> Play:
    """B11: `after` pieces and a half, then RST."""
    return Play(cut=Cut(Point.MID_PIECE, How.RESET, after))


def close_before_done() -> Play:
    """B12: a clean end of the connection before `[DONE]`."""
    return Play(cut=Cut(Point.LAST, How.CLOSE))


def ends_without_done(words: int = 2) -> Play:
    """B12: a well-formed body that lacks its finish and `[DONE]`."""
    return Play(events=_some(words))


def half_close_after_head() -> Play:
    """B29: FIN of our side right after the headers."""
    return Play(cut=Cut(Point.HEAD, How.HALF_CLOSE))


def truncated_chunk(after: int = 2) -> Play:
    """B13: FIN in the middle of a chunk."""
    return Play(cut=Cut(Point.MID_PIECE, How.CLOSE, after))


def bad_chunk(words: int = 1, *, every: float = 0.0) -> Play:
    """B13: a chunk whose size is no number. `every` keeps it apart from the sound ones before it."""
    sound = tuple(b"%x\r\n%b\r\n" % (len(event), event) for event in _some(words))
    headers = (("transfer-encoding", "chunked"),)
    return Play(events=(*sound, b"zz\r\nnonsense\r\n"), raw=True, headers=headers, every=every)


def wrong_length(off_by: int) -> Play:
    """B13: a content-length that is wrong by so many bytes, then FIN: more was promised, or more is sent."""
    body = _format.reply("demo-model", SOUND.text)
    return Play(body=body, headers=(("content-length", str(len(body) + off_by)),), then=How.CLOSE)


def garbage(kind: str = "html") -> Play:
    """B14: status 200 with `html`, `json` or `binary` that is no answer."""
    bodies = {
        "html": ("text/html", b"<!doctype html><title>Welcome</title>"),
        "json": ("application/json", b'{"hello": "world"}'),
        "binary": ("application/octet-stream", bytes(range(256)) * 16),
    }
    media_type, body = bodies[kind]
    return Play(body=body, headers=(("content-type", media_type),))


def malformed_event() -> Play:
    """B15: one event that is not JSON between sound ones."""
    first, *rest = _some(3)
    return Play(events=(first, b"data: {nonsense\n\n", *rest, _DONE))


def noisy() -> Play:
    """B15: comments, pings, unknown fields, no space after `data:`, an event over two lines, then a sound stream."""
    return Play(
        opening=(
            b"\xef\xbb\xbf: keep-alive\n\n",
            b"event: ping\ndata: {}\n\n",
            b"retry: 1000\nunknown: field\n\n",
            b'data:{"choices":[],\ndata: "object":"chat.completion.chunk"}\n\n',
        )
    )


def separators_inside() -> Play:
    """B15: U+2028, U+2029 and U+0085 inside the text, which do not end a line."""
    return Play(text="one\u2028two three\u2029four five\u0085six")


def cr_only() -> Play:
    """B15: lines that end in CR alone."""
    return Play(newline="\r")


def role_only() -> Play:
    """An opening without any payload, then nothing."""
    return stall_mid_stream(1)


def endless_line(size: int = 200 * MIB) -> Play:
    """B16: one line of `size` bytes."""
    return Play(events=(b"data: ", *((b"x" * 64 * KIB,) * (size // (64 * KIB)))), cut=Cut(Point.LAST, How.STALL))


def drip(every: float = 1.0) -> Play:
    """B17: one byte at a time, with a stream's headers."""
    return Play(slices=1, every=every)


def informational(status: int = 103, count: int = 1) -> Play:
    """B18: `count` informational responses before the answer."""
    return Play(interim=(status,) * count)


def redirect(location: str, code: int = 307) -> Play:
    """B19: a redirect."""
    return Play(status=code, headers=(("location", location),), body=b"")


def gzipped() -> Play:
    """B20: a reply compressed unasked."""
    body = _gzip.compress(_format.reply("demo-model", SOUND.text), mtime=0)
    return Play(body=body, headers=(("content-encoding", "gzip"),))


def gzip_bomb(size: int = 512 * MIB) -> Play:
    """B20: `size` zero bytes, compressed to about a thousandth. Members of one MiB, so that making it is cheap."""
    member = _gzip.compress(bytes(MIB), mtime=0)
    return Play(body=member, repeat=size // MIB, headers=(("content-encoding", "gzip"),))


def gzipped_error(code: int, message: str = "this request is wrong") -> Play:
    """B20: an error compressed unasked."""
    return Play(
        status=code,
        body=_gzip.compress(_format.error(code, message), mtime=0),
        headers=(("content-encoding", "gzip"),),
    )


def mislabelled() -> Play:
    """B20: says gzip and is not."""
    return Play(headers=(("content-encoding", "gzip"),))


def huge_error(code: int = 500, size: int = 100 * MIB) -> Play:
    """B21: an error with a huge body."""
    return Play(status=code, body=b"x" * 64 * KIB, repeat=size // (64 * KIB))


def dripping_error(code: int = 500, every: float = 1.0) -> Play:
    """B21: an error whose body comes byte by byte."""
    return Play(status=code, slices=1, every=every)


def many_headers(count: int = 1500, size: int = 8) -> Play:
    """B28: so many headers of that many bytes."""
    return Play(headers=tuple((f"x-filler-{number}", "v" * size) for number in range(count)))


def rude_headers() -> Play:
    """B28: a cookie, hop-by-hop and server headers that no client may see."""
    return Play(
        headers=(
            ("set-cookie", "session=scripted"),
            ("connection", "x-private"),
            ("x-private", "1"),
            ("server", "scripted/1.0"),
            ("proxy-authenticate", "Basic"),
        )
    )


def close_after_reply(text: str = SOUND.text) -> Play:
    """B30: a sound answer, then FIN without having announced it."""
    return Play(text=text, then=How.CLOSE)


def reply_before_body(code: int = 413) -> Play:
    """B31: the answer goes out as soon as the headers of the request are here."""
    return Play(status=code, early=True)


_DONE = _format.DONE.encode() + b"\n\n"


def _some(words: int) -> tuple[bytes, ...]:
    """The opening and so many content events of a stream, without its end."""
    text = " ".join(f"word-{number}" for number in range(words))
    return _format.events("demo-model", text)[: words + 1]
