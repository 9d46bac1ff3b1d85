import enum
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import validators
from hypothesis import given
from hypothesis import strategies as st

from turnout import ByteCount, Metadata, Seconds, Secret
from turnout._config import parse_config
from turnout._units import byte_count, seconds
from turnout.errors import ConfigError, InvalidAsk, PluginError


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@attrs.frozen(kw_only=True)
class Peer:
    host: str
    port: int = attrs.field(default=80, validator=[validators.ge(0), validators.le(65535)])


@attrs.frozen(kw_only=True)
class Everything:
    url: str
    token: Secret | None = None
    patience: Seconds = Seconds(1.0)
    cap: ByteCount = ByteCount(0)
    folder: Path = Path()
    mode: Mode = Mode.FAST
    level: Literal["low", "high"] = "low"
    weights: Mapping[str, float] = attrs.field(factory=dict)
    peers: tuple[Peer, ...] = ()
    names: Sequence[str] = ()
    keys: tuple[Secret, ...] = ()
    pair: tuple[str, int] = ("", 0)
    either: int | list[str] = 0
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    more: Metadata | None = None
    retries: int | None = None


def settings(body: str, cls: type[Any] | None = Everything, **environ: str) -> Any:
    return parse_config(f"[frontends.http]\n{body}", environ=environ).settings("turnout.frontends", "http", cls)


def problems(body: str, cls: type[Any] | None = Everything) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        settings(body, cls, CANARY="canary-value")
    return caught.value.problems


def test_a_plugins_table_becomes_its_settings() -> None:
    made = settings(
        """
url = "redis://x"
token = "${TOKEN}"
patience = "1h30m"
cap = "32MiB"
folder = "/var/lib"
mode = "slow"
level = "high"
weights = { a = 1, b = 0.5 }
peers = [{ host = "a" }, { host = "b", port = 8080 }]
names = ["x"]
keys = ["k"]
pair = ["a", 1]
either = ["x"]
extra = { deep = [1, { a = true }] }
more = { a = 1 }
retries = 3
plugin = "http"
""",
        TOKEN="t",
    )

    assert made == Everything(
        url="redis://x",
        token=Secret("t"),
        patience=Seconds(5400.0),
        cap=ByteCount(32 * 2**20),
        folder=Path("/var/lib"),
        mode=Mode.SLOW,
        level="high",
        weights={"a": 1.0, "b": 0.5},
        peers=(Peer(host="a"), Peer(host="b", port=8080)),
        names=("x",),
        keys=(Secret("k"),),
        pair=("a", 1),
        either=["x"],
        extra={"deep": [1, {"a": True}]},
        more=Metadata({"a": 1}),
        retries=3,
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "1:1: frontends.http.url: url is missing; it has no default"),
        ('ulr = "x"\nurl = "y"', '2:1: frontends.http.ulr: unknown key; did you mean "url"?'),
        ('url = "x"\nmode = "fats"', '3:8: frontends.http.mode: expected one of "fast", "slow"; did you mean "fast"?'),
        ('url = "x"\nlevel = 1', '3:9: frontends.http.level: expected one of "low", "high"'),
        ('url = "x"\nweights = { a = "1" }', "3:17: frontends.http.weights.a: expected a number, got a text"),
        ('url = "x"\npeers = [{ port = 1 }]', "3:10: frontends.http.peers[0].host: host is missing"),
        (
            'url = "x"\npeers = [{ host = "a" }, { host = "b", port = 70000 }]',
            "3:47: frontends.http.peers[1].port: 'port' must be <= 65535: 70000",
        ),
        ('url = "x"\npeers = { host = "a" }', "3:9: frontends.http.peers: expected an array, got a table"),
        ('url = "x"\nnames = "abc"', "3:9: frontends.http.names: expected an array, got a text"),
        ('url = "x"\npair = ["a"]', "3:8: frontends.http.pair: expected 2 values, got 1"),
        ('url = "x"\neither = true', "3:10: frontends.http.either: expected a whole number or an array, got true or"),
        ('url = "x"\neither = ["a", 1]', "3:16: frontends.http.either[1]: expected a text, got a whole number"),
        ('url = "x"\nretries = "1"', "3:11: frontends.http.retries: expected a whole number, got a text"),
        ('url = "x"\nfolder = 1', "3:10: frontends.http.folder: expected a path, got a whole number"),
        ('url = "x"\nextra = { a = 2026-11-23 }', "3:15: frontends.http.extra.a: write dates and times as texts"),
        ('url = "x"\n[frontends.http.more]\nb = nan', "4:5: frontends.http.more.b: expected a finite number"),
    ],
)
def test_a_table_that_does_not_fit_is_told_with_its_place(body: str, said: str) -> None:
    """H2."""
    (problem,) = problems(body)

    assert problem.startswith(f"turnout.toml:{said}")


def test_every_field_that_a_validator_refuses_is_told() -> None:
    @attrs.frozen(kw_only=True)
    class Strict:
        low: int = attrs.field(validator=validators.ge(10))
        high: int = attrs.field(validator=validators.le(0))
        name: str = attrs.field(default="x", validator=validators.in_(["x", "y"]))

    found = problems('low = 1\nhigh = 1\nname = "${CANARY}"', Strict)

    assert [problem.split(":")[1] for problem in found] == ["2", "3", "4"]
    assert "canary" not in "".join(found)


def test_a_value_of_another_type_hides_nothing_of_what_validators_refuse_beside_it() -> None:
    """H2: every problem in one run, each once, in the order of the file."""

    def above(instance: Any, attribute: Any, value: int) -> None:
        if value <= instance.low:
            raise ValueError(f"{attribute.name} is not above low")

    @attrs.frozen(kw_only=True)
    class Range:
        low: int = 0
        high: int = attrs.field(default=1, validator=above)
        count: int = attrs.field(default=1, validator=validators.ge(1))
        name: str = ""

    found = problems("count = 0\nname = 1\nhigh = 0\nlwo = 1", Range)
    lines = [problem.split("\n")[0] for problem in found]

    assert [line.split(": ", 2)[1] for line in lines] == [
        f"frontends.http.{key}" for key in ("count", "name", "high", "lwo")
    ]
    assert lines[2].endswith("high is not above low")
    assert len(problems('low = "0"\nhigh = 0', Range)) == 1  # what it is compared with is not known


def test_a_validator_sees_what_the_converter_makes_also_when_another_field_is_refused() -> None:
    def trimmed(text: str) -> str:
        return text.strip()

    @attrs.frozen(kw_only=True)
    class Trimmed:
        prefix: str = attrs.field(default="", converter=trimmed, validator=validators.max_len(2))
        count: int = attrs.field(default=1, validator=validators.ge(1))

    (problem,) = problems('prefix = " ab "\ncount = 0', Trimmed)

    assert "frontends.http.count: " in problem


def test_a_group_of_refusals_is_told_one_by_one() -> None:
    def positive(_: object, attribute: Any, value: tuple[int, ...]) -> None:
        wrong = [number for number, one in enumerate(value) if one <= 0]
        raise ExceptionGroup("", [InvalidAsk("too low", argument=f"{attribute.name}[{number}]") for number in wrong])

    @attrs.frozen(kw_only=True)
    class Ports:
        ports: tuple[int, ...] = attrs.field(validator=positive)

    assert [problem.split("\n")[0] for problem in problems("ports = [0, 1, -1]", Ports)] == [
        "turnout.toml:2:10: frontends.http.ports[0]: too low",
        "turnout.toml:2:16: frontends.http.ports[2]: too low",
    ]


def test_a_group_with_a_failure_of_the_class_is_its_authors_fault() -> None:
    def broken(_: object, __: object, value: int) -> None:
        raise ExceptionGroup("", [ValueError("refused"), LookupError(f"{value}")])

    @attrs.frozen(kw_only=True)
    class Broken:
        count: int = attrs.field(validator=broken)

    with pytest.raises(PluginError, match="its Settings cannot be made"):
        settings("count = 1", Broken)


def test_an_error_of_the_whole_class_stands_at_its_table_or_at_the_argument_it_names() -> None:
    @attrs.frozen(kw_only=True)
    class Range:
        low: int
        high: int

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")
            if self.high > 9:
                raise InvalidAsk("too high", argument="high")

    assert problems("low = 2\nhigh = 1", Range)[0].startswith("turnout.toml:1:1: frontends.http: low is above high")
    assert problems("low = 2\nhigh = 10", Range)[0].startswith("turnout.toml:3:8: frontends.http.high: too high")


def test_an_error_may_name_a_path_inside_an_argument() -> None:
    @attrs.frozen(kw_only=True)
    class Inner:
        cap: int = 1

        def __attrs_post_init__(self) -> None:
            if self.cap < 1:
                raise InvalidAsk("cap is too small", argument="inner.cap")

    @attrs.frozen(kw_only=True)
    class Outer:
        keys: tuple[Secret, ...] = ()
        inner: Inner = attrs.field(factory=Inner)

        def __attrs_post_init__(self) -> None:
            if len(self.keys) > 1:
                raise InvalidAsk("the second is weak", argument="keys[1]")
            if self.keys:
                raise InvalidAsk("there should be two", argument="keys[1]")

    assert problems('keys = ["aaa", "bbb"]', Outer)[0].startswith(
        "turnout.toml:2:16: frontends.http.keys[1]: the second is weak\n"
    )
    assert problems('keys = ["aaa"]', Outer)[0].startswith("turnout.toml:1:1: frontends.http: there should be two")
    assert problems("inner = { cap = 0 }", Outer)[0].startswith("turnout.toml:2:17: frontends.http.inner.cap: cap is")


def test_a_refusal_never_repeats_what_the_file_or_the_environment_says() -> None:
    """S4."""

    @attrs.frozen(kw_only=True)
    class Loud:
        url: str
        token: Secret

        def __attrs_post_init__(self) -> None:
            raise ValueError(f"cannot use {self.url} with {self.token.reveal()}\nand more")

    (problem,) = problems('url = "${CANARY}"\ntoken = "another-canary"', Loud)

    assert "frontends.http: cannot use *** with ***" in problem
    assert "canary" not in problem


def test_a_plugin_without_settings_takes_no_keys() -> None:
    assert settings("", None) is None
    assert settings('plugin = "http"', None) is None
    (problem,) = problems("listen = 1", None)
    assert problem.startswith("turnout.toml:2:1: frontends.http.listen: the frontend 'http' takes no settings")


def test_the_kernels_keys_of_a_provider_are_not_its_plugins() -> None:
    @attrs.frozen(kw_only=True)
    class Settings:
        base_url: str = ""

    config = parse_config(
        '[providers.openrouter]\nplugin = "openai"\npriority = 1\nbase_url = "https://x"\n'
        '[[providers.openrouter.credentials]]\napi_key = "k"\n[[providers.openrouter.models]]\nname = "m"\n'
    )

    assert config.settings("providers", "openrouter", Settings) == Settings(base_url="https://x")


def test_settings_that_fail_by_themselves_are_the_plugins_fault() -> None:
    """H8: configure."""

    @attrs.frozen(kw_only=True)
    class Buggy:
        def __attrs_post_init__(self) -> None:
            raise KeyError("canary-value")

    @attrs.frozen(kw_only=True)
    class Untold:
        wait: timedelta = timedelta()

    with pytest.raises(PluginError, match=r"^frontend 'http': its Settings cannot be made: KeyError; ask its author$"):
        settings("", Buggy)
    with pytest.raises(PluginError, match="its Settings cannot be made: StructureHandlerNotFoundError"):
        settings("wait = 1", Untold)


def test_a_plugin_that_cannot_be_used_is_told_where_the_file_names_it() -> None:
    """H2: dangling reference."""
    text = '[turnout]\nselector = "nope"\n[frontends.a]\nplugin = "gone"\n[observers.b]\n'
    config = parse_config(text)

    assert str(config.misnamed("turnout.selectors", "nope", "not installed")) == (
        'turnout.toml:2:12: turnout.selector: not installed\n    selector = "nope"\n               ^'
    )
    assert str(config.misnamed("frontends", "a", "x")).startswith("turnout.toml:4:10: frontends.a.plugin: x")
    assert str(config.misnamed("observers", "b", "x")).startswith("turnout.toml:5:1: observers.b: x")
    assert str(config.misnamed("stores", "files", "x")) == "turnout.toml: turnout.store: x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", 30.0),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("1d", 86400.0),
        ("0s", 0.0),
        ("", None),
        ("30", None),
        ("s", None),
        ("-1s", None),
        ("1 s", None),
        ("1S", None),
        ("1e3s", None),
        ("\u0661s", None),
    ],
)
def test_durations_are_read_by_one_rule(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("64KiB", 65536), ("10MB", 10**7), ("1GiB", 2**30), ("5B", 5), ("5", None), ("1.5MiB", None), ("1mib", None)],
)
def test_sizes_are_read_by_one_rule(text: str, value: int | None) -> None:
    assert byte_count(text) == value


@given(st.text(alphabet="0123456789.hmsd ", max_size=12))
def test_no_text_is_a_negative_duration(text: str) -> None:
    found = seconds(text)
    assert found is None or found >= 0
