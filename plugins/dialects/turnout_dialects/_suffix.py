"""The thinking suffix of a model name (C7.1) on a request that stays in its own dialect: the vendor's own parameter."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from turnout_dialects._anthropic_request_write import default_max_tokens
from turnout_dialects._errors import BadRequest
from turnout_dialects._form import ANTHROPIC, CHAT, GEMINI, RESPONSES, Thinking
from turnout_dialects._json import decoded, encoded
from turnout_dialects._thinking import INCLUDED, anthropic_thinking, from_suffix, gemini_thinking, openai_effort

_Members = dict[str, Any]

_FORCED = frozenset({"any", "tool"})


def split_suffix(model: str) -> tuple[str, str | None]:
    """A model's name and its thinking suffix; None when it has none, or one that no reader of C7.1 takes.

    Such a name is the model's own: `llama(q4)` is asked for as it is.
    """
    if not model.endswith(")") or "(" not in model:
        return model, None
    base, _, suffix = model[:-1].rpartition("(")
    return (base, suffix) if base and from_suffix(suffix) is not None else (model, None)


def with_thinking(body: bytes, dialect: str, *, model: str, suffix: str) -> bytes:
    """A request of its own vendor that thinks as the suffix says; the suffix wins over the body.

    Args:
        body: the client's.
        dialect: the client's and the upstream's.
        model: the upstream's name without the suffix: what a model understands differs.
        suffix: one that `split_suffix` gives.

    Raises BadRequest for a body that is no JSON object, or whose members of that name are none.
    """
    thinking = from_suffix(suffix)
    write = _WRITERS.get(dialect)
    if thinking is None or write is None:
        return body
    members = decoded(body, BadRequest).members
    if "model" in members:
        members["model"] = model
    write(members, thinking, model)
    return encoded(members)


def _chat(members: _Members, thinking: Thinking, _model: str) -> None:
    _put(members, "reasoning_effort", openai_effort(thinking))


def _responses(members: _Members, thinking: Thinking, _model: str) -> None:
    reasoning = _object(members, "reasoning")
    _put(reasoning, "effort", openai_effort(thinking))
    _put(members, "reasoning", reasoning or None)


def _anthropic(members: _Members, thinking: Thinking, model: str) -> None:
    own, output = _object(members, "thinking"), _object(members, "output_config")
    wanted = msgspec.structs.replace(thinking, include=INCLUDED.get(str(own.get("display"))))
    limit = members.get("max_tokens")
    given, effort = anthropic_thinking(wanted, model, limit if type(limit) is int else default_max_tokens(model))
    if given and given["type"] != "disabled" and _object(members, "tool_choice").get("type") in _FORCED:
        given = None  # a forced tool and thinking exclude each other
    if given and given["type"] == "enabled":  # and so do a budget and sampling
        for name in ("temperature", "top_p", "top_k"):
            members.pop(name, None)
    _put(members, "thinking", given)
    _put(output, "effort", effort)
    _put(members, "output_config", output or None)


def _gemini(members: _Members, thinking: Thinking, model: str) -> None:
    name = "generation_config" if "generation_config" in members else "generationConfig"
    config = _object(members, name)
    inner = "thinking_config" if "thinking_config" in config else "thinkingConfig"
    own = _object(config, inner)
    include = own.get("includeThoughts", own.get("include_thoughts"))
    wanted = msgspec.structs.replace(thinking, include=include if type(include) is bool else None)
    _put(config, inner, gemini_thinking(wanted, model))
    _put(members, name, config or None)


def _object(members: _Members, name: str) -> _Members:
    """A copy of a member that is an object, empty when absent."""
    found = members.get(name)
    if found is None:
        return {}
    if type(found) is not dict:
        raise BadRequest(name, "must be an object")
    return dict(found)


def _put(members: _Members, name: str, value: object) -> None:
    """Set a member; None takes it away."""
    if value is None:
        members.pop(name, None)
    else:
        members[name] = value


_WRITERS: Mapping[str, Callable[[_Members, Thinking, str], None]] = {
    CHAT: _chat,
    RESPONSES: _responses,
    ANTHROPIC: _anthropic,
    GEMINI: _gemini,
}
