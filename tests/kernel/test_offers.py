"""What a plugin can do beside what it must: looked up once, and as `isinstance` would say it."""

from types import SimpleNamespace
from typing import Any

import pytest

from turnout._plugin_calls import offers
from turnout.abc import (
    Counter,
    Embedder,
    HasTokenOrigin,
    Learner,
    ModelLister,
    Refresher,
    RequestPreparer,
    Sender,
    SessionCloser,
    Translator,
)

SEAMS = [
    (Counter, ["count"]),
    (Embedder, ["embed"]),
    (HasTokenOrigin, ["token_origin"]),
    (Learner, ["observe"]),
    (ModelLister, ["models"]),
    (Refresher, ["refresh", "refresh_lead"]),
    (RequestPreparer, ["prepare"]),
    (Sender, ["send"]),
    (SessionCloser, ["close_session"]),
    (Translator, ["translated"]),
]


@pytest.mark.parametrize(("seam", "members"), SEAMS)
def test_a_plugin_offers_a_seam_when_it_has_all_of_its_members(seam: Any, members: list[str]) -> None:
    whole = SimpleNamespace(**dict.fromkeys(members, print))
    assert offers(whole, seam)
    assert isinstance(whole, seam)
    for name in members:
        part = SimpleNamespace(**{other: print for other in members if other != name})
        assert not offers(part, seam)
        assert not isinstance(part, seam)
        setattr(part, name, None)
        assert not offers(part, seam)
