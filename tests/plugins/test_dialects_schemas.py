"""Schemas of answers and arguments, as each vendor takes them where it enforces them."""

import json
from typing import Any

import pydantic
import pytest
from anthropic import transform_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout_dialects import Untranslatable, translate_request

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"


def translated(body: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    made = translate_request(json.dumps(body).encode(), source, target, model="m-5", stream=False)
    found: dict[str, Any] = json.loads(made)
    return found


def asked(schema: Any, *, strict: bool | None = True) -> dict[str, Any]:
    """A chat that wants an answer by a schema."""
    wanted = {"name": "x", "schema": schema, "strict": strict}
    return {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "response_format": {"type": "json_schema", "json_schema": wanted},
    }


def constrained(schema: Any) -> Any:
    """The schema that Anthropic gets of it."""
    return translated(asked(schema), CHAT, MESSAGES)["output_config"]["format"]["schema"]


def closed(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "additionalProperties": False}


HELD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "integer", "minimum": 1, "maximum": 5}, {"type": "integer", "description": '{"minimum":1,"maximum":5}'}),
    (
        {"type": "string", "description": "A name.", "minLength": 2, "pattern": "^[a-z]+$"},
        {"type": "string", "description": 'A name.\n\n{"minLength":2,"pattern":"^[a-z]+$"}'},
    ),
    ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    ({"type": "string", "format": "binary"}, {"type": "string", "description": '{"format":"binary"}'}),
    ({"type": "object", "properties": {"a": {"type": "null"}}}, closed(a={"type": "null"})),
    (
        {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": True, "required": ["a"]},
        closed(a={"type": "null"}) | {"required": ["a"]},
    ),
    ({"properties": {"a": {"type": "null"}}}, closed(a={"type": "null"})),
    ({"type": "object", "additionalProperties": False}, closed()),
    (
        {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 1, "maxItems": 3},
        {"type": "array", "items": closed(), "minItems": 1, "description": '{"maxItems":3}'},
    ),
    (
        {"type": "array", "items": {"type": "string"}, "minItems": 2},
        {"type": "array", "items": {"type": "string"}, "description": '{"minItems":2}'},
    ),
    (
        {"type": ["string", "null"], "maxLength": 3},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "description": '{"maxLength":3}'},
    ),
    ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
    ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}),
    ({"type": "string", "enum": ["a", 1]}, {"enum": ["a", 1], "description": '{"type":"string"}'}),
    ({"const": True, "title": "Yes"}, {"const": True, "title": "Yes"}),
    (
        {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]},
        {"anyOf": [{"type": "string", "description": '{"minLength":1}'}, {"type": "integer"}]},
    ),
    (
        {"type": "object", "properties": {"a": {"type": "null"}}, "anyOf": [{"required": ["a"]}]},
        closed(a={"type": "null"}) | {"description": '{"anyOf":[{"required":["a"]}]}'},
    ),
    (
        {"$defs": {"X": {"type": "object", "properties": {}}}, "allOf": [{"$ref": "#/$defs/X"}], "default": {}},
        {"$defs": {"X": closed()}, "anyOf": [{"$ref": "#/$defs/X"}], "description": '{"default":{}}'},
    ),
    ({"$defs": {"X": closed()}, "$ref": "#/$defs/X"}, {"$defs": {"X": closed()}, "$ref": "#/$defs/X"}),
    (
        {"$defs": {"X": closed()}, "properties": {"x": {"$ref": "#/$defs/X", "description": "Who."}}},
        {"$defs": {"X": closed()}} | closed(x={"anyOf": [{"$ref": "#/$defs/X"}], "description": "Who."}),
    ),
    ({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "boolean"}, {"type": "boolean"}),
]


@pytest.mark.parametrize(("schema", "expected"), HELD, ids=map(str, range(len(HELD))))
def test_what_anthropics_grammar_cannot_hold_is_told_in_the_description(
    schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Issue item 3: nothing is lost in silence. Its own SDK changes nothing more."""
    assert constrained(schema) == expected
    assert transform_schema(expected) == expected


AT = "response_format.json_schema.schema"
REFUSED: list[tuple[Any, str]] = [
    ({"type": "object"}, f"{AT}.properties"),
    ({}, AT),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, f"{AT}.additionalProperties"),
    (
        {"type": "object", "properties": {"a": {"type": "object", "patternProperties": {"^x": {}}}}},
        f"{AT}.properties.a.additionalProperties",
    ),
    ({"type": "object", "properties": {"a": {}}}, f"{AT}.properties.a"),
    ({"type": "object", "properties": {"a": True}}, f"{AT}.properties.a"),
    ({"type": "object", "properties": [1]}, f"{AT}.properties"),
    ({"type": "object", "properties": {}, "required": ["a"]}, f"{AT}.required"),
    ({"type": "object", "properties": {}, "required": "a"}, f"{AT}.required"),
    ({"type": "array", "items": {"$ref": "https://x/y"}}, f"{AT}.items.$ref"),
    ({"anyOf": [{"type": "string"}, {"type": "any"}]}, f"{AT}.anyOf[1]"),
    ({"$defs": {"X": {"minimum": 1}}, "type": "null"}, f"{AT}.$defs.X"),
    ({"type": ["string", 1]}, AT),
    ({"type": []}, AT),
]


@pytest.mark.parametrize(("schema", "path"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_a_schema_that_would_lose_members_of_the_answer_is_refused_with_its_place(schema: Any, path: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        constrained(schema)
    assert caught.value.path == path


ODD: st.SearchStrategy[Any] = st.sampled_from([[], {}, 1, "odd", None])


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas with a few members of all kinds, sound or not."""
    named = st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    listed = st.lists(inner, max_size=2) | ODD
    kinds = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
    members = {
        "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
        "properties": named,
        "additionalProperties": st.booleans() | inner,
        "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True) | ODD,
        "items": inner,
        "minItems": st.integers(0, 3) | ODD,
        "minimum": st.integers(0, 3),
        "format": st.sampled_from(["date", "uri"]) | ODD,
        "enum": st.lists(st.sampled_from(["x", 1, None, [1]]), max_size=2) | ODD,
        "const": st.sampled_from(["x", 1, None, {"a": 1}]),
        "anyOf": listed,
        "oneOf": listed,
        "allOf": listed,
        "$ref": st.sampled_from(["#", "#/$defs/a"]),
        "$defs": named,
        "description": st.sampled_from(["d", 1]),
        "default": st.none() | st.integers(0, 1),
    }
    return st.lists(st.sampled_from(sorted(members)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: members[name] for name in names})
    )


SCHEMAS = st.recursive(objects(st.sampled_from([{"type": "null"}, {}, True])), objects, max_leaves=5)


@settings(max_examples=200)
@given(schema=SCHEMAS)
def test_whatever_the_schema_anthropics_own_sdk_finds_nothing_left_to_change(schema: Any) -> None:
    for sent in (schema, closed(a=schema)):
        try:
            made = constrained(sent)
        except Untranslatable:
            continue
        assert transform_schema(made) == made


@settings(max_examples=100)
@given(schema=SCHEMAS)
def test_whatever_the_schema_it_is_judged_whether_openai_takes_it_as_strict(schema: Any) -> None:
    sent = closed(a=schema) | {"required": ["a"]}
    (tool,) = translated(strict_tool(MESSAGES, sent), MESSAGES, CHAT)["tools"]
    assert tool["function"]["parameters"] == sent
    assert isinstance(tool["function"]["strict"], bool)


def strict_tool(source: str, schema: Any) -> dict[str, Any]:
    """A request with one strict tool."""
    if source == MESSAGES:
        body: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        return body | {"tools": [{"name": "f", "input_schema": schema, "strict": True}]}
    function = {"name": "f", "strict": True} | ({"parameters": schema} if schema is not None else {})
    if source == CHAT:
        body = {"messages": [{"role": "user", "content": "x"}]}
        return body | {"tools": [{"type": "function", "function": function}]}
    return {"input": "x", "tools": [{"type": "function"} | function]}


@pytest.mark.parametrize("source", [CHAT, RESPONSES])
def test_the_arguments_of_a_strict_tool_are_written_as_anthropic_takes_them(source: str) -> None:
    schema = closed(n={"type": "integer", "minimum": 1}) | {"required": ["n"]}
    (tool,) = translated(strict_tool(source, schema), source, MESSAGES)["tools"]
    expected = closed(n={"type": "integer", "description": '{"minimum":1}'}) | {"required": ["n"]}
    assert (tool["strict"], tool["input_schema"]) == (True, expected)


@pytest.mark.parametrize(
    ("source", "path"), [(CHAT, "tools[0].function.parameters"), (RESPONSES, "tools[0].parameters")]
)
def test_a_strict_tool_that_anthropic_cannot_keep_strict_is_refused(source: str, path: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translated(strict_tool(source, closed(n={})), source, MESSAGES)
    assert caught.value.path == f"{path}.properties.n"


def test_a_strict_tool_without_arguments_has_none() -> None:
    (tool,) = translated(strict_tool(CHAT, None), CHAT, MESSAGES)["tools"]
    assert tool["input_schema"] == closed()


def test_a_tool_that_is_not_strict_keeps_its_schema_as_it_is() -> None:
    body = strict_tool(CHAT, {"type": "object", "additionalProperties": {"minimum": 1}})
    body["tools"][0]["function"]["strict"] = False
    (tool,) = translated(body, CHAT, MESSAGES)["tools"]
    assert tool == {"name": "f", "input_schema": {"type": "object", "additionalProperties": {"minimum": 1}}}


class Person(pydantic.BaseModel):
    """What Anthropic's SDK sends with an optional member."""

    name: str
    nick: str | None = None


NESTED = closed(x=closed(y={"type": ["string", "null"]}) | {"required": ["y"]}) | {"required": ["x"]}
STRICT: list[tuple[dict[str, Any], bool]] = [
    (NESTED, True),
    (closed(a={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}) | {"required": ["a"]}, True),
    (closed(a={"type": "array", "items": {"type": "integer", "minimum": 1}}) | {"required": ["a"]}, True),
    ({"$defs": {"X": closed()}} | closed(x={"$ref": "#/$defs/X"}) | {"required": ["x"]}, True),
    (transform_schema(Person), False),
    (closed(a={"type": "string"}), False),
    (closed(x=closed(y={"type": "string"})) | {"required": ["x"]}, False),
    ({"$defs": {"X": closed(y={"type": "string"})}} | closed(x={"$ref": "#/$defs/X"}) | {"required": ["x"]}, False),
    (closed(a={"type": "string", "default": "x"}) | {"required": ["a"]}, False),
    (closed(a={"type": "string", "format": "uri"}) | {"required": ["a"]}, False),
    (closed(a={"type": "string", "pattern": "(?=x)"}) | {"required": ["a"]}, False),
    (closed(a={"$ref": "#", "description": "d"}) | {"required": ["a"]}, False),
    (closed(a={"type": ["object", "null"]}) | {"required": ["a"]}, False),
    (closed(a={"type": "array", "items": {"type": "object"}}) | {"required": ["a"]}, False),
    (closed(a=True) | {"required": ["a"]}, False),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, False),
    ({"anyOf": [closed()]}, False),
]


@pytest.mark.parametrize(("schema", "strict"), STRICT, ids=map(str, range(len(STRICT))))
def test_openai_is_asked_for_strictness_only_where_it_takes_the_schema_so(schema: dict[str, Any], strict: bool) -> None:
    """It rejects strict schemas with optional members; with `null` for them they would be another's schema."""
    body = strict_tool(MESSAGES, schema) | {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    chat = translated(body, MESSAGES, CHAT)
    responses = translated(body, MESSAGES, RESPONSES)
    tool, answer = chat["tools"][0]["function"], chat["response_format"]["json_schema"]
    assert (tool["strict"], tool["parameters"]) == (strict, schema)
    assert (answer["strict"], answer["schema"]) == (strict, schema)
    assert (responses["tools"][0]["strict"], responses["tools"][0]["parameters"]) == (strict, schema)
    assert (responses["text"]["format"]["strict"], responses["text"]["format"]["schema"]) == (strict, schema)


@pytest.mark.parametrize(("source", "target"), [(CHAT, RESPONSES), (RESPONSES, CHAT)])
def test_what_openais_own_client_asks_to_be_strict_openai_judges_itself(source: str, target: str) -> None:
    (tool,) = translated(strict_tool(source, {"type": "object"}), source, target)["tools"]
    assert tool.get("function", tool)["strict"] is True


def test_a_schema_of_googles_becomes_one_that_anthropic_takes() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True, "maxLength": "3"}}}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    body = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": config}
    made = translated(body, GENERATE, MESSAGES)["output_config"]["format"]["schema"]
    assert made == closed(a={"anyOf": [{"type": "string"}, {"type": "null"}], "description": '{"maxLength":3}'})
    config["responseSchema"] = {"type": "OBJECT"}
    with pytest.raises(Untranslatable) as caught:
        translated(body, GENERATE, MESSAGES)
    assert caught.value.path == "generationConfig.responseSchema.properties"


@pytest.mark.parametrize("target", [RESPONSES, MESSAGES, GENERATE])
@pytest.mark.parametrize("own", [{}, {"description": "Its own."}], ids=["without", "with"])
def test_what_an_answer_is_for_reaches_the_model_in_every_dialect(target: str, own: dict[str, str]) -> None:
    """What the schema says of itself goes first where a dialect has one place for both."""
    chat = asked({"type": "object", "properties": {}, **own})
    chat["response_format"]["json_schema"]["description"] = "The guest list."
    made = translated(chat, CHAT, target)
    if target == RESPONSES:
        assert made["text"]["format"]["description"] == "The guest list."
        return
    schema = (
        made["output_config"]["format"]["schema"]
        if target == MESSAGES
        else made["generationConfig"]["responseJsonSchema"]
    )
    assert schema["description"] == own.get("description", "The guest list.")


@pytest.mark.parametrize("target", [MESSAGES, GENERATE])
def test_what_an_answer_is_for_never_stands_beside_a_reference(target: str) -> None:
    """Neither vendor takes a schema with more than a reference and what begins with `$` in it."""
    guests = {"type": "object", "properties": {}, "additionalProperties": False}
    chat = asked({"$ref": "#/$defs/Guests", "$defs": {"Guests": guests}})
    chat["response_format"]["json_schema"]["description"] = "The guest list."
    made = translated(chat, CHAT, target)
    schema = (
        made["output_config"]["format"]["schema"]
        if target == MESSAGES
        else made["generationConfig"]["responseJsonSchema"]
    )
    assert schema == {
        "description": "The guest list.",
        "anyOf": [{"$ref": "#/$defs/Guests"}],
        "$defs": {"Guests": guests},
    }
