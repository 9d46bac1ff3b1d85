"""Who speaks OpenAI's API, and how each differs: facts as rows, read by one provider.

The pages were read on 2026-11-26 in a stored copy, those marked "excerpt" in parts only.
"""

from collections.abc import Mapping

import attrs

from turnout import Failed, InvalidRequest, Overloaded, PaymentRequired, Unauthorized
from turnout_wire import Mark

CHAT = "openai.chat"
RESPONSES = "openai.responses"
EMBEDDINGS = "openai.embeddings"

_ALL = frozenset({CHAT, RESPONSES, EMBEDDINGS})


@attrs.frozen(kw_only=True)
class Vendor:
    """One vendor, or one server that people run themselves.

    Attributes:
        base_url: where its API is, unless the configuration says otherwise.
        dialects: what it speaks natively.
        keyless: it serves without a key.
        reasoning: member of its messages and deltas that holds reasoning; empty where it shows none in chats.
        marks: what its refusals mean beyond their status.
        source: pages of its documentation.
    """

    base_url: str
    dialects: frozenset[str] = _ALL
    keyless: bool = False
    reasoning: str = ""
    marks: tuple[Mark, ...] = ()
    source: str


VENDORS: Mapping[str, Vendor] = {
    "openai": Vendor(
        base_url="https://api.openai.com/v1",
        source="platform.openai.com/docs/api-reference; help.openai.com/en/articles/6614457",
    ),
    "openrouter": Vendor(
        base_url="https://openrouter.ai/api/v1",
        reasoning="reasoning",
        # 403 is a moderated prompt, with the reasons in `metadata`
        marks=(Mark(403, '"reasons"', InvalidRequest), Mark(403, "flagged", InvalidRequest)),
        source="openrouter.ai/docs/api/reference/errors-and-debugging, /docs/api_reference/limits (excerpts)",
    ),
    "deepseek": Vendor(
        base_url="https://api.deepseek.com",
        dialects=frozenset({CHAT}),
        reasoning="reasoning_content",
        marks=(Mark(503, "", Overloaded),),
        source="api-docs.deepseek.com/quick_start/error_codes",
    ),
    "groq": Vendor(
        base_url="https://api.groq.com/openai/v1",
        dialects=frozenset({CHAT, RESPONSES}),
        reasoning="reasoning",
        # 413 with this code is a request beyond this account's tokens a minute: a larger account may take it
        marks=(Mark(498, "", Overloaded), Mark(413, "rate_limit_exceeded", Failed)),
        source="console.groq.com/docs/errors, /docs/rate-limits, /docs/flex-processing (excerpts); "
        "github.com/HunorLaczko/ha-groq-cloud-api/issues/27 for the 413",
    ),
    "mistral": Vendor(
        base_url="https://api.mistral.ai/v1",
        dialects=frozenset({CHAT, EMBEDDINGS}),
        source="docs.mistral.ai/resources/error-glossary",
    ),
    "xai": Vendor(
        base_url="https://api.x.ai/v1",
        reasoning="reasoning_content",
        marks=(
            Mark(400, "Incorrect API key", Unauthorized),
            Mark(429, "used all available credits", PaymentRequired),
        ),
        source="docs.x.ai/developers/debugging.md (excerpt); github.com/continuedev/continue/issues/10373 and 10778",
    ),
    "together": Vendor(
        base_url="https://api.together.xyz/v1",
        dialects=frozenset({CHAT, EMBEDDINGS}),
        reasoning="reasoning",
        # 403: the input and `max_tokens` are longer than the context
        marks=(Mark(403, "", InvalidRequest), Mark(503, "", Overloaded)),
        source="docs.together.ai/docs/error-codes",
    ),
    "fireworks": Vendor(
        base_url="https://api.fireworks.ai/inference/v1",
        reasoning="reasoning_content",
        marks=(
            Mark(403, "", Unauthorized),
            Mark(412, "", PaymentRequired),  # the account is suspended
            Mark(503, "", Overloaded),
        ),
        source="docs.fireworks.ai/guides/inference-error-codes, docs.fireworks.ai/serverless/rate-limits (excerpts)",
    ),
    "vllm": Vendor(
        base_url="http://localhost:8000/v1",
        keyless=True,
        reasoning="reasoning",  # `reasoning_content` before it was renamed
        marks=(Mark(400, "BadRequestError", InvalidRequest),),
        source="docs.vllm.ai/en/v0.26.0/features/reasoning_outputs (excerpt)",
    ),
    "ollama": Vendor(
        base_url="http://localhost:11434/v1",
        keyless=True,
        reasoning="reasoning",
        source="docs.ollama.com/api/openai-compatibility (by way of w3cschool.cn/ollamadocs, excerpt)",
    ),
    "llama.cpp": Vendor(
        base_url="http://localhost:8080/v1",
        keyless=True,
        reasoning="reasoning_content",
        marks=(Mark(400, "exceed_context_size_error", InvalidRequest),),
        source="mintlify.com/ggml-org/llama.cpp/inference/server (excerpt)",
    ),
}
"""Names that `vendor` takes. OpenAI's row also serves whoever is not listed: its `base_url` is said then."""
