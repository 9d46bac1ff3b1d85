"""What a `[providers.…]` table of this plugin may say."""

from typing import final

import attrs

from turnout_wire import parsed_base

API_URL = "https://generativelanguage.googleapis.com/v1beta"


def _base_url(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    parsed_base(value)


@final
@attrs.frozen(kw_only=True)
class GeminiSettings:
    """Settings of one configured provider.

    Attributes:
        base_url: where the API is, its version included; `/models/…` is added. A credential's own `base_url` wins.
    """

    base_url: str = attrs.field(default=API_URL, validator=_base_url)
