"""The provider for Gemini on Vertex AI: tokens of a service account, and models inside a project and a location.

From docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/locations and the REST reference
(`projects.locations.publishers.models`; stored copies, excerpts, read 2026-11-26); the addresses of locations and the
model list as the google-genai package 3.4.0 writes them.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import final
from urllib.parse import quote

import httpx

from turnout import Call, Credential, Operation, Sent, Unauthorized
from turnout.abc import PluginContext
from turnout.errors import UpstreamFailed
from turnout_gemini._inner_models import configured, unwrapped
from turnout_gemini._operations import Operations
from turnout_gemini._settings import VertexSettings
from turnout_oauth import Renewing

_MULTI_REGIONS = frozenset({"us", "eu"})
_LISTED = "publishers/google/models"


@final
class Vertex(Renewing, Operations):
    """Provider for Gemini on Vertex AI (C2.1). A credential's attributes `project` and `location` win."""

    Settings = VertexSettings

    def __init__(self, settings: VertexSettings, *, now: Callable[[], float]) -> None:
        """`now` reads POSIX seconds; dates in headers and the life of tokens are measured by it."""
        super().__init__(settings.base_url or "", now=now)
        self._project = settings.project
        self._location = settings.location
        self._oauth = settings.oauth

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: VertexSettings, context: PluginContext) -> AsyncIterator["Vertex"]:
        """A provider on the kernel's clock."""
        yield cls(settings, now=context.now)

    def base_url(self, credential: Credential) -> str:
        """The credential's own, the configured one, or that of the location."""
        return super().base_url(credential) or address_of(credential.attributes.get("location") or self._location)

    async def models(self, credential: Credential, transport: httpx.AsyncBaseTransport | None) -> Iterable[str]:
        """Names of Google's models, of the first page; Google lists what there is, not what the project may use."""
        entries = await self.listed(credential, transport, f"/v1beta1/{_LISTED}", "publisherModels")
        return [name.removeprefix(f"{_LISTED}/") for entry in entries if isinstance(name := entry.get("name"), str)]

    def shown(self, credential: Credential) -> dict[str, str]:
        """The token as a bearer."""
        token = self.token(credential)
        if not token:
            raise UpstreamFailed(Unauthorized(message="Vertex AI wants a service account, and no key", sent=Sent.NO))
        return {"authorization": f"Bearer {token}"}

    def payload(self, call: Call) -> bytes:
        """The body, where the two APIs differ as this one takes it: whole requests to count, and embeddings."""
        body = super().payload(call)
        if call.ask.operation is Operation.EMBED:
            return configured(body)
        return unwrapped(body) if call.ask.operation is Operation.COUNT else body

    def path(self, call: Call, verb: str) -> str:
        """The path of a publisher's model in the project and location."""
        own = call.credential.attributes
        project, location = own.get("project") or self._project, own.get("location") or self._location
        where = f"projects/{quote(project, safe=':')}/locations/{quote(location, safe='')}"
        return f"/v1/{where}/{_LISTED}/{quote(call.model, safe='')}:{verb}"


def address_of(location: str) -> str:
    """Base URL of a location: `global`, a multi-region, or a region."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"
