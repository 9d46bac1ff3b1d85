"""What a `[providers.…]` table of this plugin may say."""

import difflib
import re
from typing import final

import attrs

from turnout_oauth import OAuthSettings
from turnout_openai._vendors import RESPONSES, VENDORS
from turnout_wire import parsed_base

_API_VERSION = re.compile(r"(?:\d{4}-\d{2}-\d{2}(?:-preview)?)?", re.ASCII)


def _base_url(_: object, __: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value is not None:
        parsed_base(value)


def _vendor(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    if value not in VENDORS:
        close = difflib.get_close_matches(value, VENDORS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        known = ", ".join(VENDORS)
        raise ValueError(f"no such vendor; {hint}known: {known}. For any other leave vendor out and give its base_url")


def _chat(settings: "OpenAISettings", __: "attrs.Attribute[bool]", value: bool) -> None:
    if not value and (settings.responses is False or RESPONSES not in VENDORS[settings.vendor].dialects):
        raise ValueError("chat = false leaves nothing to call: this service has no Responses API")


def _resource(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    if "/openai" in parsed_base(value).path:
        raise ValueError("base_url ends before /openai, as in https://RESOURCE.openai.azure.com")


def _api_version(_: object, __: "attrs.Attribute[str]", value: str) -> None:
    if not _API_VERSION.fullmatch(value):
        raise ValueError('expected a date such as "2024-10-21", or nothing for the v1 API')


@final
@attrs.frozen(kw_only=True)
class OpenAISettings:
    """Settings of one configured provider.

    Attributes:
        vendor: whose API it is, a row of `VENDORS`: its address, and what its refusals mean.
        base_url: where the API is, None for the vendor's own; what comes after the host is kept, `/chat/completions` is
            added. A credential's own `base_url` attribute wins.
        responses: whether its Responses API serves the calls of other vendors' APIs; None: only OpenAI's own does, and
            elsewhere they become chats. False says that it has none, so that those of its own clients become chats too.
        chat: False says that its models are not served as chats, so that the calls of chat clients become responses.
        organization: sent as `OpenAI-Organization`, empty to send none.
        project: sent as `OpenAI-Project`, empty to send none.
        oauth: how credentials without a key get their bearer token; None where every credential has a key.
    """

    vendor: str = attrs.field(default="openai", validator=_vendor)
    base_url: str | None = attrs.field(default=None, validator=_base_url)
    responses: bool | None = None
    chat: bool = attrs.field(default=True, validator=_chat)
    organization: str = ""
    project: str = ""
    oauth: OAuthSettings | None = None


@final
@attrs.frozen(kw_only=True)
class AzureSettings:
    """Settings of one configured Azure OpenAI.

    Attributes:
        base_url: address of the resource, such as `https://NAME.openai.azure.com`. A credential's own wins.
        api_version: date of the API with a path for each deployment; empty for the v1 API, which has neither.
        oauth: how credentials without a key get a token of Microsoft Entra ID; None where every credential has a key.
    """

    base_url: str = attrs.field(validator=_resource)
    api_version: str = attrs.field(default="", validator=_api_version)
    oauth: OAuthSettings | None = None
