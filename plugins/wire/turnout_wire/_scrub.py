"""Take secrets out of texts that an upstream wrote, before anybody sees them (S45).

Two passes: the exact values that we know, then patterns of what looks like a key, a token or an account id. No pattern
nests quantifiers, so none can be made slow.
"""

import re
from collections.abc import Iterable, Iterator

from turnout import Credential, Secret

SCRUBBED = "[removed]"

_SHORTEST = 6
"""Known values shorter than this would tear ordinary words apart; no real key is that short."""

_PATTERNS = re.compile(
    r"""
      \b(?:sk|pk|rk|gsk|xai|nvapi|hf|r8|pplx|csk|fw)[-_][A-Za-z0-9_*.\-]{6,}
    | \b(?:key|sess|org|proj|user|acct)[-_](?=[A-Za-z_.\-]{0,60}[0-9*])[A-Za-z0-9_*.\-]{6,}  # ids, not words
    | \bAIza[A-Za-z0-9_*\-]{10,}                                   # Google API keys
    | \bya29\.[A-Za-z0-9_*.\-]{8,}                                 # Google access tokens
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}                                 # AWS access keys
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_.\-]+                    # JSON web tokens
    | (?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=*\-]{6,}
    | (?i:[?&](?:key|api_key|apikey|token|access_token)=)[^\s&"'\\]+
    | (?i:\b[a-z][a-z0-9+.\-]{1,15}://)[^\s/@"'\\]{1,500}@            # user:password in a URL
    """,
    re.VERBOSE | re.ASCII,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these exact secrets and without anything that looks like one."""
    for secret in sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, SCRUBBED)
    return _PATTERNS.sub(SCRUBBED, text)


def secrets_of(credential: Credential) -> tuple[str, ...]:
    """Every secret text that a credential holds, for `scrub`: its key, its proxy, and all texts in its metadata.

    Attributes named `header:…` may hold a second key, so they count as well.
    """
    known = [secret.reveal() for secret in (credential.api_key, credential.proxy_url) if secret is not None]
    known += [value for name, value in credential.attributes.items() if name.startswith("header:")]
    known += _texts(dict(credential.metadata)) if credential.metadata is not None else ()
    return tuple(text for text in known if len(text) >= _SHORTEST)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
