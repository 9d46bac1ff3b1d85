"""What is lost on purpose: one row each, the same rows as in the README, each with its test.

Everything else that a target cannot say is `Untranslatable`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from turnout_dialects._form import ANTHROPIC, CHAT, GEMINI, RESPONSES


class Drop(NamedTuple):
    """One thing that is not carried over.

    Attributes:
        source: the dialect that says it.
        path: the member, `[]` for any element of an array; for replies it begins with `reply.`.
        why: why leaving it out does no harm, or where it goes instead.
    """

    source: str
    path: str
    why: str


_VENDOR = "about the vendor's own service: billing, storage, routing, caching"
_HINT = "a wish about sampling that no target promises to keep"

DROPS: tuple[Drop, ...] = (
    *(
        Drop(source, name, "OpenAI's own: kept between its two dialects, " + _VENDOR)
        for source in (CHAT, RESPONSES)
        for name in (
            "metadata",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "service_tier",
            "store",
        )
    ),
    *(Drop(source, "stream_options", "usage is always asked for; padding is not") for source in (CHAT, RESPONSES)),
    Drop(CHAT, "verbosity", "OpenAI's own: kept between its two dialects"),
    Drop(RESPONSES, "text.verbosity", "OpenAI's own: kept between its two dialects"),
    Drop(CHAT, "seed", _HINT),
    Drop(CHAT, "presence_penalty", _HINT),
    Drop(CHAT, "frequency_penalty", _HINT),
    Drop(CHAT, "messages[].name", "names of speakers; no other dialect has them"),
    Drop(CHAT, "parallel_tool_calls", "Gemini decides by itself; the others keep it"),
    Drop(RESPONSES, "include", "encrypted reasoning and log probabilities are asked for as the target does it"),
    Drop(RESPONSES, "truncation", _VENDOR),
    Drop(RESPONSES, "input[].status", "says how an earlier reply went"),
    Drop(RESPONSES, "input[].phase", "says how an earlier reply went"),
    Drop(RESPONSES, "reasoning.context", _VENDOR),
    Drop(RESPONSES, "parallel_tool_calls", "Gemini decides by itself; the others keep it"),
    Drop(ANTHROPIC, "cache_control", _VENDOR + "; the other vendors cache by themselves"),
    Drop(ANTHROPIC, "service_tier", _VENDOR),
    Drop(ANTHROPIC, "speed", _VENDOR),
    Drop(ANTHROPIC, "diagnostics", _VENDOR),
    Drop(ANTHROPIC, "inference_geo", _VENDOR),
    Drop(ANTHROPIC, "context_management", _VENDOR),
    Drop(ANTHROPIC, "top_k", _HINT + " but Gemini"),
    Drop(ANTHROPIC, "messages[].content[].citations", "the model is told the text; where it came from is not"),
    Drop(ANTHROPIC, "messages[].content[].is_error", "OpenAI has no mark for it: the text says it"),
    Drop(ANTHROPIC, "tools[].input_examples", "no other dialect has them"),
    Drop(ANTHROPIC, "tools[].eager_input_streaming", "arguments stream as the upstream streams them"),
    Drop(GEMINI, "safetySettings", "the other vendors have no switch for their filters"),
    Drop(GEMINI, "labels", _VENDOR),
    Drop(GEMINI, "generationConfig.topK", _HINT + " but Anthropic"),
    Drop(GEMINI, "generationConfig.seed", _HINT),
    Drop(GEMINI, "generationConfig.mediaResolution", "how finely images are seen"),
    Drop(GEMINI, "contents[].parts[].videoMetadata", "where a video is cut; only Gemini takes videos"),
    Drop(GEMINI, "contents[].parts[].mediaResolution", "how finely images are seen"),
)
"""Members of requests. Of replies see `REPLY_DROPS`."""

REPLY_DROPS: Mapping[str, str] = {
    "parts of unknown kind": "vendors add kinds of output without notice; a paid reply is not thrown away for one",
    "annotations, citations, grounding": "sources of a text; each vendor points into it in another way",
    "choices beyond the first": "several are never asked for",
    "system_fingerprint, service_tier, avgLogprobs, safetyRatings": "about the vendor's own service",
    "signatures of reasoning, to openai.chat": "it has no place for them, but on Gemini's tool calls",
    "finish reasons of Gemini without a match": "told as an ordinary end: MALFORMED_FUNCTION_CALL, LANGUAGE, OTHER",
}
"""What replies lose."""
