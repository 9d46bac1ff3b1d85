"""What is lost on purpose: one row each, the same rows as in the README, each with its test.

Everything else that a target cannot say is `Untranslatable`.
"""

from typing import NamedTuple

from turnout_dialects._form import ANTHROPIC, CHAT, GEMINI, RESPONSES


class Drop(NamedTuple):
    """One thing that is not carried over.

    Attributes:
        source: the dialect that says it.
        path: the member of a request, `[]` for any element of an array.
        why: why leaving it out does no harm, or where it goes instead.
        kept: the dialects that it is carried to nevertheless.
    """

    source: str
    path: str
    why: str
    kept: tuple[str, ...] = ()


_VENDOR = "about the vendor's own service: billing, storage, routing, caching"
_HINT = "a wish about sampling"
_SIGHT = "how finely images are seen"
_LABEL = "how a file is called"
_SOURCES = "where a text came from; the text itself is kept"
_UNSIGNED = "unsigned reasoning: each vendor takes back its own only"
_SIGNED = "signed reasoning: each vendor takes back its own only"
_USERS = "Gemini knows no users"
_ALONE = "Gemini decides by itself"
_STRICT = "Gemini has no mark for it: the schema goes as it is"
_SHOWN = "whether thoughts are told: a chat, and Claude to 4.5, tell what there is"
_SHARED = ("metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier", "store")

DROPS: tuple[Drop, ...] = (
    *(Drop(CHAT, name, _VENDOR, (RESPONSES,)) for name in _SHARED),
    Drop(CHAT, "stream_options", "usage is always asked for; the answer to this client is the frontend's matter"),
    Drop(CHAT, "verbosity", "how long answers are", (RESPONSES,)),
    Drop(CHAT, "seed", _HINT, (GEMINI,)),
    Drop(CHAT, "presence_penalty", _HINT, (GEMINI,)),
    Drop(CHAT, "frequency_penalty", _HINT, (GEMINI,)),
    Drop(CHAT, "messages[].name", "names of speakers"),
    Drop(CHAT, "messages[].reasoning_content", _UNSIGNED),
    Drop(CHAT, "messages[].reasoning", _UNSIGNED),
    Drop(CHAT, "messages[].content[].thinking", _UNSIGNED),
    Drop(CHAT, "messages[].extra_content", _SIGNED, (GEMINI,)),
    Drop(CHAT, "messages[].tool_calls[].extra_content", _SIGNED, (GEMINI,)),
    Drop(CHAT, "messages[].tool_calls[].index", "the order of calls is that of their array"),
    Drop(CHAT, "messages[].annotations", _SOURCES),
    Drop(CHAT, "messages[].content[].reference_ids", _SOURCES),
    Drop(CHAT, "messages[].content[].cache_control", _VENDOR),
    Drop(CHAT, "messages[].content[].prompt_cache_breakpoint", _VENDOR),
    Drop(CHAT, "messages[].content[].image_url.detail", _SIGHT, (RESPONSES,)),
    Drop(CHAT, "messages[].content[].file.filename", _LABEL, (RESPONSES, ANTHROPIC)),
    Drop(CHAT, "tools[].cache_control", _VENDOR),
    Drop(CHAT, "response_format.json_schema.name", "what the answer is called, for the vendor's records", (RESPONSES,)),
    Drop(CHAT, "parallel_tool_calls", _ALONE, (RESPONSES, ANTHROPIC)),
    Drop(CHAT, "tools[].function.strict", _STRICT, (RESPONSES, ANTHROPIC)),
    Drop(CHAT, "safety_identifier", _USERS, (RESPONSES, ANTHROPIC)),
    Drop(CHAT, "user", _USERS, (RESPONSES, ANTHROPIC)),
    *(Drop(RESPONSES, name, _VENDOR, (CHAT,)) for name in _SHARED),
    Drop(RESPONSES, "stream_options", "padding of events"),
    Drop(RESPONSES, "text.verbosity", "how long answers are", (CHAT,)),
    Drop(RESPONSES, "include", "what it can name is asked for as the target does it, or not there"),
    Drop(RESPONSES, "truncation", _VENDOR),
    Drop(RESPONSES, "reasoning.context", _VENDOR),
    Drop(RESPONSES, "reasoning.summary", _SHOWN, (GEMINI,)),
    Drop(RESPONSES, "reasoning.generate_summary", _SHOWN, (GEMINI,)),
    Drop(RESPONSES, "input[].status", "how an earlier reply went"),
    Drop(RESPONSES, "input[].phase", "how an earlier reply went"),
    Drop(RESPONSES, "input[].id", "a name within the vendor's service"),
    Drop(RESPONSES, "input[].caller", "that the model itself called; a program's call is refused"),
    Drop(RESPONSES, "input[].content[].annotations", _SOURCES),
    Drop(RESPONSES, "input[].content[].logprobs", "how an earlier reply went"),
    Drop(RESPONSES, "input[].content[].prompt_cache_breakpoint", _VENDOR),
    Drop(RESPONSES, "input[].content[].detail", _SIGHT, (CHAT,)),
    Drop(RESPONSES, "input[].content[].filename", _LABEL, (CHAT, ANTHROPIC)),
    Drop(RESPONSES, "text.format.name", "what the answer is called, for the vendor's records", (CHAT,)),
    Drop(RESPONSES, "parallel_tool_calls", _ALONE, (CHAT, ANTHROPIC)),
    Drop(RESPONSES, "tools[].strict", _STRICT, (CHAT, ANTHROPIC)),
    Drop(RESPONSES, "safety_identifier", _USERS, (CHAT, ANTHROPIC)),
    Drop(RESPONSES, "user", _USERS, (CHAT, ANTHROPIC)),
    Drop(ANTHROPIC, "cache_control", _VENDOR + "; the other vendors cache by themselves"),
    Drop(ANTHROPIC, "service_tier", _VENDOR),
    Drop(ANTHROPIC, "speed", _VENDOR),
    Drop(ANTHROPIC, "diagnostics", _VENDOR),
    Drop(ANTHROPIC, "context_management", _VENDOR),
    Drop(ANTHROPIC, "top_k", _HINT, (GEMINI,)),
    Drop(ANTHROPIC, "tool_choice.disable_parallel_tool_use", _ALONE, (CHAT, RESPONSES)),
    Drop(ANTHROPIC, "tools[].strict", _STRICT, (CHAT, RESPONSES)),
    Drop(ANTHROPIC, "thinking.display", _SHOWN, (RESPONSES, GEMINI)),
    Drop(ANTHROPIC, "metadata.user_id", _USERS, (CHAT, RESPONSES)),
    Drop(ANTHROPIC, "messages[].content[].cache_control", _VENDOR),
    Drop(ANTHROPIC, "system[].cache_control", _VENDOR),
    Drop(ANTHROPIC, "messages[].content[].citations", _SOURCES),
    Drop(ANTHROPIC, "messages[].content[].title", _LABEL, (CHAT, RESPONSES)),
    Drop(ANTHROPIC, "messages[].content[].caller", "that the model itself called; a program's call is refused"),
    Drop(ANTHROPIC, "messages[].content[].is_error", "OpenAI has no mark for it: the text says it", (GEMINI,)),
    Drop(ANTHROPIC, "tools[].cache_control", _VENDOR),
    Drop(ANTHROPIC, "tools[].input_examples", "calls shown to the model"),
    Drop(ANTHROPIC, "tools[].eager_input_streaming", "arguments stream as the upstream streams them"),
    Drop(GEMINI, "safetySettings", "the other vendors have no switch for their filters"),
    Drop(GEMINI, "labels", _VENDOR),
    Drop(GEMINI, "generationConfig.topK", _HINT, (ANTHROPIC,)),
    Drop(GEMINI, "generationConfig.seed", _HINT, (CHAT,)),
    Drop(GEMINI, "generationConfig.presencePenalty", _HINT, (CHAT,)),
    Drop(GEMINI, "generationConfig.frequencyPenalty", _HINT, (CHAT,)),
    Drop(GEMINI, "generationConfig.thinkingConfig.includeThoughts", _SHOWN, (RESPONSES,)),
    Drop(GEMINI, "generationConfig.mediaResolution", _SIGHT),
    Drop(GEMINI, "contents[].parts[].mediaResolution", _SIGHT),
    Drop(GEMINI, "contents[].parts[].inlineData.displayName", _LABEL, (CHAT, RESPONSES, ANTHROPIC)),
    Drop(GEMINI, "contents[].parts[].videoMetadata", "where a video is cut; only Gemini takes videos"),
)
"""Members of requests. What replies lose stands in the README."""
