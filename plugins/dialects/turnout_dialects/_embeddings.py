"""Requests for embeddings, and vectors: between OpenAI's `/embeddings` and Gemini's `embedContent`.

Formats: `platform.openai.com/docs/api-reference/embeddings` and `ai.google.dev/api/embeddings` (read 2026-11-26).
OpenAI tells many texts in one request; Gemini has `batchEmbedContents` for that, whose body has `requests`.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from typing import Any

from turnout_dialects._errors import BadReply, BadRequest, Untranslatable
from turnout_dialects._form import GEMINI
from turnout_dialects._json import Node, decoded, encoded

EMBEDDINGS = "openai.embeddings"

_OPENAI_MEMBERS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_GEMINI_MEMBERS = frozenset({"model", "content", "taskType", "outputDimensionality"})


def translate_embed_request(body: bytes, source: str, *, model: str) -> bytes:
    """A request of one of the two for an upstream of the other. Raises BadRequest, Untranslatable.

    Gemini's `taskType` is left out for OpenAI, whose models have one kind of vector; OpenAI's `user` for Gemini.
    """
    node = decoded(body, BadRequest)
    return encoded(_to_gemini(node, model) if source == EMBEDDINGS else _to_openai(node, model))


def translate_embed_reply(body: bytes, source: str, *, model: str, batch: bool, packed: bool) -> bytes:
    """Vectors of one of the two for a client of the other. Raises BadReply.

    Args:
        body: the upstream's.
        source: the upstream's dialect.
        model: the name that the client asked for.
        batch: whether Gemini's client asked for several.
        packed: whether OpenAI's client wants base64 of 32-bit floats, as its own SDK does.
    """
    node = decoded(body, BadReply)
    if source == GEMINI:
        return encoded(_for_openai(node, model, packed=packed))
    return encoded(_for_gemini(node, batch=batch))


def _to_gemini(node: Node, model: str) -> dict[str, Any]:
    node.only(_OPENAI_MEMBERS)
    size = node.whole("dimensions")
    sized = {} if size is None else {"outputDimensionality": size}
    named = {"model": f"models/{model}"}
    return {
        "requests": [named | {"content": {"parts": [{"text": text}]}} | sized for text in _openai_texts(node, "input")]
    }


def _openai_texts(node: Node, name: str) -> Sequence[str]:
    value = node.any(name)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and not isinstance(value[0], str):
        raise Untranslatable(node.path(name), "tokens are those of OpenAI's own models: send texts")
    texts = node.texts(name)
    if not texts:
        node.fail(name, "must be a text, or an array of texts")
    return texts


def _to_openai(node: Node, model: str) -> dict[str, Any]:
    several = node.nodes("requests")
    asked = several or [node]
    for one in asked:
        one.only(_GEMINI_MEMBERS | ({"requests"} if one is node else frozenset()))
    sizes = {one.whole("outputDimensionality") for one in asked}
    if len(sizes) > 1:
        raise Untranslatable("requests", "all vectors of one request must have one size")
    texts = [_gemini_text(one) for one in asked]
    sized = {name: size for name, size in (("dimensions", sizes.pop()),) if size is not None}
    return {"model": model, "input": texts if several else texts[0], "encoding_format": "float"} | sized


def _gemini_text(node: Node) -> str:
    content = node.node("content")
    if content is None:
        node.fail("content", "is missing")
    parts = content.nodes("parts")
    for part in parts:
        part.only(frozenset({"text"}))
    text = "".join(part.text("text") for part in parts)
    return text or content.fail("parts", "must hold a text")


def _for_openai(node: Node, model: str, *, packed: bool) -> dict[str, Any]:
    single = node.node("embedding")
    found = [single] if single else node.nodes("embeddings")
    if not found:
        node.fail("embeddings", "is missing")
    vectors = [_floats(one, "values") for one in found]
    told = node.node("usageMetadata")
    tokens = told.count("promptTokenCount") if told else 0
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": _packed(vector) if packed else vector}
            for place, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _for_gemini(node: Node, *, batch: bool) -> dict[str, Any]:
    found = sorted(node.nodes("data"), key=lambda one: one.count("index"))
    vectors = [{"values": _floats(one, "embedding")} for one in found]
    if not vectors:
        node.fail("data", "is missing")
    usage = node.node("usage")
    tokens = usage.count("prompt_tokens") if usage else 0
    told = {"usageMetadata": {"promptTokenCount": tokens, "totalTokenCount": tokens}} if tokens else {}
    return ({"embeddings": vectors} if batch else {"embedding": vectors[0]}) | told


def _floats(node: Node, name: str) -> list[float]:
    value = node.any(name)
    if isinstance(value, str):
        return _unpacked(node, name, value)
    if not isinstance(value, list) or not all(type(one) in {int, float} for one in value):
        node.fail(name, "must be an array of numbers")
    return value


def _packed(vector: Sequence[float]) -> str:
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
    except (OverflowError, struct.error):
        raise BadReply("embedding", "a number is out of range") from None


def _unpacked(node: Node, name: str, value: str) -> list[float]:
    try:
        data = base64.b64decode(value, validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (binascii.Error, struct.error, ValueError):
        node.fail(name, "is no base64 of 32-bit numbers")
