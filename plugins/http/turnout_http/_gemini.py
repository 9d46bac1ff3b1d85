"""Google's surface: the model and what to do with it are in the path, and a stream may be a JSON array."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, final
from urllib.parse import parse_qs

import turnout_wire
from turnout import Ask, Model, Operation
from turnout.abc import Switch
from turnout.errors import UnknownModel
from turnout_http._answering import JSON, Answering, RawHeaders
from turnout_http._answers import decision_header, raw_headers
from turnout_http._body import check_values, read_body
from turnout_http._generate import BODY_KEYS, EVENT_STREAM, UNCACHED, affinity_of
from turnout_http._pages import GEMINI, Endpoint, not_allowed
from turnout_http._refusals import Refusal
from turnout_http._settings import ClientLimits
from turnout_http._visit import CANCELS, VISIT, Receive, Scope, Visit, while_present

VERBS: Mapping[str, Operation] = {
    "generateContent": Operation.GENERATE,
    "streamGenerateContent": Operation.GENERATE,
    "countTokens": Operation.COUNT,
    "embedContent": Operation.EMBED,
    "batchEmbedContents": Operation.EMBED,
}


@final
class Gemini:
    """Answers `/v1beta/models`, `/v1beta/models/MODEL` and `/v1beta/models/MODEL:VERB`.

    google-genai 3 asks under `/v1/` unless told otherwise, so Google's clients are answered there as well.
    """

    def __init__(self, switch: Switch, limits: ClientLimits) -> None:
        self._switch = switch
        self._limits = limits
        self._whole = {
            Operation.GENERATE: switch.execute,
            Operation.COUNT: switch.count,
            Operation.EMBED: switch.embed,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Answering) -> None:
        """Serve one request; raises TurnoutError for the door to answer."""
        name = scope.get("path_params", {}).get("name")
        if scope["method"] == "POST":
            await self._post(name or "", scope, receive, send)
        else:
            await send.whole(json.dumps(self._listing(name)).encode())

    def _listing(self, name: str | None) -> Mapping[str, Any]:
        models = self._switch.models()
        if name is None:
            return {"models": [_listed(model) for model in models]}
        found = next((model for model in models if model.name == name), None)
        if found is None:
            raise UnknownModel(name, [model.name for model in models])
        return _listed(found)

    async def _post(self, name: str, scope: Scope, receive: Receive, send: Answering) -> None:
        visit: Visit = scope[VISIT]
        model, _, verb = name.rpartition(":")
        if verb not in VERBS or not model:
            raise Refusal("not_found", f"there is no such page; methods of a model are {', '.join(VERBS)}")
        body = await read_body(receive, visit.head, self._limits)
        check_values(body)
        texts = turnout_wire.texts_in(turnout_wire.check_json(body), BODY_KEYS)
        ask = Ask(
            model=model,
            payload=body,
            dialect=GEMINI,
            operation=VERBS[verb],
            id=visit.id,
            client=visit.tag,
            affinity=affinity_of(texts, visit.head),
        )
        if verb == "streamGenerateContent":
            sse = parse_qs(scope["query_string"].decode("latin-1")).get("alt") == ["sse"]
            work = partial(self._stream if sse else self._array, ask, visit, send)
        else:
            work = partial(self._execute, ask, visit, send)
        if CANCELS in scope["extensions"]:
            await work()
        else:
            await while_present(receive, work)

    async def _execute(self, ask: Ask, visit: Visit, send: Answering) -> None:
        answer = await self._whole[ask.operation](ask)
        headers = raw_headers(answer.reply.headers)
        if b"x-turnout-explain" in visit.head:
            headers += decision_header(answer.decision)
        await send.whole(answer.reply.body, headers=headers)

    async def _stream(self, ask: Ask, visit: Visit, send: Answering) -> None:
        """Forward chunks untouched."""
        async with self._switch.stream(ask) as stream:
            headers: RawHeaders = [EVENT_STREAM, UNCACHED, *raw_headers(stream.headers)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            visit.streaming = True
            async for chunk in stream:
                await send.go_on({"type": "http.response.body", "body": chunk.data, "more_body": True})
        visit.streaming = False
        await send.go_on({"type": "http.response.body", "body": b"", "more_body": False})

    async def _array(self, ask: Ask, visit: Visit, send: Answering) -> None:
        """The same events as the elements of one JSON array, each sent when it is whole."""
        reader = turnout_wire.BlockReader.measured()
        before = b"["
        async with self._switch.stream(ask) as stream:
            headers: RawHeaders = [(b"content-type", JSON), UNCACHED, *raw_headers(stream.headers)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for chunk in stream:
                for block in reader.feed(chunk.data):
                    event = turnout_wire.read_event(block)
                    if event is not None:
                        data = before + event.data
                        await send.go_on({"type": "http.response.body", "body": data, "more_body": True})
                        before = b",\r\n"
                        visit.streaming, visit.dialect = True, f"{GEMINI}.array"
        visit.streaming = False
        await send.go_on({"type": "http.response.body", "body": b"]", "more_body": False})


@final
class SharedModels:
    """`/v1/models`, which all three vendors have: Google's clients, who show `x-goog-api-key`, get Google's."""

    def __init__(self, gemini: Gemini, others: Endpoint) -> None:
        self._gemini = gemini
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Answering) -> None:
        """Serve one request; raises TurnoutError for the door to answer."""
        visit: Visit = scope[VISIT]
        if visit.dialect == GEMINI:
            await self._gemini(scope, receive, send)
        elif scope["method"] == "POST":
            raise not_allowed(("GET", "HEAD"))
        else:
            await self._others(scope, receive, send)


def _listed(model: Model) -> Mapping[str, Any]:
    return {
        "name": f"models/{model.name}",
        "displayName": model.name,
        "supportedGenerationMethods": list(VERBS),
    }
