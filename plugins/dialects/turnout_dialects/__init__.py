"""Translation among the dialects of OpenAI, Anthropic and Gemini. Pure: no I/O, no clock, no randomness.

    DIALECTS                    openai.chat, openai.responses, anthropic.messages, gemini.generate
    same(a, b) -> bool          whether bytes pass through unread; the translators refuse that case with ValueError

    translate_request(body, source, target, *, model, stream, thinking=None) -> bytes
                                client's dialect -> upstream's; raises BadRequest(path), Untranslatable(path)
    translate_reply(body, source, target, *, model, id, now) -> bytes
                                upstream's dialect -> client's; raises BadReply, ErrorEvent(error)

    StreamTranslator(source, target, *, model, id, now, include_usage=False)
        .feed(event) -> bytes   one complete event of the source (a block of server-sent events, or a bare JSON object
                                of Gemini), the target's complete events; raises BadReply, ErrorEvent(error)
        .end() -> bytes         what is left of the target's end; b"" when it was given; raises BadReply after a cut
        .payload .usage .finished

    split_suffix(model) -> (name, suffix | None)
    with_thinking(body, dialect, *, model, suffix) -> bytes
                                a request within one dialect, the suffix as the vendor's own parameter (C7.1)

    is_payload(event, dialect) -> bool        whether a client can use an event (design 2); never raises
    usage_of(body, dialect) -> Usage | None   of a whole reply; never raises
    UsageReader(dialect).feed(event)          of a stream that passes through; `.usage`; never raises
    DROPS                                     what requests lose on purpose

BadRequest and Untranslatable are the caller's fault (`turnout.errors.InvalidAsk`, with `.path` in the client's own
spelling), BadReply and ErrorEvent the upstream's (`ValueError`; `ErrorEvent.error` is unscrubbed).
Model names are the upstream's without suffix; `thinking` is the suffix (C7.1).
"""

from turnout_dialects._drops import DROPS, Drop
from turnout_dialects._errors import BadReply, BadRequest, ErrorEvent, Untranslatable
from turnout_dialects._form import DIALECTS, Usage
from turnout_dialects._stream import StreamTranslator, UsageReader, is_payload
from turnout_dialects._suffix import split_suffix, with_thinking
from turnout_dialects._translate import same, translate_reply, translate_request, usage_of

__all__ = [
    "DIALECTS",
    "DROPS",
    "BadReply",
    "BadRequest",
    "Drop",
    "ErrorEvent",
    "StreamTranslator",
    "Untranslatable",
    "Usage",
    "UsageReader",
    "is_payload",
    "same",
    "split_suffix",
    "translate_reply",
    "translate_request",
    "usage_of",
    "with_thinking",
]
