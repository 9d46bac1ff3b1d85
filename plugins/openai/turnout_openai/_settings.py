"""What a `[providers.…]` table of this plugin may say."""

import attrs

from turnout_oauth import OAuthSettings
from turnout_wire import parsed_base

OPENAI = "https://api.openai.com/v1"


def _base_url(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    parsed_base(value)


@attrs.frozen(kw_only=True)
class OpenAISettings:
    """Settings of one configured provider.

    Attributes:
        base_url: where the API is; what comes after the host is kept, `/chat/completions` is added. A credential's own
            `base_url` attribute wins.
        organization: sent as `OpenAI-Organization`, empty to send none.
        project: sent as `OpenAI-Project`, empty to send none.
        oauth: how credentials without a key get their bearer token; None where every credential has a key.
    """

    base_url: str = attrs.field(default=OPENAI, validator=_base_url)
    organization: str = ""
    project: str = ""
    oauth: OAuthSettings | None = None
