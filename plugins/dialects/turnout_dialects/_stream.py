"""Streams: a machine that takes one event of a source and gives the events of the target."""

from typing import final

from turnout.errors import InvalidAsk
from turnout_dialects._errors import BadReply
from turnout_dialects._form import ANTHROPIC, CHAT, RESPONSES, Usage
from turnout_dialects._stream_form import Counted, StreamEvent, StreamReader, is_useful
from turnout_dialects._stream_order import Order, StreamWriter
from turnout_dialects._stream_read_anthropic import AnthropicReader
from turnout_dialects._stream_read_chat import ChatReader
from turnout_dialects._stream_read_gemini import GeminiReader
from turnout_dialects._stream_read_responses import ResponsesReader
from turnout_dialects._stream_write_anthropic import AnthropicWriter
from turnout_dialects._stream_write_chat import ChatWriter
from turnout_dialects._stream_write_gemini import GeminiWriter
from turnout_dialects._stream_write_responses import ResponsesWriter
from turnout_dialects._translate import same
from turnout_wire import read_event


@final
class StreamTranslator:
    """Translates one stream from the upstream's dialect `source` to the client's dialect `target`.

    Args:
        model: the name that the client asked for.
        id: unique for this reply; the target's own prefix is put before it.
        now: POSIX seconds, for the dialects that tell when.
        include_usage: for `openai.chat`: whether the client asked for `stream_options.include_usage`, which puts usage
            into an event of its own. Otherwise it stands in the last event that has a choice.

    Attributes:
        payload: whether the last event that was fed held something that a client can use (design 2).
        usage: what the stream has told so far, None when nothing.
        finished: whether the target's end was given.
    """

    __slots__ = ("_first", "_order", "_reader", "payload", "usage")

    def __init__(
        self, source: str, target: str, *, model: str, id: str, now: float, include_usage: bool = False
    ) -> None:
        if same(source, target):
            raise ValueError(f"{source} to itself needs no translation: pass the bytes through")
        self._reader = _reader(source, id)
        self._order = Order(_writer(target, model=model, id=id, now=now, include_usage=include_usage))
        self._first = True
        self.payload = False
        self.usage: Usage | None = None

    @property
    def finished(self) -> bool:
        """Whether the target's end was given."""
        return self._order.finished

    def feed(self, event: bytes) -> bytes:
        """The target's events for one complete event of the source.

        Args:
            event: a block of server-sent events (`turnout_wire.BlockReader`), or one bare JSON object of Gemini's
                array form.

        Returns:
            Complete events of the target, often none. Gemini's are server-sent events.

        Raises:
            BadReply: the event is not what its dialect allows; the stream cannot be gone on with.
            ErrorEvent: the event is the upstream's error.
        """
        self.payload = False
        data = _data(event, first=self._first)
        self._first = False
        if data is None or self._order.finished:
            return b""
        try:
            return b"".join([self._take(one) for one in self._reader.read(data)])
        except RecursionError:
            raise BadReply("", "it is nested too deeply") from None
        except InvalidAsk as exc:
            raise BadReply("", str(exc)) from None

    def end(self) -> bytes:
        """What is left when the source's bytes are over: the target's end, unless it was given already.

        Raises BadReply when the source did not say that the reply is complete: the target's end would be a lie.
        """
        return self._order.finish()

    def _take(self, event: StreamEvent) -> bytes:
        if isinstance(event, Counted):
            self.usage = event.usage
        elif is_useful(event):
            self.payload = True
        return self._order.take(event)


@final
class UsageReader:
    """Reads usage from a stream that passes through untouched: only events that mention it are parsed.

    Attributes:
        usage: what the stream has told so far, None when nothing.
    """

    __slots__ = ("_reader", "usage")

    def __init__(self, dialect: str) -> None:
        same(dialect, dialect)
        self._reader = _reader(dialect, "")
        self.usage: Usage | None = None

    def feed(self, event: bytes) -> None:
        """Take one event of the stream, as `StreamTranslator.feed` does. Never raises."""
        if b"usage" not in event or (data := _data(event, first=False)) is None:
            return
        try:
            for one in self._reader.read(data):
                if isinstance(one, Counted):
                    self.usage = one.usage
        except (BadReply, InvalidAsk, RecursionError):
            return  # whoever forwards the stream judges it; here is only counted


def is_payload(event: bytes, dialect: str) -> bool:
    """Whether an event holds something that a client can use (design 2). False for what cannot be read."""
    data = _data(event, first=False)
    if data is None:
        return False
    try:
        return any(map(is_useful, _reader(dialect, "").read(data)))
    except (BadReply, InvalidAsk, RecursionError):
        return False


def _data(event: bytes, *, first: bool) -> bytes | None:
    if event[:1] == b"{":
        return event
    found = read_event(event, first=first)
    if found is not None:
        return found.data if found.data.strip() else None
    bare = event.strip(b" \t\r\n,[]")
    return bare if bare[:1] == b"{" else None


def _reader(source: str, id: str) -> StreamReader:
    """`id` is what ids of calls are made from that have none."""
    if source == CHAT:
        return ChatReader(id)
    if source == RESPONSES:
        return ResponsesReader()
    return AnthropicReader() if source == ANTHROPIC else GeminiReader(id)


def _writer(target: str, *, model: str, id: str, now: float, include_usage: bool) -> StreamWriter:
    if target == CHAT:
        return ChatWriter(model=model, id=id, now=now, include_usage=include_usage)
    if target == RESPONSES:
        return ResponsesWriter(model=model, id=id, now=now)
    return AnthropicWriter(model=model, id=id) if target == ANTHROPIC else GeminiWriter(model=model, id=id)
