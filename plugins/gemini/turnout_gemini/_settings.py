"""What a `[providers.…]` table of these plugins may say."""

import re
from typing import Final, final

import attrs

from turnout_oauth import OAuthSettings
from turnout_wire import parsed_base

API_URL = "https://generativelanguage.googleapis.com/v1beta"

GOOGLE_OAUTH: Final = OAuthSettings(
    token_url="https://oauth2.googleapis.com/token",  # noqa: S106  # an address
    scopes=("https://www.googleapis.com/auth/cloud-platform",),
)
"""developers.google.com/identity/protocols/oauth2/service-account, read 2026-11-26."""

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,98}", re.ASCII)
_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)


def _base_url(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    parsed_base(value)


def _optional_base_url(_: object, __: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value is not None:
        parsed_base(value)


def _project(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    if not _PROJECT.fullmatch(value):
        raise ValueError('expected the id of a project, such as "my-project-123"')


def _location(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    if not _LOCATION.fullmatch(value):
        raise ValueError('expected a location, such as "global" or "europe-west4"')


@final
@attrs.frozen(kw_only=True)
class GeminiSettings:
    """Settings of one configured provider.

    Attributes:
        base_url: where the API is, its version included; `/models/…` is added. A credential's own `base_url` wins.
    """

    base_url: str = attrs.field(default=API_URL, validator=_base_url)


@final
@attrs.frozen(kw_only=True)
class VertexSettings:
    """Settings of one configured Vertex AI.

    Attributes:
        project: id of the project that is billed.
        location: where models run: `global`, a multi-region, or a region.
        base_url: another address than the location's, such as a private endpoint; None for the location's.
        oauth: where tokens come from; Google, unless said otherwise.
    """

    project: str = attrs.field(validator=_project)
    location: str = attrs.field(default="global", validator=_location)
    base_url: str | None = attrs.field(default=None, validator=_optional_base_url)
    oauth: OAuthSettings = GOOGLE_OAUTH
