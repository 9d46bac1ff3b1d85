"""The page of the configuration has every key of the kernel's, with its default, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from turnout import Config, parse_config
from turnout._alias_tables import ModelEntry
from turnout._entries import CredentialEntry, ProviderTable
from turnout._sections import Affinity, Deadlines, Health, Hedge, RetryTable, Turnout

PAGE = (Path(__file__).parents[2] / "kernel" / "docs" / "configuration.md").read_text(encoding="utf-8")

TABLES: dict[str, type[Any]] = {
    "[turnout]": Turnout,
    "[retry]": RetryTable,
    "[health]": Health,
    "[deadlines]": Deadlines,
    "[affinity]": Affinity,
    "[hedge]": Hedge,
}
OTHERS: dict[str, type[Any]] = {
    "[providers.KEY]": ProviderTable,
    "[[providers.KEY.models]]": ModelEntry,
    "[[providers.KEY.credentials]]": CredentialEntry,
}


def rows(title: str) -> dict[str, str]:
    """The keys below a title, each with its default as the page writes it."""
    section = re.search(rf"^##+ `{re.escape(title)}`[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert section, title
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section[1], re.MULTILINE))


def keys(cls: type[Any]) -> Iterator[str]:
    yield from (field.name for field in attrs.fields(cls))


@pytest.mark.parametrize(("title", "cls"), [*TABLES.items(), *OTHERS.items()])
def test_every_key_has_a_row_and_every_row_a_key(title: str, cls: type[Any]) -> None:
    wanted = {key for key in keys(cls) if (title, key) != ("[providers.KEY]", "key")}  # which is KEY itself

    assert rows(title).keys() == wanted


@pytest.mark.parametrize("title", TABLES)
def test_every_default_of_a_section_is_the_one_in_force(title: str) -> None:
    """What the page says changes nothing, and is taken as it is written."""
    said = rows(title)
    text = "\n".join([title, *(f"{key} = {default.strip('`')}" for key, default in said.items() if key != "share")])

    assert parse_config(text) == parse_config("")
    assert said.get("share", "`0.05`").strip("`") == str(Hedge().share)


def test_what_the_page_says_of_references_holds(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n\n")
    text = '[turnout]\nselector = "{}"\n'

    def selector(reference: str, **environ: str) -> str:
        config: Config = parse_config(text.format(reference), source=str(tmp_path / "t.toml"), environ=environ)
        return config.selector

    assert selector("${NAME}", NAME="a") == "a"
    assert selector("${NAME:-b}") == selector("${NAME:-b}", NAME="") == "b"
    assert selector("${file:key}") == "from-a-file"
    assert selector("$${NAME}") == "${NAME}"
