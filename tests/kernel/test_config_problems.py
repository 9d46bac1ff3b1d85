import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from turnout._config import parse_config
from turnout.errors import ConfigError


def problems(text: str, environ: Mapping[str, str] | None = None, source: str = "t.toml") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source=source, environ=environ or {})
    return caught.value.problems


def only(text: str, environ: Mapping[str, str] | None = None) -> str:
    (problem,) = problems(text, environ)
    return problem


def test_a_problem_says_file_line_column_key_and_shows_the_line_with_a_caret() -> None:
    """H2: error names file, line, key."""
    assert only('[turnout]\nstore = "files"\n\n[retry]\n  passes = "4"  # why not\n') == (
        't.toml:5:12: retry.passes: expected a whole number, got a text\n      passes = "4"\n               ^'
    )


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    """H2; issue item 7: all errors at once, from references to plugins' tables."""
    found = problems(
        """
[retry]
passes = "4"
max_waits = "1s"
[hedge]
share = 2.0
[providers.openai]
[[providers.openai.credentials]]
api_key = "${MISSING}"
priority = true
[stores.redis]
"""
    )

    assert [re.sub(r"^t.toml:(\d+):\d+: (\S+): (.{14}).*$", r"\1 \2 \3", one.split("\n")[0]) for one in found] == [
        "3 retry.passes expected a who",
        "4 retry.max_waits unknown key; d",
        "6 hedge.share this never tak",
        "6 hedge.share 'share' must b",
        "9 providers.openai.credentials[0].api_key the environmen",
        "10 providers.openai.credentials[0].priority expected a who",
        "11 stores.redis this never tak",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[health]\nkeep_last = "false"', "expected true or false, got a text"),
        ("[health]\nkeep_last = 0", "expected true or false, got a whole number"),
        ("[retry]\npasses = true", "expected a whole number, got true or false"),
        ("[retry]\npasses = 4.0", "expected a whole number, got a number"),
        ("[retry]\npasses = 0", "'passes' must be >= 1"),
        ("[retry]\nmax_credentials = -1", "must be >= 0"),
        ("[retry]\nmax_credentials = 99999999999999999999", "must be <= "),
        ("[retry]\nmax_wait = 30", "expected a duration such as .* got a whole number"),
        ('[retry]\nmax_wait = "30"', "expected a duration such as"),
        ('[health]\nhint_cap = "99999999h"', "hint_cap.* must be <= "),  # no calendar has that day
        ('[retry]\nmax_wait = "-1s"', "expected a duration such as"),
        ('[retry]\nmax_wait = "1h 30m"', "expected a duration such as"),
        ('[deadlines]\nidle = "0s"', "'idle' must be > 0"),
        ('[turnout]\nbootstrap_bytes = "64 KiB"', "expected a size such as"),
        ("[turnout]\nbootstrap_bytes = -1", "expected a size such as"),
        ("[turnout]\nbootstrap_bytes = 1", "must be >= 1024"),
        ("[turnout]\nstore = 1", "expected a text, got a whole number"),
        ("[turnout]\nstore = 2026-11-23", "expected a text, got a date or time"),
        ("turnout = 1", "turnout: expected a table, got a whole number"),
        ("[[turnout]]", "turnout: expected a table, got an array"),
        ("providers = 3", "providers: expected a table"),
        ("providers.openai = 3", "providers.openai: expected a table"),
        ("[providers.openai]\ncredentials = {}", "expected an array, got a table"),
        ("[providers.openai]\nexcluded_models = 'gpt'", "expected an array, got a text"),
        ("[[providers.openai.models]]\nalias = 'x'", r"models\[0\].name: name is missing"),
        ("[[providers.openai.models]]\nname = ' '", r"models\[0\].name: it is empty"),
        ("[[providers.openai.models]]\nname = 'x'\nfork = true", "never takes effect: only aliases under oauth"),
        ("[providers.openai]\nprefix = 'a/b'", "a prefix is one word without a / inside"),
        ("[providers.OpenAI]", "lower-case letters"),
        ("[oauth_aliases]\nClaude = []", "lower-case letters"),
        ("[frontends.http]\nplugin = 1", "expected a text: the name of a plugin"),
        ("[frontends.http]\nsince = 2026-11-23", "write dates and times as texts"),
        ("[hedge]\nshare = inf\nafter = '1s'", "expected a finite number"),
        ("[hedge]\nshare = 0.5", 'never takes effect: set hedge.after, such as "2s"'),
        ("[selectors.weighted]", "never takes effect: turnout.selector names another one"),
        ("[transports.other]", "never takes effect: turnout.transport names another one"),
        ("[turnout]\nstore = 'sqlite'\n[stores.files]", "never takes effect: turnout.store names another one"),
        ("[oauth]", "unknown key; known here: turnout, retry"),
        ("[turnouts]", 'unknown key; did you mean "turnout"'),
        ("[providers.a]\n[[providers.a.credentials]]\napi_key = ''", "it is empty; leave api_key out"),
        ("[providers.a]\n[[providers.a.credentials]]\napi_key = ' x'", "spaces around it or control"),
        ("[providers.a]\n[[providers.a.credentials]]\napi_key = 'x\\ny'".replace("'", '"'), "control characters"),
        ("[providers.a]\n[[providers.a.credentials]]\nname = ' a'", "name has spaces around it"),
        ("[providers.a]\n[[providers.a.credentials]]\nbase_url = 'example.com'", "expected a URL such as"),
        ("[providers.a]\n[[providers.a.credentials]]\nbase_url = 'http://a:65536/v1'", "between 1 and 65535"),
        ("[providers.a]\n[[providers.a.credentials]]\nproxy_url = 'proxy:80'", "a proxy is written like"),
        ("[providers.a]\n[[providers.a.credentials]]\nheaders = {'a b' = 'c'}", "a header's name consists of"),
        ('[providers.a]\n[[providers.a.credentials]]\nheaders = {a = "\\n"}', "header a has control characters"),
        ("[providers.a]\n[[providers.a.credentials]]\nattributes = {priority = '1'}", "priority never takes effect"),
        ("[providers.a]\n[[providers.a.credentials]]\npriority = 9999999999", "a priority lies between"),
        ("[providers.a]\n[[providers.a.credentials]]\nmetadata = {a = nan}", "expected a finite number"),
    ],
)
def test_nothing_is_coerced_and_nothing_useless_is_accepted(text: str, said: str) -> None:
    """H2: type, unknown key; C1 of the pitfalls; keys that could never take effect."""
    problem = only(text)

    assert re.search(said, problem)
    assert re.match(r"t\.toml:\d+:\d+: ", problem)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[retry]\npasses = 0\nmax_wait = "30"\nroute_429 = 1', ["passes", "max_wait", "route_429"]),
        ("[hedge]\nafter = '1s'\nmodels = {a = '0s', b = '1s', c = '0s'}", ["models.a", "models.c"]),
        (
            "[providers.a]\n[[providers.a.credentials]]\nheaders = {'a b' = 'c', d = 'e', 'f g' = 'h'}\npriority = 'i'",
            ["credentials[0].headers.a b", "credentials[0].headers.f g", "credentials[0].priority"],
        ),
        (
            "[providers.a]\n[[providers.a.credentials]]\nprefix = '/p/'\nname = ' a'\nlabel = 1",
            ["credentials[0].name", "credentials[0].label"],
        ),
    ],
)
def test_every_problem_of_a_table_is_told_once_and_in_its_order(text: str, told: list[str]) -> None:
    """H2: also where one key has a wrong type and another one a value that is refused."""
    names = [problem.split("\n")[0].split(": ")[1] for problem in problems(text)]

    assert [re.sub(r"^(retry|hedge|providers\.a)\.", "", name) for name in names] == told


@pytest.mark.parametrize(
    ("text", "place", "shown"),
    [
        ("a = sk-live-1", "1:5", "    a =\n        ^"),
        ('x = 1\na = "sk-live', "2:13", '    a = "***"\n             ^'),
        ("[a", "1:3", "    [a\n      ^"),
        ("[x]\na = 1\na = 2", "3:6", "    a = 2\n         ^"),
        ("a = [1,", "1:8", "    a = [1,\n           ^"),
        ("sk-abcdefghijklmnopqrst0123", "1:28", "    ***\n       ^"),
    ],
)
def test_a_syntax_error_has_a_place_and_shows_nothing_that_may_be_a_secret(text: str, place: str, shown: str) -> None:
    """H2: syntax."""
    problem = only(text)

    assert problem.startswith(f"t.toml:{place}: this is not TOML: ")
    assert problem.split("\n", 1)[1] == shown


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "[frontends.http]\na = " + "[" * 300 + "]" * 300]
)
def test_a_monstrous_value_is_an_error_and_no_crash(text: str) -> None:
    assert "t.toml" in only(text)


DURATION = 'expected a duration such as "30s", "5m" or "1h30m"'
SIZE = 'expected a size such as "64KiB" or "32MiB", or a number of bytes'
AFTER = f'{DURATION} or one of "learned", "off"'
DURATION_UNITS = "; each number has its unit: ms, s, m, h or d"
SIZE_UNITS = "; not below 0, and in quotes with its unit: B, kB, MB, GB, KiB, MiB or GiB"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[retry]\nmax_wait = "30"', f"retry.max_wait: {DURATION}{DURATION_UNITS}"),
        ('[retry]\nmax_wait = "-1s"', f"retry.max_wait: {DURATION}{DURATION_UNITS}"),
        ("[retry]\nmax_wait = 30", f"retry.max_wait: {DURATION}, got a whole number"),
        ('[turnout]\nbootstrap_bytes = "64 KiB"', f"turnout.bootstrap_bytes: {SIZE}{SIZE_UNITS}"),
        ("[turnout]\nbootstrap_bytes = -1", f"turnout.bootstrap_bytes: {SIZE}{SIZE_UNITS}"),
        ("[turnout]\nbootstrap_bytes = 1.5", f"turnout.bootstrap_bytes: {SIZE}, got a number"),
        ('[hedge]\nafter = "2"', f"hedge.after: {AFTER}{DURATION_UNITS}"),
        ("[hedge]\nafter = 2", f"hedge.after: {AFTER}, got a whole number"),
        ('[hedge]\nmodels = {m = ""}', f"hedge.models.m: {AFTER}{DURATION_UNITS}"),
    ],
)
def test_a_text_that_is_no_duration_and_no_size_is_told_how_they_are_written(text: str, said: str) -> None:
    """H2: that it is a text is no news where a text is wanted."""
    assert only(text).split("\n")[0].split(": ", 1)[1] == said


def test_two_credentials_with_one_name_are_an_error_naming_both_places() -> None:
    problem = only(
        "[[providers.a.credentials]]\nname = 'same'\napi_key = '1'\n"
        "[[providers.b.credentials]]\nname = 'other'\n"
        "[[providers.b.credentials]]\nname = 'same'\napi_key = '2'\n"
    )

    assert problem.startswith("t.toml:6:1: providers.b.credentials[1]: has the same name as providers.a.credentials[0]")


def test_the_same_credential_twice_is_an_error() -> None:
    """C1.7: both would get one id."""
    entry = "[[providers.a.credentials]]\napi_key = 'key-canary'\n"

    problem = only(entry + entry)

    assert "providers.a.credentials[1]: says the same as providers.a.credentials[0]" in problem
    assert "canary" not in problem


def test_references_are_resolved_in_values_after_parsing(tmp_path: Path) -> None:
    """An environment can never change the shape of the file."""
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")
    environ = {"NAME": 'x"\n[retry]\npasses = 9', "EMPTY": ""}
    text = (
        "[stores.s]\n"
        'plain = "${NAME}"\n'
        'default = "${EMPTY:-fallback}-${NOT_SET:-}"\n'
        f'file = "${{file:{secret}}}"\n'
        'relative = ["<${file:secret}>"]\n'
        'escaped = "$${NAME} $NAME $$"\n'
        '[turnout]\nstore = "s"\n'
    )

    config = parse_config(text, source=str(tmp_path / "t.toml"), environ=environ)

    assert config.retry.passes == 4
    assert dict(config.table("stores", "s")) == {
        "plain": environ["NAME"],
        "default": "fallback-",
        "file": "from-file",
        "relative": ["<from-file>"],
        "escaped": "${NAME} $NAME $$",
    }


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${NOPE}", "the environment variable NOPE is not set; set it, or write ${NOPE:-default}"),
        ("${EMPTY}", "the environment variable EMPTY is empty"),
        ("a ${", "a reference is written ${NAME}"),
        ("${}", "a reference is written ${NAME}"),
        ("${1A}", "a reference is written ${NAME}"),
        ("${NAME:+x}", "a reference is written ${NAME}"),
        ("${file:}", "a reference is written ${NAME}"),
        ("${file:/nope/nope}", "cannot read the file /nope/nope: No such file"),
        ("${file:/dev/null}", "/dev/null is not a regular file"),
        ("${file:.}", "is not a regular file"),
    ],
)
def test_a_reference_that_cannot_be_resolved_is_named(reference: str, said: str) -> None:
    """Bad input: a missing environment variable by name."""
    problem = only(f'[providers.a]\n[[providers.a.credentials]]\napi_key = "{reference}"', {"EMPTY": "", "NAME": "x"})

    assert problem.startswith("t.toml:3:11: providers.a.credentials[0].api_key: ")
    assert said in problem


def test_a_reference_that_cannot_be_resolved_leaves_the_others_resolved_and_nothing_else_is_told() -> None:
    """H2: what stands there unresolved is not judged, and what is resolved beside it is judged by what it is."""
    text = """
[turnout]
selector = "${NOPE}"
[selectors.weighted]
[providers.a]
[[providers.a.credentials]]
base_url = "${URL}"
headers = {x = "${NOPE}"}
priority = "${NUMBER}"
"""
    told = problems(text, {"URL": "http://a.example", "NUMBER": "1"})

    assert [one.split(": ")[1].removeprefix("providers.a.credentials[0].") for one in told] == [
        "turnout.selector",
        "headers.x",
        "priority",
    ]


@pytest.mark.parametrize("environ", [{}, {"A": "x"}])
def test_a_reference_within_a_default_is_refused_whether_it_would_be_needed_or_not(environ: dict[str, str]) -> None:
    """Else its text would be the value: a client key, say, that everybody can read here."""
    assert "a default holds no reference of its own" in only('[turnout]\nstore = "${A:-${B}}"', environ)


@pytest.mark.parametrize(("content", "said"), [(b"\xff", "is not UTF-8"), (b"x" * 65537, "is larger than 64 KiB")])
def test_a_secret_file_that_cannot_be_a_secret_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "secret").write_bytes(content)

    (problem,) = problems('[turnout]\nstore = "${file:secret}"', source=str(tmp_path / "t.toml"))

    assert said in problem


def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    (problem,) = problems('[turnout]\nstore = "${file:pipe}"', source=str(tmp_path / "t.toml"))

    assert "is not a regular file" in problem


CANARY = "canary-5aB3xyz"
PLACES_FOR_SECRETS = [
    '[providers.a]\n[[providers.a.credentials]]\napi_keyy = "{}"',
    '[providers.a]\n[[providers.a.credentials]]\napi_key = ["{}"]',
    '[providers.a]\n[[providers.a.credentials]]\napi_key = " {}"',
    '[providers.a]\n[[providers.a.credentials]]\nproxy_url = "user:{}@host"',
    "[providers.a]\ncredentials = [{{ api_key = '{}', prio = 3 }}]",
    '[providers.a]\ncredentials = "{}"',
    '[providers.a]\n[[providers.a.credentials]]\npriority = "1" # was {}',
    '[providers.a]\n[[providers.a.credentials]]\nheaders = {{ Authorization = 1, x = "{}" }}',
    '[providers.a]\n[[providers.a.credentials]]\nheaders = {{ "a b" = "{}" }}',
    '[providers.a]\n[[providers.a.credentials]]\nheaders = {{ X-Token = ["{}"] }}',
    '[providers.a]\n[[providers.a.credentials]]\nattributes = {{ source = "{}" }}',
    "[providers.a]\n[[providers.a.credentials]]\napi_key = {}",
    "[providers.a]\n[[providers.a.credentials]]\napi_key = '{}",
    "[providers.a]\n[[providers.a.credentials]]\napi_key = '''{}''' x",
    '[providers.a]\n[[providers.a.credentials]]\napi_key = """\n{}\n"""',
    '[frontend.http]\nkeys = ["{}"]',
    "[turnout]\nstore = '{}'\n[stores.files]\nmaster_key = '{}'",
    "[retry]\npasses = 1\nmax_wait = '${{X:-{}}}'",
    "[retry]\npasses = '${{VAR}}'",
    "[retry]\nmax_wait = '${{VAR}}'",
    "[providers.a]\n[[providers.a.credentials]]\nbase_url = '${{VAR}}'",
    "x = " + "9" * 5000 + "\napi_key = {}",
    *(
        f"[providers.a]\n[[providers.a.credentials]]\nattributes = {value}"
        for value in (
            '{{ a = """\n{}""", b = 1 }}',
            "{{ a = '''\n{}''', b = 1 }}",
            '{{ a = """x\n[{}]""", b = 1 }}',
            "{{ a = \"\"\"x\n'''\n{}''' \"\"\", b = 1 }} # '",
            '{{ a = """x\n{}""" 1 }}',
            '{{ a = """x\n{}',
            '{{ a = """x\n{}\\',
            '{{ a = """x\n{}\\q""" }}',
            '{{ a = """x\n{}\\u12""" }}',
            '{{ a = """x\n{}\x01""" }}',
            '{{ a = """x"""", b = "{}", c = 1 }}',
            '{{ a = """x""""", b = "{}", c = 1 }}',
            "{{ a = '''x'''', b = '{}', c = 1 }}",
            '{{ a = "{}\\',
        )
    ),
]


@pytest.mark.parametrize("text", PLACES_FOR_SECRETS)
def test_no_secret_is_echoed_whatever_is_wrong_around_it(text: str) -> None:
    """S4, S40: neither values of the environment nor texts of the file that may be secrets."""
    found = "\n".join(problems(text.format(CANARY, CANARY), {"VAR": CANARY}))

    assert CANARY not in found


def test_a_line_that_ends_a_text_of_several_lines_shows_what_follows_it() -> None:
    text = '[providers.a]\n[[providers.a.credentials]]\nattributes = { a = """\nlong secret""", b = 1 }'

    assert only(text).split("\n", 1)[1] == "    ***, b = 1 }\n             ^"


def test_a_harmless_text_that_is_the_point_is_shown_with_its_reference_unresolved() -> None:
    assert "\n    passes = '4'\n" in only("[retry]\npasses = '4'")
    assert '\n    headers = "soon"\n' in only('[deadlines]\nheaders = "soon"')
    assert "\n    passes = '${VAR}'\n" in only("[retry]\npasses = '${VAR}'", {"VAR": "4"})


def judged(text: str) -> tuple[str, ...]:
    """Problems, none when it is a configuration."""
    try:
        parse_config(text)
    except ConfigError as error:
        return error.problems or ("an error without a problem",)
    return ()


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_an_error_with_problems(text: str) -> None:
    """H2."""
    assert all(problem.startswith("turnout.toml:") for problem in judged(text))


SECTIONS = ("turnout", "retry", "health", "deadlines", "affinity", "hedge", "providers", "frontends", "stores")
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["30s", "1KiB", "${A}", "${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "name", "plugin"]), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(SECTIONS),
        VALUES
        | st.dictionaries(st.sampled_from(["passes", "store", "a", "credentials", "models"]), VALUES, max_size=3),
        max_size=3,
    )
)
def test_any_tree_is_a_configuration_or_an_error_with_places(tree: dict[str, object]) -> None:
    """H2: whatever the types, each problem is found and has its line."""
    assert all(re.match(r"turnout\.toml:\d+:\d+: ", problem) for problem in judged(tomlkit.dumps(tree)))
