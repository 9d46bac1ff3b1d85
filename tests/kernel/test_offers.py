"""What a plugin can do beside what it must: looked up once, and as `isinstance` would say it."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import turnout
from turnout import abc
from turnout._plugin_calls import offers
from turnout.abc import (
    Allotter,
    Counter,
    Embedder,
    HasTokenOrigin,
    Learner,
    Leaser,
    ModelLister,
    Reader,
    Refresher,
    RequestPreparer,
    Sender,
    SessionCloser,
    Translator,
    Watcher,
)

SEAMS = [
    (Allotter, ["allot"]),
    (Counter, ["count"]),
    (Embedder, ["embed"]),
    (HasTokenOrigin, ["token_origin"]),
    (Leaser, ["lease"]),
    (Learner, ["observe"]),
    (ModelLister, ["models"]),
    (Reader, ["read"]),
    (Refresher, ["refresh", "refresh_lead"]),
    (RequestPreparer, ["prepare"]),
    (Sender, ["send"]),
    (SessionCloser, ["close_session"]),
    (Translator, ["translated"]),
    (Watcher, ["watch"]),
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


def test_the_kernel_asks_for_seams_in_this_one_way() -> None:
    seams = {name for name, value in vars(abc).items() if getattr(value, "_is_protocol", False)}
    asked = [
        f"{path.name}:{node.lineno}"
        for path in Path(turnout.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        if {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)} & seams
    ]
    assert not asked
