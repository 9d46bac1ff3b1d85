"""Take secrets out of texts that an upstream wrote, before anybody sees them (S45).

Two passes: the exact values that we know, then patterns of what looks like a key, a token or an account id. No pattern
nests quantifiers, so none can be made slow.
"""

import re
from collections.abc import Iterable, Iterator
from typing import final

from turnout import Credential, Secret

SCRUBBED = "[removed]"

_SHORTEST_OF_OTHERS = 16
"""Characters of another credential's secret that is looked for: its metadata may hold ordinary words as well."""

_WORDS = re.compile(r"[^\s\"'`<>()\[\]{},;\\]{16,}")
"""Pieces of a text that may be a whole secret: keys and tokens hold none of these, and are set apart by them."""

_EDGES = ".:!?=*"

_TOLD = re.compile(r"[:=]")
"""What a name and its value are told apart by, as in `key=…`."""

_SHORTEST = 6
"""Known values shorter than this would tear ordinary words apart; no real key is that short."""

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|.)", re.ASCII | re.DOTALL)
"""One escape of a JSON string, a pair of backslashes included, so that the second begins no escape of its own."""

_SPACE = re.compile(r"\\[bfnrt]")
"""White space as JSON writes it. Its letter belongs to no word that comes after it."""

_PATTERNS = re.compile(
    r"""
      (?:\b|(?<=\\[bfnrt]))(?:                                       # a word begins, perhaps behind a line end of JSON
        (?:sk|pk|rk|gsk|xai|nvapi|hf|r8|pplx|csk|fw)[-_][A-Za-z0-9_*.\-]{6,}
      | (?:key|sess|org|proj|user|acct)[-_](?=[A-Za-z_.\-]{0,60}[0-9*])[A-Za-z0-9_*.\-]{6,}  # ids, not words
      | AIza[A-Za-z0-9_*\-]{10,}                                     # Google API keys
      | ya29\.[A-Za-z0-9_*.\-]{8,}                                   # Google access tokens
      | (?:AKIA|ASIA)[A-Z0-9]{12,}                                   # AWS access keys
      | eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_.\-]+                      # JSON web tokens
      | (?i:(?:bearer|basic)\s+)[A-Za-z0-9._~+/=*\-]{6,}
      | (?i:[a-z][a-z0-9+.\-]{1,15}://)[^\s/@"'\\]{1,500}@            # user:password in a URL
      )
    | (?i:[?&](?:key|api_key|apikey|token|access_token)=)[^\s&"'\\]+
    """,
    re.VERBOSE | re.ASCII,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these exact secrets and without anything that looks like one.

    A text with escapes of JSON comes back without those that it can do without.
    """
    known = sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True)
    text = _without(_unescaped(_without(text, known)), known)
    return _PATTERNS.sub(SCRUBBED, text)


def secrets_of(credential: Credential) -> tuple[str, ...]:
    """Every secret text that a credential holds, for `scrub`: its key, its proxy, and all texts in its metadata.

    Attributes named `header:…` may hold a second key, so they count as well.
    """
    known = [secret.reveal() for secret in (credential.api_key, credential.proxy_url) if secret is not None]
    known += [value for name, value in credential.attributes.items() if name.startswith("header:")]
    known += _texts(dict(credential.metadata)) if credential.metadata is not None else ()
    return tuple(text for text in known if len(text) >= _SHORTEST)


@final
class Known:
    """The secrets of many credentials, so that an error of one shows none of another's (S45).

    Whatever stands in a text as a word of its own is found, in a time that depends on the text and not on how many
    secrets there are. The credential in use has `secrets_of`, which finds them inside words too.
    """

    __slots__ = ("_counts", "_of")

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, ...]] = {}
        self._counts: dict[str, int] = {}

    def learn(self, credential: Credential) -> None:
        """Take in a credential as it is now, in place of what it was."""
        self.forget(credential.id)
        found = tuple(text for text in secrets_of(credential) if len(text) >= _SHORTEST_OF_OTHERS)
        self._of[credential.id] = found
        for text in found:
            self._counts[text] = self._counts.get(text, 0) + 1

    def forget(self, id: str) -> None:
        """Let go of a credential."""
        for text in self._of.pop(id, ()):
            self._counts[text] -= 1
            if not self._counts[text]:
                del self._counts[text]

    def clear(self) -> None:
        """Let go of all."""
        self._of.clear()
        self._counts.clear()

    def within(self, text: str) -> tuple[str, ...]:
        """The secrets that stand in a text."""
        pieces = _WORDS.findall(_SPACE.sub(" ", _unescaped(text)))
        words = {word for piece in pieces for word in (piece, piece.strip(_EDGES), *_TOLD.split(piece))}
        return tuple(words & self._counts.keys())


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, SCRUBBED)
    return text


def _unescaped(text: str) -> str:
    r"""The same JSON with every character as itself that needs no escape.

    Who reads the JSON gets a key whole that was written as `a\/b` (PHP) or `a\u002Bb` (.NET): it must be found there.
    """
    return _ESCAPE.sub(_itself, text) if "\\" in text else text


def _itself(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return "/" if escape[0] == "\\/" else escape[0]
    char = chr(int(escape[1], 16))
    return char if char.isprintable() and char not in '"\\' else escape[0]


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
