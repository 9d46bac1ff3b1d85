"""The way of one call into an upstream's dialect, and of its answer back. Pure: ids and time are parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import attrs
import msgspec

from turnout import Operation
from turnout_dialects._counting import COUNTING, translate_count_reply, translate_count_request
from turnout_dialects._embeddings import EMBEDDINGS, translate_embed_reply, translate_embed_request
from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import ANTHROPIC, CHAT, DIALECTS, GEMINI, RESPONSES
from turnout_dialects._stream import StreamTranslator
from turnout_dialects._suffix import split_suffix
from turnout_dialects._translate import translate_reply, translate_request

SOURCES: Mapping[Operation, Mapping[str, frozenset[str]]] = {
    Operation.GENERATE: {dialect: DIALECTS - {dialect} for dialect in DIALECTS},
    Operation.COUNT: {dialect: COUNTING - {dialect} for dialect in COUNTING},
    Operation.EMBED: {EMBEDDINGS: frozenset({GEMINI}), GEMINI: frozenset({EMBEDDINGS})},
}
"""Per operation and upstream's dialect: the clients' dialects that can be translated into it."""

Into = Mapping[Operation, Sequence[str]]
"""Per operation the dialects of an upstream, the one that loses least first."""


class _Asked(msgspec.Struct):
    """Members of a request on which the form of its answer depends."""

    stream_options: Any = None
    encoding_format: Any = None
    requests: Any = None


_read_asked = msgspec.json.Decoder(_Asked).decode
_NOTHING = _Asked()


@final
@attrs.frozen(kw_only=True)
class Way:
    """How one call is translated.

    Attributes:
        source: the client's dialect.
        target: the upstream's.
        model: as the client asked for it, suffix included: its answer says so.
        upstream: the upstream's name of the model, without suffix.
        payload: for the upstream.
    """

    operation: Operation
    source: str
    target: str
    model: str
    upstream: str
    payload: bytes = attrs.field(repr=False)
    _asked: _Asked = attrs.field(repr=False)

    def reply(self, body: bytes, *, id: str, now: float) -> bytes:
        """The upstream's whole answer as the client's. Raises BadReply, ErrorEvent."""
        if self.operation is Operation.COUNT:
            return translate_count_reply(body, self.target, self.source)
        if self.operation is Operation.EMBED:
            batch = self._asked.requests is not None
            packed = self._asked.encoding_format == "base64"
            return translate_embed_reply(body, self.target, model=self.model, batch=batch, packed=packed)
        return translate_reply(body, self.target, self.source, model=self.model, id=id, now=now)

    def stream(self, *, id: str, now: float) -> StreamTranslator:
        """The machine for the upstream's stream."""
        options = self._asked.stream_options
        usage = isinstance(options, dict) and options.get("include_usage") is True
        return StreamTranslator(
            self.target, self.source, model=self.model, id=id, now=now, include_usage=usage and self.source == CHAT
        )


def translated_to(into: Into) -> frozenset[str]:
    """The dialects that a provider with such upstreams can translate."""
    return frozenset(
        source
        for operation, targets in into.items()
        for target in targets
        for source in SOURCES[operation].get(target, ())
    )


def way(
    body: bytes, source: str, into: Sequence[str], *, operation: Operation, asked: str, model: str, stream: bool = False
) -> Way | None:
    """Translate a client's request into the first of the upstream's dialects that can say it.

    Args:
        body: the client's.
        source: its dialect.
        into: the upstream's dialects, the preferred one first.
        operation: what is asked for.
        asked: the model as the client calls it.
        model: as the upstream calls it, thinking suffix included.
        stream: whether a stream is wanted.

    Returns:
        None when no dialect of the upstream has the operation.

    Raises:
        BadRequest: the body is not what its own dialect allows.
        Untranslatable: no dialect of the upstream can say it; the reason of the first one.
    """
    base, suffix = split_suffix(model)
    failed: Untranslatable | None = None
    for target in into:
        if source in SOURCES[operation].get(target, ()):
            try:
                payload = _payload(body, source, target, operation, model=base, stream=stream, thinking=suffix)
            except Untranslatable as exc:
                failed = failed or exc
                continue
            return Way(
                operation=operation,
                source=source,
                target=target,
                model=asked,
                upstream=base,
                payload=payload,
                asked=_asked(body),
            )
    if failed is not None:
        raise failed
    return None


def _payload(
    body: bytes, source: str, target: str, operation: Operation, *, model: str, stream: bool, thinking: str | None
) -> bytes:
    if operation is Operation.COUNT:
        return translate_count_request(body, source, target, model=model, thinking=thinking)
    if operation is Operation.EMBED:
        return translate_embed_request(body, source, model=model)
    return translate_request(body, source, target, model=model, stream=stream, thinking=thinking)


def _asked(body: bytes) -> _Asked:
    try:
        return _read_asked(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOTHING


OPENAI_WAYS: Into = {
    Operation.GENERATE: (RESPONSES, CHAT),
    Operation.COUNT: (RESPONSES,),
    Operation.EMBED: (EMBEDDINGS,),
}
"""OpenAI itself: its Responses API keeps reasoning, which its chat does not tell."""

CHAT_WAYS: Into = {Operation.GENERATE: (CHAT,), Operation.EMBED: (EMBEDDINGS,)}
"""Services that speak OpenAI's chat."""

ANTHROPIC_WAYS: Into = {Operation.GENERATE: (ANTHROPIC,), Operation.COUNT: (ANTHROPIC,)}

GEMINI_WAYS: Into = {Operation.GENERATE: (GEMINI,), Operation.COUNT: (GEMINI,), Operation.EMBED: (GEMINI,)}
