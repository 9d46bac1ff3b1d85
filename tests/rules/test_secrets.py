"""Secrets stay in their type, and only named functions look inside (S42)."""

import ast
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Credential, Metadata, Secret
from turnout.errors import InvalidAsk

ROOT = Path(__file__).parents[2]
CANARY = "canary-7f3a"

REVEALS = {
    "turnout._entries:_usable_key": "the configuration refuses keys that no upstream would accept",
    "turnout._entries:_proxy": "the configuration refuses proxies that are no URL",
    "turnout._readings:_configured_seed": "the index is a digest of it (C1.7)",
    "turnout._readings:proxy_label": "the scheme alone leaves the function (C1.9)",
    "turnout._alias_tables:_trimmed": "an entry is found by its key (C7.6.2)",
    "turnout._pick_log:_who": "the ends of a long key alone are logged (C14.2)",
    "turnout._renewal:mark_of": "a digest tells which secret was refused",
    "turnout._records:encode_credential": "what a store seals",
    "turnout_http._keys:KeyRing.__init__": "clients' keys become digests",
    "turnout_http._key_rules:why_refused": "sample and short keys are refused at the start",
    "turnout_anthropic._provider:Anthropic.shown": "it is sent",
    "turnout_gemini._provider:Gemini.shown": "it is sent",
    "turnout_oauth._answers:_fits_a_header": "a token that no header can carry is refused",
    "turnout_oauth._answers:tokens_of": "to remove it from the server's texts",
    "turnout_oauth._grants:_authenticated": "the client's secret is sent",
    "turnout_oauth._grants:jwt_bearer": "the assertion is sent",
    "turnout_oauth._grants:refresh_token": "it is sent",
    "turnout_oauth._service_account:ServiceAccount._signature": "it signs",
    "turnout_oauth._tokens:merged": "into the metadata, which a store seals",
    "turnout_openai._azure:AzureOpenAI.shown": "it is sent",
    "turnout_openai._provider:OpenAI.shown": "it is sent",
    "turnout_redis._server:open_server": "the server's password is sent",
    "turnout_redis._settings:parsed": "the address is in it; its password stays a secret",
    "turnout_transport._proxies:Proxy.parse": "it is sent to the proxy",
    "turnout_wire._scrub:secrets_of": "to remove it from upstreams' texts",
    "turnout_wire._scrub:_texts": "the same",
}
"""Each function that may call `.reveal()`, and why."""


def revealing_functions() -> set[str]:
    found: set[str] = set()
    for distribution in (ROOT / "kernel", *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))):
        for path in distribution.glob("turnout*/**/*.py"):
            module = ".".join(path.relative_to(distribution).with_suffix("").parts)
            source = path.read_text(encoding="utf-8")
            if "reveal" in source or "_text" in source:
                found |= {f"{module}:{name}" for name in _revealing(ast.parse(source))}
    return found


def _revealing(node: ast.AST, inside: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        inside = (*inside, node.name)
    if (isinstance(node, ast.Attribute) and node.attr == "reveal") or (
        isinstance(node, ast.Constant) and node.value in {"reveal", "_text"} and inside != ("Secret",)
    ):
        yield ".".join(inside)
    for child in ast.iter_child_nodes(node):
        yield from _revealing(child, inside)


def test_a_secret_is_revealed_only_where_it_is_listed() -> None:
    """S42: a new place has to be argued for here."""
    assert revealing_functions() == REVEALS.keys()


@pytest.mark.parametrize(
    "show",
    [repr, str, ascii, "{}".format, "{!r:>40}".format, "{:>40}".format, "%s".__mod__, "%r".__mod__],
    ids=["repr", "str", "ascii", "format", "format repr", "format spec", "percent s", "percent r"],
)
def test_a_secret_shows_only_its_mask(show: Callable[[object], str]) -> None:
    """S42."""
    assert show(Secret(CANARY)).strip() == "***"


@pytest.mark.parametrize("show", [repr, "{}".format, lambda value: f"{value!r:>5}"], ids=["repr", "format", "f-string"])
def test_what_holds_a_secret_does_not_show_it(show: Callable[[object], str]) -> None:
    """S42: neither a credential nor a container."""
    credential = Credential(
        id="c1",
        provider="openai",
        api_key=Secret(CANARY),
        proxy_url=Secret(f"http://u:{CANARY}@host"),
        metadata=Metadata({"access_token": CANARY, "nested": {"refresh_token": CANARY}}),
    )

    for value in (credential, [Secret(CANARY)], {"key": Secret(CANARY)}, credential.metadata):
        assert CANARY not in show(value)


def test_a_pickle_of_a_secret_holds_the_mask() -> None:
    """S42."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        text = pickle.dumps([Secret(CANARY), Metadata({"token": CANARY})], protocol)
        assert CANARY.encode() not in text
        assert pickle.loads(text) == [Secret("***"), Metadata()]  # noqa: S301  # our own bytes


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_secret_is_the_same_secret(duplicate: Callable[[object], object]) -> None:
    """S42: it stays in the process; a mask instead would be sent upstream as a key."""
    credential = Credential(
        id="c1", provider="openai", api_key=Secret(CANARY), metadata=Metadata({"tokens": {"access": CANARY}})
    )

    assert duplicate(Secret(CANARY)) == Secret(CANARY)
    assert duplicate(credential.metadata) == credential.metadata


def test_a_deep_copy_of_metadata_shares_nothing() -> None:
    """C1.6.2: what is nested can be changed without changing the original."""
    original = Metadata({"tokens": {"access": "a"}})
    copy.deepcopy(original)["tokens"]["access"] = "b"

    assert original["tokens"]["access"] == "a"


def test_a_secret_is_not_written_as_json() -> None:
    """S42: an encoder refuses it, or writes the mask where it is told to print what it does not know."""
    with pytest.raises(TypeError):
        json.dumps({"key": Secret(CANARY)})

    assert json.dumps({"key": Secret(CANARY)}, default=str) == '{"key": "***"}'


def test_a_secret_has_no_attributes_to_print() -> None:
    """S42."""
    with pytest.raises(TypeError):
        vars(Secret(CANARY))
    with pytest.raises(AttributeError):
        Secret(CANARY).note = "x"  # type: ignore[attr-defined]  # slots


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_texts_are(one: str, two: str) -> None:
    """S42: also texts that no encoding holds, such as lone surrogates."""
    assert (Secret(one) == Secret(two)) is (one == two)
    assert (hash(Secret(one)) == hash(Secret(two))) is (one == two)
    assert bool(Secret(one)) is bool(one)
    assert Secret(one) != one
    assert Secret(one).reveal() == one


def test_a_secret_is_compared_without_regard_to_where_it_differs() -> None:
    """S42: through `hmac.compare_digest`, which the source names."""
    source = (ROOT / "kernel" / "turnout" / "_values.py").read_text(encoding="utf-8")
    equality = source[source.index("class Secret") :].split("def __eq__", 1)[1].split("def __hash__", 1)[0]

    assert "compare_digest" in equality
    assert "self._text ==" not in equality


@pytest.mark.parametrize("value", [None, 7, b"key", ["key"]], ids=repr)
def test_only_a_text_can_be_a_secret(value: object) -> None:
    """S42: and the refusal does not repeat the value."""
    with pytest.raises(InvalidAsk, match="a secret is a text") as caught:
        Secret(value)  # type: ignore[arg-type]  # the bad input under test

    assert "key" not in str(caught.value)
