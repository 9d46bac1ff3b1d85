"""The library `turnout_oauth`: grants by value, and against a strict double on memory transports."""

import base64
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Literal

import attrs
import httpx
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from turnout import (
    Blame,
    Credential,
    Failed,
    Failure,
    Metadata,
    Protocol,
    RateLimited,
    Secret,
    Sent,
    TimedOut,
    Transient,
    Unauthorized,
    Unreachable,
)
from turnout.errors import UpstreamFailed
from turnout_oauth import (
    OAuthSettings,
    ServiceAccount,
    Tokens,
    client_credentials,
    drive,
    jwt_bearer,
    lifetime,
    merged,
    refresh_token,
    renewal,
    service_account_of,
)
from turnout_oauth.testing import TOKEN_URL, Answer, OAuthServer, OAuthTransport, told

NOW = 1_790_000_000.0
CANARY = "rt-canary-0123456789"
SECRET = "s3cret-of-the-client"
SETTINGS = OAuthSettings(token_url=TOKEN_URL, client_id="client", client_secret=Secret(SECRET))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def refreshed(server: OAuthServer, settings: OAuthSettings = SETTINGS, token: str = CANARY) -> Tokens:
    transport = OAuthTransport(server)
    try:
        return await drive(refresh_token(settings, Secret(token), now=NOW), transport)
    finally:
        assert transport.open == 0, "an answer was left open"


async def failed(server: OAuthServer) -> Failure:
    with pytest.raises(UpstreamFailed) as caught:
        await refreshed(server)
    for secret in (CANARY, SECRET, base64.b64encode(f"client:{SECRET}".encode()).decode()):
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.verdict)
    return caught.value.verdict


def knowing(token: str = CANARY) -> OAuthServer:
    server = OAuthServer()
    server.issue(token)
    return server


async def test_a_refresh_token_is_spent_for_new_tokens() -> None:
    """RFC 6749, 6: as a form, with the client in the header, and nothing that nobody asked for."""
    server = knowing()

    tokens = await refreshed(server)

    assert tokens.access_token == Secret("at-1")
    assert tokens.expires_at == NOW + 3600
    assert tokens.refresh_token is not None
    assert server.live() == {tokens.refresh_token.reveal()}
    assert server.forms == [{"grant_type": "refresh_token", "refresh_token": CANARY}]
    assert server.headers[0]["content-type"] == "application/x-www-form-urlencoded"
    assert server.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("client_auth", ["basic", "post"])
async def test_a_client_shows_its_secret_in_the_header_or_in_the_body(client_auth: Literal["basic", "post"]) -> None:
    """RFC 6749, 2.3.1: whatever characters are in it."""
    server = knowing()
    server.client = ("id:with/odd", "s&cr=t % +ü")
    settings = attrs.evolve(
        SETTINGS, client_id="id:with/odd", client_secret=Secret("s&cr=t % +ü"), client_auth=client_auth
    )

    await refreshed(server, settings)

    assert ("client_secret" in server.forms[0]) is (client_auth == "post")
    assert ("authorization" in server.headers[0]) is (client_auth == "basic")


async def test_a_public_client_says_its_name_only() -> None:
    server = knowing()
    server.client = ("public", "")

    await refreshed(server, OAuthSettings(token_url=TOKEN_URL, client_id="public"))

    assert server.forms[0]["client_id"] == "public"
    assert "authorization" not in server.headers[0]


async def test_a_client_may_ask_for_itself() -> None:
    """RFC 6749, 4.4."""
    server = OAuthServer()
    settings = attrs.evolve(SETTINGS, scopes=("a", "b"))

    tokens = await drive(client_credentials(settings, now=NOW), OAuthTransport(server))

    assert tokens.refresh_token is None
    assert server.forms == [{"grant_type": "client_credentials", "scope": "a b"}]


async def test_a_service_account_signs_an_assertion_for_the_token_endpoint(rsa_key: rsa.RSAPrivateKey) -> None:
    """RFC 7523, 2.1 and 3: RS256 over header and claims, for `token_url` whatever the key file says."""
    server = OAuthServer()
    file = {
        "type": "service_account",
        "client_email": "bot@project.iam.example",
        "private_key": pem(rsa_key),
        "private_key_id": "key-1",
        "token_uri": "https://elsewhere.test/token",
    }
    account = service_account_of(Metadata(file))
    assert account is not None

    await drive(jwt_bearer(attrs.evolve(SETTINGS, scopes=("s",)), account, now=NOW), OAuthTransport(server))

    (form,) = server.forms
    signed, _, signature = form["assertion"].rpartition(".")
    rsa_key.public_key().verify(decoded(signature), signed.encode(), PKCS1v15(), SHA256())
    head, claims = (json.loads(decoded(part)) for part in signed.split("."))
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert claims == {
        "iss": "bot@project.iam.example",
        "aud": TOKEN_URL,
        "scope": "s",
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
    }


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "no key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "nonsense", "damaged", "another kind"],
)
async def test_a_key_that_cannot_sign_needs_a_person_and_is_not_quoted(key: str) -> None:
    account = ServiceAccount(email="bot@example.test", private_key=Secret(key))

    with pytest.raises(UpstreamFailed) as caught:
        await drive(jwt_bearer(SETTINGS, account, now=NOW), OAuthTransport(OAuthServer()))

    assert isinstance(caught.value.verdict, Unauthorized)
    assert caught.value.verdict.sent is Sent.NO
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda file: file, json.dumps], ids=["an object", "the file's text"])
def test_a_key_file_may_stand_under_a_name(wrap: Callable[[object], object]) -> None:
    file = {"client_email": "bot@example.test", "private_key": "pem", "subject": "boss@example.test"}

    account = service_account_of(Metadata({"email": "x", "service_account": wrap(file)}))

    assert account == ServiceAccount(email="bot@example.test", private_key=Secret("pem"), subject="boss@example.test")


@pytest.mark.parametrize(
    "metadata", [None, {}, {"client_email": "a"}, {"service_account": "{"}, {"service_account": "[" * 100_000}]
)
def test_what_is_no_key_file_is_none(metadata: dict[str, object] | None) -> None:
    assert service_account_of(None if metadata is None else Metadata(metadata)) is None


def credential(metadata: dict[str, object] | None = None, key: str = "") -> Credential:
    return Credential(
        id="a",
        provider="p",
        api_key=Secret(key) if key else None,
        metadata=None if metadata is None else Metadata(metadata),
    )


@pytest.mark.parametrize(
    ("of", "grant"),
    [
        (credential({"refresh_token": CANARY}), "refresh_token"),
        (credential(), "client_credentials"),
        (credential({"access_token": "old"}), "client_credentials"),
    ],
)
async def test_a_credential_is_renewed_by_what_it_has(of: Credential, grant: str) -> None:
    server = knowing()

    await drive(renewal(SETTINGS, of, now=NOW), OAuthTransport(server))

    assert server.forms[0]["grant_type"] == grant


def test_a_key_cannot_be_renewed_and_is_not_blamed_for_it() -> None:
    with pytest.raises(UpstreamFailed) as caught:
        renewal(SETTINGS, credential(key="sk-0123456789"), now=NOW)

    assert isinstance(caught.value.verdict, Failed)


def test_a_credential_without_means_needs_a_person() -> None:
    with pytest.raises(UpstreamFailed) as caught:
        renewal(OAuthSettings(token_url=TOKEN_URL, client_id="public"), credential({}), now=NOW)

    assert isinstance(caught.value.verdict, Unauthorized)


async def test_a_spent_refresh_token_needs_a_person() -> None:
    """E7: whether the server says it in the words of the RFC or in those of one vendor."""
    server = knowing()
    await refreshed(server)

    verdict = await failed(server)

    assert isinstance(verdict, Unauthorized)
    assert "refresh_token_reused" in verdict.message
    assert server.reuses == 1
    server.instead = told(400, error="invalid_grant", error_description=f"Token {CANARY} has been revoked.")
    assert isinstance(await failed(server), Unauthorized)


PASSING: dict[str, tuple[Answer | Exception, type[Failure]]] = {
    "our client is unknown": (told(401, error="invalid_client"), Failed),
    "a scope is refused": (told(400, error="invalid_scope"), Failed),
    "our clock is wrong": (
        told(400, error="invalid_grant", error_description="Check your iat and exp values in the JWT claim."),
        Failed,
    ),
    "a plain 401": (told(401), Failed),
    "a plain 403": (told(403, error={"message": "no"}), Failed),
    "not there": (told(404), Failed),
    "too many": (told(429, error="slow_down"), RateLimited),
    "a fault that names the grant": (told(500, error="invalid_grant"), Transient),
    "unavailable": (told(503), Transient),
    "too slow for it": (told(408), Transient),
    "a redirect with a token": (told(302, access_token="at"), Protocol),
    "a redirect": (Answer(status=302, headers={"location": "http://elsewhere.test/"}), Protocol),
    "a redirect that keeps the form": (Answer(status=307, headers={"location": "http://elsewhere.test/"}), Protocol),
    "HTML": (Answer(body=b"<!doctype html><title>Sign in</title>", headers={"content-type": "text/html"}), Protocol),
    "nothing": (Answer(body=b""), Protocol),
    "no text": (Answer(body=b"\xff\xfe\x00"), Protocol),
    "cut off": (Answer(body=b'{"access_token": '), Protocol),
    "no object": (Answer(body=b"[1]"), Protocol),
    "nested too deep": (Answer(body=b"[" * 60_000), Protocol),
    "no token": (told(200), Protocol),
    "an error in a success": (told(200, error="temporarily_unavailable"), Protocol),
    "a blank token": (told(200, access_token=""), Protocol),
    "a number for a token": (told(200, access_token=7), Protocol),
    "a token that splits headers": (told(200, access_token="a\r\nx-evil: 1"), Protocol),
    "too long": (told(200, access_token="at", filler="x" * 70_000), Protocol),
    "100 MB": (Answer(body=b"x" * 100_000_000), Protocol),
    "compressed": (Answer(body=b"\x1f\x8b", headers={"content-encoding": "gzip"}), Protocol),
    "no connection": (httpx.ConnectError("http://secret@host"), Unreachable),
    "reset": (httpx.ReadError(""), Protocol),
    "no answer": (httpx.RemoteProtocolError(""), Protocol),
}


@pytest.mark.parametrize(("answer", "verdict"), PASSING.values(), ids=PASSING)
async def test_every_other_failure_passes(answer: Answer | Exception, verdict: type[Failure]) -> None:
    """E8: none of them says that the refresh token is spent; nothing is tried again or followed."""
    server = knowing()
    server.instead = answer

    found = await failed(server)

    assert type(found) is verdict
    assert len(server.forms) == 1
    assert found.message
    assert found.blame is not Blame.REQUEST


@pytest.mark.parametrize(
    "error", [{"code": "invalid_grant"}, {"type": "invalid_grant", "message": "ended"}], ids=["code", "type"]
)
async def test_an_error_may_be_an_object(error: dict[str, str]) -> None:
    """E7: some servers wrap it as their API does."""
    server = knowing()
    server.instead = told(400, error=error)

    assert isinstance(await failed(server), Unauthorized)


async def test_what_a_server_says_is_one_short_line() -> None:
    """S51: it is shown in lists and logs."""
    server = knowing()
    server.instead = told(400, error="invalid_grant", error_description="gone\n\tfor\r\ngood " + "x" * 5000)

    message = (await failed(server)).message

    assert "gone for good" in message
    assert len(message) <= 300


async def test_what_is_granted_is_kept_and_not_asked_for_again() -> None:
    """RFC 6749, 5.1 and 6: a server would have to refuse more than it granted."""
    server = knowing()
    await refreshed(server, attrs.evolve(SETTINGS, scopes=("a", "b")))
    assert "scope" not in server.forms[0]

    server = knowing()
    server.instead = told(200, access_token="at", scope="a")
    assert merged(Metadata({"scope": "a b"}), await refreshed(server)) == Metadata(
        {"scope": "a", "access_token": "at", "expires_at": int(NOW + 900)}
    )


async def test_a_service_account_goes_before_a_token_beside_it_and_its_key_is_not_shown(
    rsa_key: rsa.RSAPrivateKey,
) -> None:
    """S40: a server may quote the assertion that it refuses."""

    class Quoting(OAuthServer):
        def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
            super().answer(body, headers)
            return told(400, error="invalid_request", error_description=f"not {self.forms[-1]['assertion']}")

    server = Quoting()
    key_file = {"client_email": "robot@example.test", "private_key": pem(rsa_key)}
    with pytest.raises(UpstreamFailed) as caught:
        await drive(
            renewal(SETTINGS, credential({**key_file, "refresh_token": CANARY}), now=NOW), OAuthTransport(server)
        )
    assert server.forms[0]["grant_type"].endswith("jwt-bearer")
    assert server.forms[0]["assertion"][:200] not in str(caught.value)
    assert "invalid_request" in str(caught.value)


async def test_an_error_inside_a_success_is_an_error() -> None:
    """E7: some servers answer 200 to everything."""
    server = knowing()
    server.instead = told(200, error="invalid_grant")

    assert isinstance(await failed(server), Unauthorized)


async def test_a_silent_server_is_given_up(autojump_clock: MockClock) -> None:
    """E8."""
    server = knowing()
    server.takes = math.inf

    found = await failed(server)

    assert isinstance(found, TimedOut)
    assert found.sent is Sent.MAYBE
    assert trio.current_time() == pytest.approx(30)
    assert server.at_once == 0


async def test_a_cancelled_exchange_lets_go(autojump_clock: MockClock) -> None:
    server = knowing()
    server.takes = 10
    with trio.move_on_after(1) as scope:
        await refreshed(server)
    assert scope.cancelled_caught
    assert server.at_once == 0


async def test_a_server_that_asks_to_wait_is_heard() -> None:
    server = knowing()
    server.instead = Answer(status=429, headers={"retry-after": "7"})

    assert (await failed(server)).retry_after == 7


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        *[(None, 900), (True, 900), ("soon", 900), ([], 900), ({}, 900), ("", 900), ("nan", 900)],
        *[(3600, 3600), ("3600", 3600), (3599.5, 3599.5), (0, 60), (-1, 60)],
        *[(10**12, 31_536_000), (10**400, 31_536_000), ("1e999", 31_536_000)],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_lifetime_is_sound_whatever_the_server_says(expires_in: object, seconds: float) -> None:
    """E9."""
    assert lifetime(expires_in) == seconds


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_a_lifetime_is_between_a_minute_and_a_year(expires_in: object) -> None:
    """E9."""
    assert 60 <= lifetime(expires_in) <= 365 * 86_400


async def test_a_reply_without_a_refresh_token_leaves_the_old_one() -> None:
    """E9, RFC 6749, 6."""
    server = knowing()
    server.rotate = False
    server.expires_in = None
    before = Metadata({"refresh_token": CANARY, "access_token": "old", "email": "a@example.test"})

    after = merged(before, await refreshed(server))

    assert dict(after) == {
        "refresh_token": CANARY,
        "access_token": "at-1",
        "email": "a@example.test",
        "expires_at": int(NOW) + 900,
    }


@pytest.mark.parametrize("key", ["expired", "expire", "expiresAt", "expiry", "expires"])
def test_the_end_of_the_old_token_does_not_outlive_it(key: str) -> None:
    """C1.14: the first of these names would win over ours, and the credential be due for ever."""
    after = merged(Metadata({key: "2020-01-01T00:00:00Z"}), Tokens(access_token=Secret("at"), expires_at=NOW))

    assert dict(after) == {"access_token": "at", "expires_at": int(NOW)}


@pytest.mark.parametrize(
    "url",
    ["", "token", "ftp://a/b", "http://auth.example.test/token", "https://u:p@auth.example.test/token", "https://a/#x"],
)
def test_a_token_url_is_https_and_holds_no_secret(url: str) -> None:
    """RFC 6749, 3.2: plain http only to this machine."""
    with pytest.raises(ValueError, match="token_url") as caught:
        OAuthSettings(token_url=url)

    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/t", "http://[::1]:9/t", "http://localhost/t"])
def test_a_token_url_on_this_machine_may_be_plain(url: str) -> None:
    assert OAuthSettings(token_url=url).origin.startswith("http://")


def test_the_origin_of_the_token_endpoint_has_its_port() -> None:
    assert OAuthSettings(token_url="https://Auth.Example.test/oauth/token").origin == "https://auth.example.test:443"


@pytest.mark.parametrize("scope", ["", "a b", 'a"', "ü", "a\n"])
def test_a_scope_is_one_word(scope: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        OAuthSettings(token_url=TOKEN_URL, scopes=(scope,))


def test_a_secret_needs_a_name() -> None:
    with pytest.raises(ValueError, match="client_id"):
        OAuthSettings(token_url=TOKEN_URL, client_secret=Secret("s"))


async def test_no_token_and_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """S40."""
    with caplog.at_level(logging.DEBUG):
        server = knowing()
        tokens = await refreshed(server)

    shown = f"{caplog.text} {tokens!r} {SETTINGS!r} {merged(None, tokens)!r}"
    for secret in (CANARY, SECRET, "at-1", *server.live()):
        assert secret not in shown
