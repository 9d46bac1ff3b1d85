"""Ids of calls as each dialect takes them back.

Vendors make ids that others refuse: `functions.f:0` of Kimi is none for Anthropic, an id of 80 characters none for
OpenAI. The same id always becomes the same one, so that a call and its result stay together.
"""

import hashlib
import re
from collections.abc import Mapping

from turnout_dialects._form import ANTHROPIC, CHAT, RESPONSES

_ODD = re.compile(r"[^a-zA-Z0-9_-]", re.ASCII)


_LONGEST: Mapping[str, int] = {RESPONSES: 64, CHAT: 40}
"""Characters; OpenAI's error: "string too long. Expected a string with maximum length 64" (or 40)."""


def call_id(id: str, dialect: str) -> str:
    """The id as it is where `dialect` takes it; else what all dialects take: its clean beginning and a short hash.

    Anthropic's error: "String should match pattern '^[a-zA-Z0-9_-]+$'". The reports of these were read 2026-11-28.
    """
    if (id and not _ODD.search(id)) if dialect == ANTHROPIC else len(id) <= _LONGEST[dialect]:
        return id
    digest = hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    return f"{_ODD.sub('_', id[:27])}_{digest}"
