"""What both dialects of OpenAI share."""

from collections.abc import Mapping
from typing import Any

from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import Logprob, Media, Thinking, Usage
from turnout_dialects._json import Node, without_none
from turnout_dialects._media import split_data_url
from turnout_dialects._thinking import LEVELS

OPENAI_ONLY = frozenset(
    {"metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
)
"""Members that both spell alike."""


def openai_only(body: Node, **more: Any) -> Mapping[str, Any]:
    """The members that only OpenAI knows."""
    given = {name: body.any(name) for name in OPENAI_ONLY} | more
    return without_none(given)


def count_choices(body: Node, name: str) -> None:
    """Refuse more than one answer. Raises Untranslatable."""
    if body.whole(name) not in {None, 1}:
        raise Untranslatable(body.path(name), "only one answer can be asked for in every dialect")


def effort_of(body: Node, name: str) -> Thinking | None:
    """Thinking of a level of effort."""
    effort = body.text_or_none(name)
    if effort is None:
        return None
    if effort not in {"none", *LEVELS}:
        body.fail(name, f"{effort!r} is no level of effort")
    return Thinking(level=effort)


def read_audio(part: Node) -> Media:
    """A part of the type `input_audio`."""
    audio = part.need("input_audio")
    audio.only({"format", "data"})
    return Media(kind="audio", media_type=f"audio/{audio.text('format')}", data=audio.text("data"), at=part.at)


def read_data_url(node: Node, name: str) -> tuple[str | None, str] | None:
    """Media type and base64 data of a member; None when it is no data URL. Raises BadRequest for a broken one."""
    try:
        return split_data_url(node.text(name))
    except ValueError as exc:
        node.fail(name, str(exc))


def audio_type(media: Media) -> str:
    """The format of a sound. Raises Untranslatable."""
    name = (media.media_type or "").partition("/")[2]
    name = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}.get(name, name)
    if name not in {"mp3", "wav"}:
        raise Untranslatable(media.at, "OpenAI takes sounds as wav or mp3")
    return name


def read_usage(usage: Node | None, before: str, after: str) -> Usage | None:
    """Usage whose members begin with `before` (prompt, input) and `after` (completion, output)."""
    if usage is None:
        return None
    given = usage.node(f"{before}_tokens_details")
    made = usage.node(f"{after}_tokens_details")
    return Usage(
        input=usage.count(f"{before}_tokens"),
        cached=given.count("cached_tokens") if given else 0,
        cache_write=given.count("cache_write_tokens") if given else 0,
        output=usage.count(f"{after}_tokens"),
        reasoning=made.count("reasoning_tokens") if made else 0,
    )


def written_usage(usage: Usage, before: str, after: str) -> dict[str, Any]:
    """Usage as OpenAI tells it; cached tokens are part of the prompt's."""
    return {
        f"{before}_tokens": usage.input,
        f"{after}_tokens": usage.output,
        "total_tokens": usage.total,
        f"{before}_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        f"{after}_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def read_logprobs(holder: Node | None, name: str) -> tuple[Logprob, ...]:
    """Log probabilities of an array of tokens."""
    if holder is None:
        return ()
    return tuple(
        Logprob(
            one.text("token"),
            one.number("logprob") or 0.0,
            tuple(Logprob(top.text("token"), top.number("logprob") or 0.0) for top in one.nodes("top_logprobs")),
        )
        for one in holder.nodes(name)
    )


def written_logprobs(logprobs: tuple[Logprob, ...]) -> list[dict[str, Any]]:
    """Log probabilities as OpenAI tells them."""
    return [_logprob(one) | {"top_logprobs": [_logprob(top) for top in one.top]} for one in logprobs]


def _logprob(one: Logprob) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.token.encode())}
