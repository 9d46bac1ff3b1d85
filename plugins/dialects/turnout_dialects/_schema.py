"""Gemini's own kind of schema to JSON Schema.

`ai.google.dev/api/caching#Schema` (read 2026-11-23): a subset of OpenAPI 3.0 with types in capitals, `nullable`, and
counts as texts. The way back needs nothing: Gemini takes JSON Schema as `parametersJsonSchema` and
`responseJsonSchema`.
"""

from typing import Any

_COUNTS = {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}


def json_schema(schema: Any) -> Any:
    """The same schema as JSON Schema. What is not a schema comes back as it is."""
    if not isinstance(schema, dict):
        return schema
    made = {
        name: _member(name, value) for name, value in schema.items() if name not in {"nullable", "propertyOrdering"}
    }
    if schema.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def _member(name: str, value: Any) -> Any:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name in _COUNTS and isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    if name == "properties" and isinstance(value, dict):
        return {key: json_schema(one) for key, one in value.items()}
    if name == "anyOf" and isinstance(value, list):
        return [json_schema(one) for one in value]
    return json_schema(value) if name in {"items", "additionalProperties"} else value
