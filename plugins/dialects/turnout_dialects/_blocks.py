"""What may stand in a block of content. A member that is neither read nor known to do no harm is refused."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from turnout_dialects._errors import Untranslatable
from turnout_dialects._form import Media, Part, Text
from turnout_dialects._json import Node

CACHING = frozenset({"cache_control", "prompt_cache_breakpoint"})
"""Marks of what a vendor should cache, objects both. OpenRouter takes Anthropic's in chats."""

_TYPE = frozenset({"type"})


def kind_of_block(block: Node, known: Mapping[str, AbstractSet[str]]) -> str:
    """The type of a block.

    Args:
        block: its members are checked when its type is known, and left to whoever refuses the type when it is not.
        known: per type the members that it may have, besides `type`.

    Raises:
        BadRequest: no type, or a mark for caches that is no object.
        Untranslatable: it has another member.
    """
    kind = block.text("type")
    members = known.get(kind)
    if members is not None and block.members.keys() - members != _TYPE:
        block.only(members | _TYPE)
    if not CACHING.isdisjoint(block.members):
        for name in CACHING:
            block.table(name)
    return kind


def check_caller(call: Node) -> None:
    """Refuse a call that a program of the vendor made, rather than the model. Raises BadRequest, Untranslatable."""
    caller = call.node("caller")
    if caller is not None and caller.text("type") != "direct":
        raise Untranslatable(caller.path("type"), "only the model itself can call in every dialect")


def instructions(parts: Iterable[Part], path: str) -> list[str]:
    """The texts of a system message. Raises Untranslatable when it has anything else, with `path`."""
    listed = list(parts)
    texts = [part.text for part in listed if isinstance(part, Text)]
    if len(texts) < len(listed):
        raise Untranslatable(path, "instructions can only be text in every dialect")
    return texts


def result_parts(parts: Iterable[Part], path: str) -> tuple[Text | Media, ...]:
    """What a call gave. Raises Untranslatable for anything but texts and media, with `path`."""
    listed = tuple(parts)
    kept = tuple(part for part in listed if isinstance(part, Text | Media))
    if len(kept) < len(listed):
        raise Untranslatable(path, "a result can only be text and media in every dialect")
    return kept
