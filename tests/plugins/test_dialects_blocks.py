"""Members of blocks of content: carried over, dropped by a row of the README, or refused with their place."""

import json
from typing import Any

import pytest
from spoken_streams import Heard, chunk, sse

from turnout_dialects import DIALECTS, BadRequest, StreamTranslator, Untranslatable, translate_reply, translate_request

CHAT, RESPONSES, MESSAGES, GENERATE = "openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"
PDF = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
DATA = "data:application/pdf;base64,AAAA"
DOCUMENT = {"type": "document", "source": PDF, "title": "T", "context": "Of May.", "citations": {"enabled": True}}


def said(source: str, *blocks: Any, role: str = "user") -> dict[str, Any]:
    """A request in which somebody says these blocks."""
    if source == CHAT:
        return {"messages": [{"role": role, "content": list(blocks)}, {"role": "user", "content": "x"}]}
    if source == MESSAGES:
        return {
            "max_tokens": 9,
            "messages": [{"role": role, "content": list(blocks)}, {"role": "user", "content": "x"}],
        }
    if source == RESPONSES:
        return {"input": [{"role": role, "content": list(blocks)}, {"role": "user", "content": "x"}]}
    role = {"assistant": "model"}.get(role, role)
    return {"contents": [{"role": role, "parts": list(blocks)}, {"role": "user", "parts": [{"text": "x"}]}]}


def translated(body: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        translate_request(json.dumps(body).encode(), source, target, model="claude-sonnet-5-5", stream=False)
    )
    return found


def test_what_is_said_about_a_document_is_carried_over() -> None:
    body = said(MESSAGES, DOCUMENT)
    chat = translated(body, MESSAGES, CHAT)["messages"][0]["content"]
    assert chat == [
        {"type": "text", "text": "Of May."},
        {"type": "file", "file": {"file_data": DATA, "filename": "T"}},
    ]
    responses = translated(body, MESSAGES, RESPONSES)["input"][0]["content"]
    assert responses == [
        {"type": "input_text", "text": "Of May."},
        {"type": "input_file", "file_data": DATA, "filename": "T"},
    ]
    gemini = translated(body, MESSAGES, GENERATE)["contents"][0]["parts"]
    assert gemini[:2] == [{"text": "Of May."}, {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}]


def test_the_name_of_a_file_is_carried_over() -> None:
    chat = said(CHAT, {"type": "file", "file": {"file_data": DATA, "filename": "a.pdf"}})
    assert translated(chat, CHAT, MESSAGES)["messages"][0]["content"][0]["title"] == "a.pdf"
    assert translated(chat, CHAT, RESPONSES)["input"][0]["content"][0]["filename"] == "a.pdf"
    url = said(RESPONSES, {"type": "input_file", "file_url": "https://x/y.pdf", "filename": "a.pdf"})
    assert translated(url, RESPONSES, MESSAGES)["messages"][0]["content"][0]["title"] == "a.pdf"
    linked = {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}, "title": "a.pdf"}
    made = translated(said(MESSAGES, linked), MESSAGES, RESPONSES)["input"][0]["content"][0]
    assert made == {"type": "input_file", "filename": "a.pdf", "file_url": "https://x/y.pdf"}
    blob = {"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "a.pdf"}}
    assert translated(said(GENERATE, blob), GENERATE, CHAT)["messages"][0]["content"][0]["file"]["filename"] == "a.pdf"


CALL = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
FUNCTION = {"name": "f", "arguments": "{}"}
OURS = {"type": "function", "name": "f"}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}

UNSAYABLE: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, said(CHAT, {"type": "text", "text": "x", "odd": 1}), "messages[0].content[0].odd"),
    (
        CHAT,
        said(CHAT, {"type": "image_url", "image_url": {"url": "https://x", "odd": 1}}),
        "messages[0].content[0].image_url.odd",
    ),
    (CHAT, said(CHAT, {"type": "file", "file": {"file_data": DATA, "odd": 1}}), "messages[0].content[0].file.odd"),
    (
        CHAT,
        said(CHAT, {"type": "input_audio", "input_audio": {"data": "", "format": "wav", "odd": 1}}),
        "messages[0].content[0].input_audio.odd",
    ),
    (
        CHAT,
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": FUNCTION, "odd": 1}]}]},
        "messages[0].tool_calls[0].odd",
    ),
    (
        CHAT,
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": FUNCTION | {"odd": 1}}]}]},
        "messages[0].tool_calls[0].function.odd",
    ),
    (CHAT, said(CHAT) | {"tools": [{"type": "function", "function": {"name": "f"}, "odd": 1}]}, "tools[0].odd"),
    (
        CHAT,
        said(CHAT) | {"tool_choice": {"type": "function", "function": {"name": "f", "odd": 1}}},
        "tool_choice.function.odd",
    ),
    (
        CHAT,
        said(CHAT) | {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "odd": 1}}},
        "response_format.json_schema.odd",
    ),
    (
        CHAT,
        {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
        "messages[0].content",
    ),
    (
        CHAT,
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": [{"type": "refusal", "refusal": "x"}]}]},
        "messages[0].content",
    ),
    (RESPONSES, said(RESPONSES, {"type": "input_text", "text": "x", "odd": 1}), "input[0].content[0].odd"),
    (
        RESPONSES,
        {"input": [{"type": "function_call", "call_id": "c", "namespace": "n"} | FUNCTION]},
        "input[0].namespace",
    ),
    (
        RESPONSES,
        {"input": [{"type": "function_call", "call_id": "c", "caller": {"type": "program"}} | FUNCTION]},
        "input[0].caller.type",
    ),
    (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "c", "output": "x", "odd": 1}]}, "input[0].odd"),
    (RESPONSES, {"input": [{"type": "reasoning", "summary": [], "odd": 1}]}, "input[0].odd"),
    (RESPONSES, {"input": "x", "tool_choice": OURS | {"odd": 1}}, "tool_choice.odd"),
    (RESPONSES, {"input": "x", "text": {"format": {"type": "text"}, "odd": 1}}, "text.odd"),
    (MESSAGES, said(MESSAGES, {"type": "text", "text": "x", "odd": 1}), "messages[0].content[0].odd"),
    (MESSAGES, said(MESSAGES, IMAGE | {"transformations": []}), "messages[0].content[0].transformations"),
    (
        MESSAGES,
        said(MESSAGES, IMAGE | {"source": {"type": "url", "url": "https://x", "odd": 1}}),
        "messages[0].content[0].source.odd",
    ),
    (
        MESSAGES,
        said(MESSAGES, DOCUMENT | {"source": {"type": "content", "content": "x"}}),
        "messages[0].content[0].source.type",
    ),
    (MESSAGES, said(MESSAGES, CALL | {"toolset_name": "t"}, role="assistant"), "messages[0].content[0].toolset_name"),
    (
        MESSAGES,
        said(MESSAGES, CALL | {"caller": {"type": "code_execution_20250825"}}, role="assistant"),
        "messages[0].content[0].caller.type",
    ),
    (
        MESSAGES,
        said(
            MESSAGES, {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "x", "odd": 1}]}
        ),
        "messages[0].content[0].content[0].odd",
    ),
    (MESSAGES, said(MESSAGES) | {"system": [{"type": "text", "text": "x", "odd": 1}]}, "system[0].odd"),
    (MESSAGES, said(MESSAGES) | {"system": [IMAGE]}, "system"),
    (MESSAGES, said(MESSAGES) | {"tool_choice": {"type": "auto", "odd": 1}}, "tool_choice.odd"),
    (MESSAGES, said(MESSAGES) | {"metadata": {"odd": 1}}, "metadata.odd"),
    (MESSAGES, said(MESSAGES) | {"thinking": {"type": "adaptive", "odd": 1}}, "thinking.odd"),
    (
        MESSAGES,
        said(MESSAGES) | {"output_config": {"format": {"type": "json_schema", "schema": {}, "odd": 1}}},
        "output_config.format.odd",
    ),
    (
        GENERATE,
        said(GENERATE, {"functionCall": {"name": "f", "odd": 1}}, role="model"),
        "contents[0].parts[0].functionCall.odd",
    ),
    (
        GENERATE,
        said(GENERATE, {"functionResponse": {"name": "f", "response": {}, "scheduling": "SILENT"}}),
        "contents[0].parts[0].functionResponse.scheduling",
    ),
    (
        GENERATE,
        said(GENERATE, {"inline_data": {"mime_type": "image/png", "data": "", "odd_one": 1}}),
        "contents[0].parts[0].inlineData.oddOne",
    ),
    (
        GENERATE,
        said(GENERATE) | {"systemInstruction": {"parts": [{"inlineData": {}}]}},
        "systemInstruction.parts[0].inlineData",
    ),
    (GENERATE, said(GENERATE) | {"toolConfig": {"retrievalConfig": {}}}, "toolConfig.retrievalConfig"),
]


@pytest.mark.parametrize(
    ("source", "body", "path"), UNSAYABLE, ids=[f"{n}-{one[2]}" for n, one in enumerate(UNSAYABLE)]
)
def test_a_member_that_nobody_reads_is_refused_with_its_place(source: str, body: dict[str, Any], path: str) -> None:
    """Issue item 3: an error or a documented drop, never silent."""
    for target in sorted(DIALECTS - {source}):
        with pytest.raises(Untranslatable) as caught:
            translated(body, source, target)
        assert caught.value.path == path


MISTYPED: list[tuple[str, dict[str, Any], str]] = [
    (
        CHAT,
        said(CHAT, {"type": "text", "text": "x", "cache_control": 1}),
        "messages[0].content[0].cache_control",
    ),
    (CHAT, said(CHAT, {"type": "thinking", "thinking": 1}, role="assistant"), "messages[0].content[0].thinking"),
    (
        CHAT,
        said(CHAT, {"type": "thinking", "thinking": [{"type": "text"}]}, role="assistant"),
        "messages[0].content[0].thinking[0].text",
    ),
    (CHAT, {"messages": [{"role": "assistant", "content": "x", "extra_content": 1}]}, "messages[0].extra_content"),
    (MESSAGES, said(MESSAGES, DOCUMENT | {"context": 1}), "messages[0].content[0].context"),
    (MESSAGES, said(MESSAGES, DOCUMENT | {"title": 1}), "messages[0].content[0].title"),
    (MESSAGES, said(MESSAGES, CALL | {"caller": 1}, role="assistant"), "messages[0].content[0].caller"),
    (MESSAGES, said(MESSAGES, IMAGE | {"cache_control": "x"}), "messages[0].content[0].cache_control"),
    (MESSAGES, said(MESSAGES) | {"system": [{"text": "x"}]}, "system[0].type"),
    (
        GENERATE,
        said(GENERATE, {"inlineData": {"mimeType": "image/png", "data": "", "displayName": 1}}),
        "contents[0].parts[0].inlineData.displayName",
    ),
    (GENERATE, said(GENERATE, {"text": "x", "inlineData": {"data": ""}}), "contents[0].parts[0]"),
]


@pytest.mark.parametrize(("source", "body", "path"), MISTYPED, ids=[f"{n}-{one[2]}" for n, one in enumerate(MISTYPED)])
def test_a_member_of_the_wrong_type_is_a_bad_request_with_its_place(
    source: str, body: dict[str, Any], path: str
) -> None:
    for target in sorted(DIALECTS - {source}):
        with pytest.raises(BadRequest) as caught:
            translated(body, source, target)
        assert caught.value.path == path


# docs.mistral.ai/capabilities/reasoning: a reasoning model's content is an array of thoughts, texts and references.
THOUGHT = {
    "type": "thinking",
    "thinking": [{"type": "text", "text": "hm"}, {"type": "reference", "reference_ids": [1]}],
}
CONTENT = [
    THOUGHT,
    {"type": "text", "text": "4"},
    {"type": "reference", "reference_ids": [1]},
    {"type": "text", "text": "2"},
]


def test_an_answer_of_mistrals_in_parts_is_read() -> None:
    message = {"role": "assistant", "content": CONTENT, "tool_calls": None}
    reply = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    made = json.loads(translate_reply(reply, CHAT, MESSAGES, model="m", id="1", now=0))["content"]
    assert [(block["type"], block.get("thinking", block.get("text"))) for block in made] == [
        ("thinking", "hm"),
        ("text", "4"),
        ("text", "2"),
    ]


@pytest.mark.parametrize("target", sorted(DIALECTS - {CHAT}))
def test_a_stream_of_mistrals_in_parts_is_read(target: str) -> None:
    pieces = [[{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}] for piece in ("h", "m")]
    deltas: list[Any] = [*pieces, [{"type": "text", "text": "4"}], "2", []]
    machine = StreamTranslator(CHAT, target, model="m", id="1", now=0)
    events = [*(chunk({"content": delta}) for delta in deltas), chunk({}, "stop"), b"data: [DONE]\n\n"]
    useful = []
    made = b""
    for event in events:
        made += machine.feed(event)
        useful.append(machine.payload)
    heard = Heard(made + machine.end(), target)
    assert (heard.thought, heard.text, heard.ends) == ("hm", "42", 1)
    assert useful == [True, True, True, True, False, True, False]


def test_log_probabilities_stay_with_the_first_of_several_texts() -> None:
    token = {"token": "4", "logprob": -0.5, "bytes": [52], "top_logprobs": []}
    choice = {"index": 0, "delta": {"content": CONTENT}, "logprobs": {"content": [token]}, "finish_reason": "stop"}
    machine = StreamTranslator(CHAT, GENERATE, model="m", id="1", now=0)
    made = machine.feed(sse({"choices": [choice]})) + machine.end()
    assert made.count(b"chosenCandidates") == 1


@pytest.mark.parametrize("target", sorted(DIALECTS - {CHAT}))
def test_what_mistral_thought_is_read_in_a_conversation_too(target: str) -> None:
    body = said(CHAT, *CONTENT, role="assistant")
    made = json.dumps(translated(body, CHAT, target))
    assert '"4"' in made
    assert '"2"' in made
    assert "hm" not in made
