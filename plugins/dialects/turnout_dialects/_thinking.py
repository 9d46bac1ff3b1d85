"""How much to think: the suffix of a model name (C7.1), and each vendor's own parameter for each of its models.

Sources, read 2026-11-23:
- Anthropic: `platform.claude.com/docs/en/build-with-claude/thinking`, `.../models/sonnet-5-5/whats-new-sonnet-5-5`
  and the types of its SDK 2.12: budgets to 4.5 (at least 1,024, below `max_tokens`), adaptive thinking and
  `output_config.effort` since 4.6; `xhigh` since 4.7; Opus and Fable of 5.5 and 5.1 cannot be told not to think,
  Sonnet 5.5 takes `between_tools` for that.
- Google: `ai.google.dev/gemini-api/docs/generate-content/thinking`: 2.5 takes budgets, 3 and later levels, never both;
  3.7 and later refuse `minimal`, as Pro models always did. `ai.google.dev/gemini-api/docs/openai` has the budgets
  that Google itself gives to the efforts of OpenAI.
- OpenAI: `shared/reasoning_effort` of its SDK 3.54: none, minimal, low, medium, high, xhigh, max.
"""

import re
from typing import Any

from turnout_dialects._form import Thinking

LEVELS = ("minimal", "low", "medium", "high", "xhigh", "max")
BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 65_536}
"""Tokens for a level where a model takes budgets only. The first four are Google's own; the last two follow them."""

LEAST_BUDGET = 1_024
"""Anthropic's least budget."""

INCLUDED = {"summarized": True, "omitted": False}
"""Whether thoughts are wanted, by Anthropic's `thinking.display`."""

_NUMBER = re.compile(r"\+?0*([0-9]{1,19})")
_LARGEST_NUMBER = 2**63 - 1
_CLAUDE = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?![\d])")
_OLD_CLAUDE = re.compile(r"claude-(?:v?[12]|instant|3(?:[-.](\d)(?!\d))?)")
_GEMINI = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?")
_NEWEST = (99, 0)


def from_suffix(suffix: str) -> Thinking | None:
    """What the suffix of a model name asks for; None when no reader of C7.1 takes it."""
    lowered = suffix.lower()
    if lowered in LEVELS:
        return Thinking(level=lowered)
    if lowered in {"none", "auto", "-1"}:
        return Thinking(level="none" if lowered == "none" else "auto")
    found = _NUMBER.fullmatch(suffix)
    if found is None or (budget := int(found[1])) > _LARGEST_NUMBER:
        return None
    return of_budget(budget)


def of_budget(budget: int) -> Thinking:
    """Thinking with a budget: 0 is none, below 0 is the model's own choice."""
    if budget > 0:
        return Thinking(budget=budget)
    return Thinking(level="auto" if budget < 0 else "none")


def level_of(thinking: Thinking) -> str | None:
    """The level; that of a budget is the least one whose own budget covers it."""
    if thinking.budget is None:
        return thinking.level
    return next((level for level in LEVELS[1:] if BUDGETS[level] >= thinking.budget), "max")


def openai_effort(thinking: Thinking | None) -> str | None:
    """OpenAI's `reasoning_effort`; None leaves the choice to the model."""
    level = level_of(thinking) if thinking else None
    return None if level == "auto" else level


def claude_version(model: str) -> tuple[int, int]:
    """Version of a Claude model; one that cannot be told counts as the newest."""
    if (found := _CLAUDE.search(model)) is not None:
        return int(found[2]), int(found[3] or 0)
    old = _OLD_CLAUDE.search(model)
    return (3, int(old[1] or 0)) if old else _NEWEST


def anthropic_thinking(
    thinking: Thinking | None, model: str, max_tokens: int
) -> tuple[dict[str, Any] | None, str | None]:
    """Anthropic's `thinking` and `output_config.effort`, None where the request is better without.

    A level below the model's least becomes its least; a budget is cut to what `max_tokens` leaves.
    """
    if thinking is None:
        return None, None
    version = claude_version(model)
    if version >= (4, 6):
        return _adaptive(thinking, model, version)
    level = level_of(thinking)
    if level in {None, "none"}:
        return ({"type": "disabled"} if level and version >= (3, 7) else None), None
    wanted = thinking.budget or BUDGETS.get(str(level), BUDGETS["medium"])
    budget = min(max(wanted, LEAST_BUDGET), max_tokens - 1)
    if budget < LEAST_BUDGET or version < (3, 7):
        return None, None
    return {"type": "enabled", "budget_tokens": budget}, None


def _adaptive(thinking: Thinking, model: str, version: tuple[int, int]) -> tuple[dict[str, Any] | None, str | None]:
    level = level_of(thinking)
    if level == "none":
        return _off(model, version)
    display = {True: {"display": "summarized"}, False: {"display": "omitted"}, None: {}}[thinking.include]
    effort = None if level in {None, "auto"} else _claude_effort(str(level), version)
    return {"type": "adaptive", **display}, effort


def _off(model: str, version: tuple[int, int]) -> tuple[dict[str, Any] | None, str | None]:
    if "fable" in model or "mythos" in model or version == _NEWEST or ("opus" in model and version >= (5, 5)):
        return None, "low"
    if "sonnet" in model and version >= (5, 5):
        return {"type": "between_tools"}, None
    return {"type": "disabled"}, None


def _claude_effort(level: str, version: tuple[int, int]) -> str:
    if level == "minimal":
        return "low"
    return "high" if level == "xhigh" and version < (4, 7) else level


def gemini_thinking(thinking: Thinking | None, model: str) -> dict[str, Any] | None:
    """Gemini's `thinkingConfig`, None for the model's own choice. Levels beyond a model's become its nearest."""
    if thinking is None:
        return None
    found = _GEMINI.search(model)
    version = (int(found[1]), int(found[2] or 0)) if found else _NEWEST
    config: dict[str, Any] = {} if thinking.include is None else {"includeThoughts": thinking.include}
    level = level_of(thinking)
    if version < (3, 0):
        budget = thinking.budget or _gemini_budget(level, model)
        return config | ({} if budget is None else {"thinkingBudget": budget}) or None
    return (
        config | ({} if level in {None, "auto"} else {"thinkingLevel": _gemini_level(str(level), model, version)})
        or None
    )


def _gemini_budget(level: str | None, model: str) -> int | None:
    if level == "none":
        return 128 if "pro" in model else 0  # 2.5 Pro always thinks, with at least 128 tokens
    return -1 if level == "auto" else min(BUDGETS[level], BUDGETS["high"]) if level else None


def _gemini_level(level: str, model: str, version: tuple[int, int]) -> str:
    if level in {"none", "minimal"}:
        return "minimal" if "flash" in model and version < (3, 7) else "low"
    return "high" if level in {"xhigh", "max"} else level
