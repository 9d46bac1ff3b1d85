"""JSON Schema as Anthropic takes it where an answer, or the arguments of a strict tool, must keep it.

Its grammar knows a part of JSON Schema: objects are closed, bounds and patterns are refused
(`platform.claude.com/docs/en/build-with-claude/structured-outputs`, in excerpts, and `lib/_parse/_transform.py` of the
vendor's SDK 2.14; both read 2026-11-28). As the vendor's SDKs do, what else a schema says goes into the description,
where the model reads it. Only what would leave the client without a part of its answer is refused: members that the
schema does not name, for no closed object has them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from turnout_dialects._errors import Untranslatable
from turnout_dialects._json import encoded

_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_DEFINITIONS = ("$defs", "definitions")
_UNSAID = frozenset({"$schema", "$id", "$comment"})
"""They say nothing about values."""

_STANDING = frozenset({"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "properties", "items"})
"""A schema with one of these says by itself what a value is."""

_PLAIN: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KINDS = frozenset(_PLAIN) | {"object", "array"}


def constrained(schema: Any, at: str) -> dict[str, Any]:
    """The same schema in the part of JSON Schema that Anthropic takes; what it cannot hold is told in descriptions.

    Args:
        schema: of any JSON Schema draft since 6.
        at: where the client wrote it, for errors.

    Raises:
        Untranslatable: what cannot be told in words either: members without names, values of any kind, schemas
            from elsewhere.
    """
    if not isinstance(schema, dict):
        raise Untranslatable(at, "anthropic.messages needs an object for a schema")
    rest = {name: value for name, value in schema.items() if name not in _UNSAID}
    made: dict[str, Any] = {}
    for name in _DEFINITIONS:
        if isinstance(rest.get(name), dict):
            made[name] = {key: constrained(one, f"{at}.{name}.{key}") for key, one in rest.pop(name).items()}
    made |= _core(rest, at)
    for name in ("title", "description"):
        if isinstance(rest.get(name), str):
            made[name] = rest.pop(name)
    if rest:
        told = encoded(rest).decode()
        made["description"] = f"{made['description']}\n\n{told}" if "description" in made else told
    if "$ref" in made and made.keys() - {"$ref", *_DEFINITIONS}:
        made["anyOf"] = [{"$ref": made.pop("$ref")}]  # nothing may stand beside a reference
    return made


def _core(rest: dict[str, Any], at: str) -> dict[str, Any]:
    """What a value is. Takes out of `rest` what it says."""
    if literals := _literals(rest):
        return literals
    if isinstance(ref := rest.get("$ref"), str):
        if not ref.startswith("#"):
            raise Untranslatable(f"{at}.$ref", "anthropic.messages reads no schemas from elsewhere")
        return {"$ref": rest.pop("$ref")}
    if (branches := _branches(rest, at)) is not None:
        return {"anyOf": branches}
    kinds = _kinds(rest)
    if not kinds:
        raise Untranslatable(at, "anthropic.messages needs a type here")
    rest.pop("type", None)
    shapes = [_shape(kind, rest, at) for kind in kinds]
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


def _literals(rest: dict[str, Any]) -> dict[str, Any]:
    """Values that are listed; they need no type beside them, and the vendor's SDK leaves it out."""
    made: dict[str, Any] = {}
    values: list[Any] = []
    if "const" in rest and _is_plain(rest["const"], _PLAIN):
        made["const"] = rest.pop("const")
        values.append(made["const"])
    listed = rest.get("enum")
    if isinstance(listed, list) and listed and all(_is_plain(one, _PLAIN) for one in listed):
        made["enum"] = rest.pop("enum")
        values.extend(listed)
    if made and all(_is_plain(value, _kinds(rest)) for value in values):
        rest.pop("type", None)
    return made


def _is_plain(value: object, kinds: Iterable[str]) -> bool:
    """Whether a value is of one of these kinds, and neither object nor array."""
    return any(
        isinstance(value, _PLAIN[kind]) and (kind == "boolean" or not isinstance(value, bool))
        for kind in kinds
        if kind in _PLAIN
    )


def _branches(rest: dict[str, Any], at: str) -> list[dict[str, Any]] | None:
    """Alternatives that say by themselves what a value is; None when there are none."""
    if rest.keys() & {"properties", "items"}:
        return None
    for name in ("anyOf", "oneOf", "allOf"):
        listed = rest.get(name)
        if isinstance(listed, list) and listed and all(map(_stands, listed)) and (name != "allOf" or len(listed) == 1):
            del rest[name]
            return [constrained(one, f"{at}.{name}[{place}]") for place, one in enumerate(listed)]
    return None


def _stands(schema: object) -> bool:
    return isinstance(schema, dict) and not schema.keys().isdisjoint(_STANDING)


def _kinds(rest: Mapping[str, Any]) -> list[str]:
    """The types that a schema names, or that its members imply; none when it leaves them open."""
    given = rest.get("type")
    if given is None:
        return [kind for kind, name in (("object", "properties"), ("array", "items")) if name in rest]
    listed = given if isinstance(given, list) else [given]
    return [kind for kind in listed if isinstance(kind, str)] if _KINDS.issuperset(map(str, listed)) else []


def _shape(kind: str, rest: dict[str, Any], at: str) -> dict[str, Any]:
    """A schema of one type. Takes out of `rest` what it says."""
    made: dict[str, Any] = {"type": kind}
    if kind == "object":
        return made | _members(rest, at)
    if kind == "array":
        if "items" in rest:
            made["items"] = constrained(rest.pop("items"), f"{at}.items")
        if rest.get("minItems") in (0, 1):  # a tuple: what a client wrote may be no key of a set
            made["minItems"] = rest.pop("minItems")
    elif kind == "string" and rest.get("format") in _FORMATS:
        made["format"] = rest.pop("format")
    return made


def _members(rest: dict[str, Any], at: str) -> dict[str, Any]:
    """A closed object. An open one loses nothing by that which its schema names; a map would lose everything."""
    named = rest.pop("properties", None)
    more = rest.pop("additionalProperties", None)
    if "patternProperties" in rest or (isinstance(more, dict) and more):
        raise Untranslatable(f"{at}.additionalProperties", "anthropic.messages has no members without names")
    if not isinstance(named, dict) and (named is not None or more is not False):
        raise Untranslatable(f"{at}.properties", "anthropic.messages needs the names of an object's members")
    named = named or {}
    required = rest.pop("required", [])
    if not isinstance(required, list) or not all(isinstance(one, str) and one in named for one in required):
        raise Untranslatable(f"{at}.required", "anthropic.messages needs names of the object's members")
    made = {name: constrained(one, f"{at}.properties.{name}") for name, one in named.items()}
    closed: dict[str, Any] = {"properties": made, "additionalProperties": False}
    return closed | ({"required": required} if required else {})
