"""The vendors' own SDKs behind one face: the same wish said to each, and what its typed objects tell."""

import base64
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anthropic
import attrs
import openai
from google import genai
from google.genai import types
from openai.types.responses import (
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseReasoningItem,
)

LIMIT = 20.0

TLS = ssl.create_default_context()
"""Made once: every client would read the certificates of this machine anew, which took a quarter of all the time."""


@attrs.frozen(kw_only=True)
class Wish:
    """What a client asks for.

    Attributes:
        history: what was said before, in the SDK's own objects; `text` and `image` are then in it.
    """

    text: str = "hi"
    history: Sequence[Any] = ()
    image: bytes = b""
    tool: Mapping[str, Any] | None = None
    think: bool = False
    schema: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class Heard:
    """What the typed objects of an answer tell.

    Attributes:
        usage: input, output and cached tokens.
        turn: the answer as a user of the SDK puts it into the next request.
    """

    text: str
    thought: str
    calls: list[tuple[str, Any]]
    finish: str | None
    usage: tuple[int, int, int]
    turn: Sequence[Any]


class Client(Protocol):
    """One SDK on one of its surfaces."""

    def ask(self, model: str, wish: Wish) -> Heard:
        """A whole answer."""
        ...

    def stream(self, model: str, wish: Wish) -> Heard:
        """The same, event by event."""
        ...

    def results(self, wish: Wish, heard: Heard, given: Sequence[str]) -> Wish:
        """The next turn of the same conversation: what each of the calls gave."""
        ...

    def refused(self) -> type[Exception] | tuple[type[Exception], ...]:
        """What any error of the SDK is."""
        ...


def _image_url(wish: Wish) -> str:
    return "data:image/png;base64," + base64.b64encode(wish.image).decode()


class Chat:
    """OpenAI's SDK on chat completions."""

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client

    def ask(self, model: str, wish: Wish) -> Heard:
        reply = self.client.chat.completions.create(model=model, **self._request(wish))
        (choice,) = reply.choices
        assert reply.usage is not None
        assert reply.model == model or reply.model.startswith("gpt")
        return Heard(
            text=choice.message.content or "",
            thought=getattr(choice.message, "reasoning_content", None) or "",
            calls=[(one.function.name, json.loads(one.function.arguments)) for one in choice.message.tool_calls or ()],
            finish=choice.finish_reason,
            usage=self._usage(reply.usage),
            turn=[choice.message],
        )

    def stream(self, model: str, wish: Wish) -> Heard:
        options: Any = {"include_usage": True}
        text, thought, finish = "", "", None
        calls: dict[int, dict[str, Any]] = {}
        usage = (0, 0, 0)
        with self.client.chat.completions.create(
            model=model, stream=True, stream_options=options, **self._request(wish)
        ) as chunks:
            for chunk in chunks:
                if chunk.usage is not None:
                    assert not chunk.choices, "usage has an event of its own"
                    usage = self._usage(chunk.usage)
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    thought += getattr(choice.delta, "reasoning_content", None) or ""
                    finish = choice.finish_reason or finish
                    for call in choice.delta.tool_calls or ():
                        if call.index not in calls:
                            calls[call.index] = call.to_dict() | {"function": {"name": "", "arguments": ""}}
                            del calls[call.index]["index"]
                        made = calls[call.index]["function"]
                        made["name"] += (call.function and call.function.name) or ""
                        made["arguments"] += (call.function and call.function.arguments) or ""
        functions = [call["function"] for call in calls.values()]
        found = [(one["name"], json.loads(one["arguments"])) for one in functions]
        turn = {"role": "assistant", "content": text or None, "tool_calls": list(calls.values())}
        return Heard(text=text, thought=thought, calls=found, finish=finish, usage=usage, turn=[turn])

    def results(self, wish: Wish, heard: Heard, given: Sequence[str]) -> Wish:
        (turn,) = heard.turn
        calls = turn["tool_calls"] if isinstance(turn, dict) else [call.to_dict() for call in turn.tool_calls]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": text}
            for call, text in zip(calls, given, strict=True)
        ]
        return attrs.evolve(wish, history=[*self._request(wish)["messages"], turn, *results])

    def refused(self) -> type[Exception]:
        return openai.APIError

    def _usage(self, usage: openai.types.CompletionUsage) -> tuple[int, int, int]:
        details = usage.prompt_tokens_details
        return usage.prompt_tokens, usage.completion_tokens, (details and details.cached_tokens) or 0

    def _request(self, wish: Wish) -> dict[str, Any]:
        content: Any = wish.text
        if wish.image:
            image = {"type": "image_url", "image_url": {"url": _image_url(wish)}}
            content = [{"type": "text", "text": wish.text}, image]
        made: dict[str, Any] = {"messages": wish.history or [{"role": "user", "content": content}]}
        if wish.tool:
            made["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": wish.tool}}]
        if wish.think:
            made["reasoning_effort"] = "high"
        if wish.schema:
            schema = {"name": "answer", "schema": wish.schema, "strict": True}
            made["response_format"] = {"type": "json_schema", "json_schema": schema}
        return made


class Told(Exception):
    """The `error` event of a stream of responses, which the SDK hands on and does not raise."""


class Responses:
    """OpenAI's SDK on responses."""

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client

    def ask(self, model: str, wish: Wish) -> Heard:
        return self._heard(self.client.responses.create(model=model, **self._request(wish)))

    def stream(self, model: str, wish: Wish) -> Heard:
        told, arguments = "", ""
        final = None
        with self.client.responses.create(model=model, stream=True, **self._request(wish)) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    told += event.delta
                elif event.type == "response.function_call_arguments.delta":
                    arguments += event.delta
                elif isinstance(event, ResponseCompletedEvent):
                    final = event.response
                elif event.type == "error":
                    raise Told(event.message)
        assert final is not None
        heard = self._heard(final)
        assert told == heard.text
        calls = [item.arguments for item in final.output if isinstance(item, ResponseFunctionToolCall)]
        assert arguments == "".join(calls)
        return heard

    def refused(self) -> tuple[type[Exception], ...]:
        return openai.APIError, Told

    def results(self, wish: Wish, heard: Heard, given: Sequence[str]) -> Wish:
        calls = [item for item in heard.turn if isinstance(item, ResponseFunctionToolCall)]
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": text}
            for call, text in zip(calls, given, strict=True)
        ]
        return attrs.evolve(wish, history=[{"role": "user", "content": wish.text}, *heard.turn, *results])

    def _heard(self, response: openai.types.responses.Response) -> Heard:
        assert response.usage is not None
        thoughts = [item for item in response.output if isinstance(item, ResponseReasoningItem)]
        calls = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
        messages = [item for item in response.output if isinstance(item, ResponseOutputMessage)]
        assert len(thoughts) + len(calls) + len(messages) == len(response.output)
        return Heard(
            text=response.output_text,
            thought="".join(part.text for item in thoughts for part in item.summary),
            calls=[(call.name, json.loads(call.arguments)) for call in calls],
            finish=response.status,
            usage=(
                response.usage.input_tokens,
                response.usage.output_tokens,
                response.usage.input_tokens_details.cached_tokens,
            ),
            turn=response.output,
        )

    def _request(self, wish: Wish) -> dict[str, Any]:
        made: dict[str, Any] = {"input": wish.history or wish.text}
        if wish.image:
            image = {"type": "input_image", "image_url": _image_url(wish), "detail": "auto"}
            made["input"] = [{"role": "user", "content": [{"type": "input_text", "text": wish.text}, image]}]
        if wish.tool:
            made["tools"] = [{"type": "function", "name": "weather", "parameters": wish.tool, "strict": False}]
        if wish.think:
            made["reasoning"] = {"effort": "high", "summary": "auto"}
        if wish.schema:
            made["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": wish.schema, "strict": True}}
        return made


class Messages:
    """Anthropic's SDK."""

    def __init__(self, client: anthropic.Anthropic) -> None:
        self.client = client

    def ask(self, model: str, wish: Wish) -> Heard:
        return self._heard(self.client.messages.create(model=model, **self._request(wish)))

    def stream(self, model: str, wish: Wish) -> Heard:
        with self.client.messages.stream(model=model, **self._request(wish)) as stream:
            return self._heard(stream.get_final_message())

    def refused(self) -> type[Exception]:
        return anthropic.APIError

    def results(self, wish: Wish, heard: Heard, given: Sequence[str]) -> Wish:
        calls = [block for block in heard.turn if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in zip(calls, given, strict=True)
        ]
        said = [{"role": "assistant", "content": heard.turn}, {"role": "user", "content": results}]
        return attrs.evolve(wish, history=[*self._request(wish)["messages"], *said])

    def _heard(self, message: anthropic.types.Message) -> Heard:
        usage = message.usage
        cached = usage.cache_read_input_tokens or 0
        return Heard(
            text="".join(block.text for block in message.content if block.type == "text"),
            thought="".join(block.thinking for block in message.content if block.type == "thinking"),
            calls=[(block.name, block.input) for block in message.content if block.type == "tool_use"],
            finish=message.stop_reason,
            usage=(usage.input_tokens + cached, usage.output_tokens, cached),
            turn=message.content,
        )

    def _request(self, wish: Wish) -> dict[str, Any]:
        content: Any = wish.text
        if wish.image:
            data = base64.b64encode(wish.image).decode()
            source = {"type": "base64", "media_type": "image/png", "data": data}
            content = [{"type": "image", "source": source}, {"type": "text", "text": wish.text}]
        messages = wish.history or [{"role": "user", "content": content}]
        made: dict[str, Any] = {"max_tokens": 4096, "messages": messages}
        if wish.tool:
            made["tools"] = [{"name": "weather", "input_schema": wish.tool}]
        output: dict[str, Any] = {}
        if wish.think:
            made["thinking"] = {"type": "adaptive"}
            output["effort"] = "high"
        if wish.schema:
            output["format"] = {"type": "json_schema", "schema": wish.schema}
        return made | ({"output_config": output} if output else {})


class Gemini:
    """Google's SDK."""

    def __init__(self, client: genai.Client) -> None:
        self.client = client

    def ask(self, model: str, wish: Wish) -> Heard:
        content, config = self._request(wish)
        return self._heard([self.client.models.generate_content(model=model, contents=content, config=config)])

    def stream(self, model: str, wish: Wish) -> Heard:
        content, config = self._request(wish)
        return self._heard(
            list(self.client.models.generate_content_stream(model=model, contents=content, config=config))
        )

    def refused(self) -> type[Exception]:
        return genai.errors.APIError

    def results(self, wish: Wish, heard: Heard, given: Sequence[str]) -> Wish:
        calls = [part.function_call for part in heard.turn if part.function_call]
        results = [
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": text}))
            for call, text in zip(calls, given, strict=True)
        ]
        contents, _ = self._request(wish)
        said = [types.Content(role="model", parts=list(heard.turn)), types.Content(role="user", parts=results)]
        return attrs.evolve(wish, history=[*contents, *said])

    def _heard(self, pieces: list[types.GenerateContentResponse]) -> Heard:
        candidates = [candidate for piece in pieces for candidate in piece.candidates or ()]
        parts = [part for one in candidates for part in (one.content and one.content.parts) or ()]
        usage = pieces[-1].usage_metadata
        assert usage is not None
        finishes = [one.finish_reason for one in candidates if one.finish_reason]
        assert len(finishes) == 1, "finished exactly once"
        return Heard(
            text="".join(part.text or "" for part in parts if not part.thought),
            thought="".join(part.text or "" for part in parts if part.thought),
            calls=[(part.function_call.name or "", part.function_call.args) for part in parts if part.function_call],
            finish=finishes[0].value,
            usage=(
                usage.prompt_token_count or 0,
                (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
                usage.cached_content_token_count or 0,
            ),
            turn=[part for part in parts if part.text != "" or part.thought_signature],
        )

    def _request(self, wish: Wish) -> tuple[Any, types.GenerateContentConfig]:
        parts = [types.Part(text=wish.text)]
        if wish.image:
            parts.append(types.Part.from_bytes(data=wish.image, mime_type="image/png"))
        config = types.GenerateContentConfig()
        if wish.tool:
            declared = types.FunctionDeclaration(name="weather", parameters_json_schema=dict(wish.tool))
            config.tools = [types.Tool(function_declarations=[declared])]
            config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
        if wish.think:
            level = types.ThinkingLevel.HIGH
            config.thinking_config = types.ThinkingConfig(thinking_level=level, include_thoughts=True)
        if wish.schema:
            config.response_mime_type = "application/json"
            config.response_json_schema = dict(wish.schema)
        return list(wish.history) or [types.Content(role="user", parts=parts)], config
