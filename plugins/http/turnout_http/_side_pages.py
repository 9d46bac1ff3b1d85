"""The pages beside the hot one: health, readiness, models, decision records, metrics."""

import json
from collections.abc import Mapping
from typing import Any, final

from turnout import Model
from turnout.abc import Switch
from turnout.errors import UnknownModel
from turnout_http._answering import Answering
from turnout_http._answers import decision_json, own_decision
from turnout_http._descriptors import Descriptors
from turnout_http._pages import MESSAGES
from turnout_http._refusals import Refusal
from turnout_http._visit import VISIT, Receive, Scope, Visit


async def healthz(_scope: Scope, _receive: Receive, send: Answering) -> None:
    """The process serves requests. Says nothing else, for anybody may ask."""
    await send.whole(b'{"status":"ok"}')


@final
class Readyz:
    """Whether calls can be served: 200 or 503. Names neither credentials nor problems, for anybody may ask (A9).

    Calls are served under some problems too, with less than everything: that is `degraded` (A5, F-5).
    """

    def __init__(self, switch: Switch, descriptors: Descriptors | None = None) -> None:
        self._switch = switch
        self._descriptors = descriptors

    async def __call__(self, _scope: Scope, _receive: Receive, send: Answering) -> None:
        """Answer."""
        readiness = self._switch.readiness()
        if readiness.draining:
            await send.whole(b'{"status":"draining"}', status=503)
        elif not readiness.ready:
            await send.whole(b'{"status":"not ready"}', status=503)
        elif readiness.problems or (self._descriptors is not None and self._descriptors.short):
            await send.whole(b'{"status":"degraded"}')
        else:
            await send.whole(b'{"status":"ready"}')


def _listing(model: Model) -> Mapping[str, Any]:
    return {"id": model.name, "object": "model", "created": 0, "owned_by": ", ".join(model.providers)}


def _anthropic_listing(model: Model) -> Mapping[str, Any]:
    return {"type": "model", "id": model.name, "display_name": model.name, "created_at": "1970-01-01T00:00:00Z"}


@final
class Models:
    """`GET /v1/models` in OpenAI's shape, or in Anthropic's for a client that sends `anthropic-version`.

    Models are as old as time: no upstream says the same about one model.
    """

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def __call__(self, scope: Scope, _receive: Receive, send: Answering) -> None:
        """Answer with all models, or with the one in the path."""
        models = self._switch.models()
        wanted = scope.get("path_params", {}).get("name")
        visit: Visit = scope[VISIT]
        anthropic = visit.dialect == MESSAGES
        listed = _anthropic_listing if anthropic else _listing
        if wanted is None:
            data = [listed(model) for model in models]
            listing: Mapping[str, Any] = {"object": "list", "data": data}
            if anthropic:
                ends = {"first_id": models[0].name, "last_id": models[-1].name} if models else {}
                listing = {"data": data, "has_more": False, "first_id": None, "last_id": None, **ends}
            await send.whole(json.dumps(listing).encode())
            return
        found = next((model for model in models if model.name == wanted), None)
        if found is None:
            raise UnknownModel(wanted, [model.name for model in models])
        await send.whole(json.dumps(listed(found)).encode())


@final
class Decisions:
    """`GET /v1/turnout/decisions/ID`: the decision record of a recent call of the client's own, by its request id."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def __call__(self, scope: Scope, _receive: Receive, send: Answering) -> None:
        """Answer; raises Refusal when the call is not known any more, and the same when another client made it."""
        decision = own_decision(self._switch.explain(scope["path_params"]["id"]), scope[VISIT])
        if decision is None:
            raise Refusal("not_found", "no recent call has this request id")
        record = {"began": round(decision.began, 3), **decision_json(decision)}
        await send.whole(json.dumps(record).encode())


@final
class Metrics:
    """What observers expose. The first media type is sent: observers that differ in it belong on pages of their own."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def __call__(self, _scope: Scope, _receive: Receive, send: Answering) -> None:
        """Answer."""
        exposed = self._switch.expose()
        media_type = next(iter(exposed), "text/plain; charset=utf-8")
        await send.whole(exposed.get(media_type, "").encode(), media_type=media_type.encode())
