"""What a `[providers.…]` table of this plugin may say."""

from typing import final

import attrs

from turnout_wire import check_header, parsed_base

API_URL = "https://api.anthropic.com"

VERSION = "2023-06-01"
"""The version that the API's reference shows (platform.claude.com/docs/en/api/versioning, read 2026-11-23)."""


def _base_url(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    parsed_base(value)


def _version(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    check_header(attribute.name, value)


@final
@attrs.frozen(kw_only=True)
class AnthropicSettings:
    """Settings of one configured provider.

    Attributes:
        base_url: where the API is; `/v1/messages` is added. A credential's own `base_url` attribute wins.
        version: sent as `anthropic-version` when the client has sent none.
    """

    base_url: str = attrs.field(default=API_URL, validator=_base_url)
    version: str = attrs.field(default=VERSION, validator=_version)
