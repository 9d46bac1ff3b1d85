"""Which texts may not be client keys: empty, short, or printed in some example (S9, S32)."""

from turnout import Secret

SHORTEST = 16

SAMPLES = (
    "change-me",
    "change_me",
    "changeme",
    "example",
    "placeholder",
    "sample",
    "test-token",
    "xxxxxxxx",
    "your-api-key",
    "your-key",
    "your_api_key",
    "yourkey",
)
"""Parts that betray a key copied from an example. A random key of letters holds one by chance once in 10^8."""

DISTINCT = 6


def why_refused(key: Secret) -> str:
    """Why this key guards nothing, without showing it; empty when it is sound."""
    text = key.reveal()
    if not text.strip():
        return "is empty"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "holds a character that cannot travel in a header; use letters, digits and punctuation"
    if any(part in text.lower() for part in SAMPLES):
        return "looks like the sample from some example; make a random one"
    if len(text) < SHORTEST:
        return f"is shorter than {SHORTEST} characters; make a longer, random one"
    if len(set(text)) < DISTINCT:
        return f"has fewer than {DISTINCT} different characters; make a random one"
    return ""
