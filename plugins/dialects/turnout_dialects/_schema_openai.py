"""Whether OpenAI takes a JSON Schema as `strict`.

It rejects a request whose strict schema has optional members (`platform.openai.com/docs/guides/function-calling`,
excerpt of a copy of April 2026). It has a way to say them, with `null` for what is left out, but a client of another
dialect did not allow `null` there. So such a schema is sent as OpenAI takes it without the flag: as well as the model
can keep it.
"""

from typing import Any

_KNOWN = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$defs"),
        *("definitions", "title", "description", "format", "pattern", "minimum", "maximum", "exclusiveMinimum"),
        *("exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
    }
)
"""Of `platform.openai.com/docs/guides/structured-outputs`, by its excerpts and by what clients report as "is not
permitted": `default`, `uniqueItems`, `oneOf`, `minLength` (read 2026-11-28)."""

_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_LOOKAROUNDS = ("(?=", "(?!", "(?<=", "(?<!")


def is_strict(schema: Any) -> bool:
    """Whether OpenAI takes a schema of arguments or of an answer as `strict`."""
    return isinstance(schema, dict) and schema.get("type") == "object" and "anyOf" not in schema and _keeps(schema)


def _keeps(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if "$ref" in schema:
        return len(schema) == 1
    named = schema.get("properties", {})
    if not schema.keys() <= _KNOWN or schema.get("format", "date") not in _FORMATS or not isinstance(named, dict):
        return False
    if any(mark in str(schema.get("pattern")) for mark in _LOOKAROUNDS):
        return False
    kinds = schema.get("type")
    if (kinds == "object" or named or (isinstance(kinds, list) and "object" in kinds)) and not _is_closed(schema):
        return False
    inner = [*named.values(), *_values(schema, "$defs"), *_values(schema, "definitions"), *_listed(schema, "anyOf")]
    return all(map(_keeps, [*inner, *([schema["items"]] if "items" in schema else [])]))


def _is_closed(schema: dict[str, Any]) -> bool:
    """Whether an object has the members that it must have, and no others."""
    required = schema.get("required", [])
    return (
        schema.get("additionalProperties") is False
        and isinstance(required, list)
        and all(name in required for name in schema.get("properties", {}))
    )


def _values(schema: dict[str, Any], name: str) -> list[Any]:
    found = schema.get(name)
    return list(found.values()) if isinstance(found, dict) else []


def _listed(schema: dict[str, Any], name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []
