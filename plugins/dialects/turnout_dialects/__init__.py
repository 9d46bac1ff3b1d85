"""Translation among the dialects of OpenAI, Anthropic and Gemini. Pure: no I/O, no clock, no randomness."""

from turnout_dialects._drops import DROPS, REPLY_DROPS, Drop
from turnout_dialects._errors import BadReply, BadRequest, ErrorEvent, Untranslatable
from turnout_dialects._form import DIALECTS, Usage
from turnout_dialects._stream import StreamTranslator, UsageReader, is_payload
from turnout_dialects._translate import same, translate_reply, translate_request, usage_of

__all__ = [
    "DIALECTS",
    "DROPS",
    "REPLY_DROPS",
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
    "translate_reply",
    "translate_request",
    "usage_of",
]
