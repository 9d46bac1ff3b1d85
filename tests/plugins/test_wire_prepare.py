"""Raw HTTP requests with a credential on them: C13."""

from collections.abc import Mapping

import httpx
import pytest

from turnout import Credential, Secret
from turnout.errors import CallerError, NotSupported
from turnout_wire import CannotPrepare, answer, inject, new_request, prepare, provider_key, sender

REQUEST = httpx.Request("GET", "https://x.test/")
CREDENTIAL = Credential(id="a", provider="p", api_key=Secret("k"))


class Preparer:
    def prepare(self, request: httpx.Request, credential: Credential) -> None:
        request.headers["authorization"] = credential.id


class Both(Preparer):
    async def send(
        self, request: httpx.Request, credential: Credential, transport: httpx.AsyncBaseTransport | None
    ) -> httpx.Response:
        return httpx.Response(200)


@pytest.mark.parametrize(
    ("attributes", "key"),
    [
        ({}, "p"),
        ({"provider_key": "ignored"}, "p"),
        ({"compat_name": "  ", "provider_key": "ignored"}, "p"),
        ({"compat_name": " OpenRouter "}, "openrouter"),
        ({"compat_name": "x", "provider_key": " Other "}, "other"),
        ({"compat_name": "X", "provider_key": " "}, "x"),
    ],
)
def test_a_compatible_credential_names_its_own_provider(attributes: Mapping[str, str], key: str) -> None:
    """C13.1."""
    assert provider_key(Credential(id="a", provider=" P ", attributes=attributes)) == key


@pytest.mark.parametrize(
    ("request_", "credential", "providers", "code", "message"),
    [
        (None, None, {}, "auth_not_found", "auth is nil"),
        (None, CREDENTIAL, {}, "invalid_request", "http request is nil"),
        (REQUEST, CREDENTIAL, {}, "provider_not_found", "executor not registered for provider: p"),
        (REQUEST, CREDENTIAL, {"p": object()}, "not_supported", "executor does not support http request preparation"),
    ],
)
def test_what_is_missing_first_is_said_first(
    request_: httpx.Request | None,
    credential: Credential | None,
    providers: Mapping[str, object],
    code: str,
    message: str,
) -> None:
    """C13.2, C6.1."""
    with pytest.raises(CallerError) as caught:
        prepare(request_, credential, providers)
    assert (caught.value.code, str(caught.value)) == (code, message)
    assert answer(caught.value, "openai.chat", now=0.0).status == (501 if code == "not_supported" else 400)


def test_preparing_is_the_providers_work() -> None:
    """C13.2."""
    request = new_request("GET", "https://x.test/")
    prepare(request, CREDENTIAL, {"p": Preparer()})
    assert request.headers["authorization"] == "a"


def test_sending_asks_for_no_preparer() -> None:
    """C13.4: the provider itself injects the credential."""
    both = Both()
    assert sender(REQUEST, CREDENTIAL, {"p": both}) is both
    assert "authorization" not in REQUEST.headers
    for request, credential in ((None, CREDENTIAL), (REQUEST, None)):
        with pytest.raises(CannotPrepare):
            sender(request, credential, {"p": both})
    with pytest.raises(NotSupported, match="does not send"):
        sender(REQUEST, CREDENTIAL, {"p": Preparer()})


@pytest.mark.parametrize(("method", "used"), [("", "GET"), ("  ", "GET"), (" post ", "POST")])
def test_a_blank_method_is_get(method: str, used: str) -> None:
    """C13.3."""
    assert new_request(method, "https://x.test/").method == used


def test_given_headers_replace_the_defaults_as_a_copy() -> None:
    """C13.3."""
    headers = {"X-One": "1"}
    request = new_request("POST", "https://x.test/", headers=headers, body=b"x")
    headers["X-Two"] = "2"
    assert dict(request.headers) == {"x-one": "1"}
    assert "host" in new_request("POST", "https://x.test/").headers


def test_no_body_is_not_an_empty_body() -> None:
    """C13.3."""
    assert "content-length" not in new_request("GET", "https://x.test/").headers
    assert new_request("GET", "https://x.test/", body=b"").headers["content-length"] == "0"
    assert new_request("PUT", "https://x.test/", body=b"abc").content == b"abc"


def test_injecting_is_silent_when_anything_is_missing() -> None:
    """C13.5, C13.6."""
    request = new_request("GET", "https://x.test/")
    inject(None, "a", lambda _: CREDENTIAL, {"p": Preparer()})
    inject(request, " ", lambda _: CREDENTIAL, {"p": Preparer()})
    inject(request, "a", lambda _: None, {"p": Preparer()})
    inject(request, "a", lambda _: CREDENTIAL, {})
    inject(request, "a", lambda _: CREDENTIAL, {"p": object()})
    assert "authorization" not in request.headers
    inject(request, "a", {"a": CREDENTIAL}.get, {"p": Preparer()})
    assert request.headers["authorization"] == "a"
