import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from turnout import CredentialState, ErrorRecord, ModelState, Record, Secret, Status
from turnout._cli import main, turnout
from turnout._cli_credentials import credentials
from turnout._cli_errors import exit_code_of
from turnout._cli_run import serve
from turnout._config import parse_config
from turnout._inspect import inspect
from turnout._plugins import Plugins
from turnout._records import encode_credential, encode_state
from turnout._values import Credential
from turnout.abc import PluginContext, Switch
from turnout.errors import ConfigError, PluginError, StoreError
from turnout.testing import MemoryStore, ScriptedProvider, given
from turnout.testing._house import InTurn, NoTransport

HEAD = '[turnout]\nselector = "in-turn"\nstore = "memory"\ntransport = "none"\ndrain = "1s"\n'
TEXT = f"""{HEAD}
[frontends.door]
[providers.acme]
[[providers.acme.credentials]]
name = "one"
api_key = "sk-canary"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in an empty directory without a configuration anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TURNOUT_CONFIG", "XDG_CONFIG_HOME", "TURNOUT_DISABLE_PLUGINS", "TURNOUT_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)

    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    return ran


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a distribution of plugins on the path: real metadata, a real module."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def installed(dist: str, entries: str, source: str) -> None:
        module = dist.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return installed


HOUSE = """
[turnout.selectors]
in-turn = acme_house:Selector
[turnout.stores]
memory = acme_house:Store
[turnout.transports]
none = acme_house:Transport
[turnout.frontends]
door = acme_house:Door
[turnout.providers]
acme = acme_house:Provider
"""
HOUSE_SOURCE = """
from turnout.testing import MemoryStore as Store, ScriptedProvider as Provider
from turnout.testing._house import InTurn as Selector, NoTransport as Transport
class Door:
    api = 1
    async def serve(self, switch, *, task_status):
        task_status.started(("http://127.0.0.1:1",))
        await switch.wait_draining()
"""

# --- How it speaks ---------------------------------------------------------------------------------------------------


def test_help_lists_the_commands_and_those_of_plugins_without_importing_them(
    run: Run, install: Callable[..., None]
) -> None:
    """S64; issue item 8."""
    install("acme-extra", "[turnout.commands]\nextra = acme_extra:extra\n", "raise SystemExit('imported')")

    code, out, err = run("--help")

    assert (code, err) == (0, "")
    for name in ("run", "check", "plugins", "credentials"):
        assert f"\n  {name} " in out
    assert "extra        From acme-extra." in out
    assert "Exit codes: 0 done" in out


def test_a_command_of_a_plugin_is_imported_when_it_is_called(run: Run, install: Callable[..., None]) -> None:
    source = "import click\n@click.command()\n@click.argument('word')\ndef extra(word):\n    click.echo(word * 2)\n"
    install("acme-extra", "[turnout.commands]\nextra = acme_extra:extra\nrun = acme_extra:extra\n", source)

    assert run("extra", "ho") == (0, "hoho\n", "")
    assert run("run", "--help")[1].startswith("Usage: turnout run ")  # a plugin cannot take over one of ours


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('x')", "command 'extra' (from acme-extra 1.0): its module failed: RuntimeError: x"),
        ("extra = 1", "command 'extra': its entry point must name a click command"),
    ],
)
def test_a_broken_command_of_a_plugin_is_told_in_one_paragraph(
    run: Run, install: Callable[..., None], source: str, said: str
) -> None:
    install("acme-extra", "[turnout.commands]\nextra = acme_extra:extra\n", source)

    code, out, err = run("extra")

    assert (code, out) == (1, "")
    assert err.startswith(f"turnout: {said}")
    assert err.count("\n") == 1


def test_safe_mode_does_not_run_a_command_of_a_plugin(run: Run, install: Callable[..., None]) -> None:
    install("acme-extra", "[turnout.commands]\nextra = acme_extra:extra\n", "raise SystemExit('imported')")

    assert run("--safe", "extra") == (1, "", "turnout: command 'extra' (from acme-extra 1.0): disabled by --safe\n")


def test_the_version_is_that_of_the_distribution(run: Run) -> None:
    code, out, _ = run("--version")

    assert code == 0
    assert out.strip().replace(".", "").isdecimal()


@pytest.mark.parametrize("arguments", [["frobnicate"], ["check", "--frobnicate"], ["check", "a", "b"], []])
def test_wrong_usage_exits_with_2(run: Run, arguments: Sequence[str]) -> None:
    code, out, err = run(*arguments)

    assert code == 2
    assert out == ""
    assert "Usage: turnout" in err


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


IN_USE = OSError(errno.EADDRINUSE, "Address already in use: 127.0.0.1:8080")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(["a:1:2: x: bad"]), 3, "turnout: a problem in the configuration\n\na:1:2: x: bad\n"),
        (ConfigError(["a", "b"]), 3, "turnout: 2 problems in the configuration\n\na\n\nb\n"),
        (PluginError("broke", group="turnout.stores", name="s"), 1, "turnout: store 's': broke\n"),
        (StoreError("no room"), 1, "turnout: no room\n"),
        (IN_USE, 1, "turnout: [Errno 98] Address already in use: 127.0.0.1:8080\n"),
        (
            ExceptionGroup("g", [ValueError(), ExceptionGroup("h", [IN_USE, StoreError("first")])]),
            1,
            "turnout: first\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130, ""),
        (click.Abort(), 130, ""),
        (click.exceptions.Exit(7), 7, ""),
        (click.ClickException("from a plugin"), 1, "Error: from a plugin\n"),
    ],
)
def test_every_failure_is_one_paragraph_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    """Errors are one paragraph, never a traceback, never an ExceptionGroup."""
    assert exit_code_of(raising(error)) == code
    assert capsys.readouterr().err == said


def test_an_unexpected_error_is_told_without_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4: nobody has removed secrets from it."""
    monkeypatch.delenv("TURNOUT_TRACEBACK", raising=False)
    assert exit_code_of(raising(ExceptionGroup("g", [KeyError("sk-canary")]))) == 1
    told = capsys.readouterr().err
    assert told.startswith("turnout: unexpected KeyError")
    assert "canary" not in told

    monkeypatch.setenv("TURNOUT_TRACEBACK", "1")
    assert exit_code_of(raising(KeyError("x"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    """`turnout plugins | head`."""
    script = "import sys; sys.argv = ['turnout', 'plugins', '--json']; from turnout._cli import main; main()"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
        )
    finally:
        os.close(writing)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


# --- check and plugins -----------------------------------------------------------------------------------------------


def test_check_says_what_is_fine(run: Run, install: Callable[..., None], tmp_path: Path) -> None:
    install("acme-house", HOUSE, HOUSE_SOURCE)
    (tmp_path / "turnout.toml").write_text(TEXT)

    assert run("check") == (0, "turnout.toml: fine (1 provider, 1 credential, 1 frontend)\n", "")
    assert json.loads(run("check", "--json")[1]) == {"ok": True, "problems": []}


def test_check_tells_every_problem_of_the_file_and_exits_with_3(run: Run, tmp_path: Path) -> None:
    """H2."""
    (tmp_path / "x.toml").write_text('[turnout]\nselectr = "a"\n[retry]\npasses = "${NOPE_NOPE}"\n')

    code, out, err = run("check", "x.toml")

    assert (code, out) == (3, "")
    assert err.startswith("turnout: 3 problems in the configuration\n\nx.toml:2:1: turnout.selectr: ")
    assert "\n\nx.toml:4:10: retry.passes: the environment variable NOPE_NOPE is not set" in err
    assert err.endswith(
        "\n\nx.toml: frontends: no frontend is named, so nobody could be served; add [frontends.http]\n"
    )


def test_check_tells_problems_of_plugins_tables_beside_those_of_the_kernels_in_the_order_of_the_file(
    run: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    """H2: each once; what only follows from a reference that cannot be resolved is not told."""
    strict = """
import attrs
from turnout import Secret
@attrs.frozen(kw_only=True)
class Settings:
    words: tuple[Secret, ...] = attrs.field(validator=attrs.validators.max_len(1))
    count: int = attrs.field(default=1, validator=attrs.validators.ge(1))
Door.Settings = Settings
"""
    install("acme-house", HOUSE, HOUSE_SOURCE + strict)
    door = '[frontends.door]\nwords = ["${NOPE_NOPE}", "b"]\ncount = 0\nsince = 2026-11-23\n'
    acme = "[providers.acme]\npriority = true\nodd = 1\n[providers.other]\n[[providers.other.credentials]]\nlabel = 1\n"
    (tmp_path / "x.toml").write_text(
        HEAD + 'drian = "1s"\n' + door + acme + "[retry]\npasses = 0\n[hedge]\nshare = 2\n"
    )

    problems = json.loads(run("check", "x.toml", "--json")[1])["problems"]

    places = [re.match(r"x.toml:(\d+):\d+: (\S+): ", problem) for problem in problems]
    assert [(int(place[1]), place[2]) for place in places if place] == [
        (6, "turnout.drian"),
        (8, "frontends.door.words[0]"),
        (9, "frontends.door.count"),
        (10, "frontends.door.since"),
        (12, "providers.acme.priority"),
        (13, "providers.acme.odd"),
        (15, "providers.other"),
        (16, "providers.other.credentials[0].label"),
        (18, "retry.passes"),
        (20, "hedge.share"),
        (20, "hedge.share"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (TEXT, 0, ""),
        (HEAD, 3, "x.toml: frontends: no frontend is named, so nobody could be served"),
        (HEAD + "[frontends]\ndoor = 3", 3, "frontends.door: expected a table"),
        ("", 3, "no frontend is named"),
    ],
)
def test_check_refuses_what_would_serve_nobody(
    run: Run, install: Callable[..., None], tmp_path: Path, text: str, code: int, said: str
) -> None:
    install("acme-house", HOUSE, HOUSE_SOURCE)
    (tmp_path / "x.toml").write_text(text)

    found, _, err = run("check", "x.toml")

    assert found == code
    assert said in err
    assert err.count("x.toml:") == (code == 3)


def test_an_address_in_two_tables_is_refused_before_the_system_does(
    run: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    """H2: also where it is a default of both, so no key of the file names it; one table is not told of itself."""
    listens = "    @classmethod\n    def listens(cls, settings):\n        return [settings.at, 'b:1', 'b:1']\n"
    strict = "import attrs\n@attrs.frozen\nclass Settings:\n    at: str = 'a:1'\nDoor.Settings = Settings\n"
    install("acme-house", HOUSE, HOUSE_SOURCE + listens + strict)
    more = '[frontends.gate]\nplugin = "door"\nat = "a:2"\n[frontends.porch]\nplugin = "door"\n'
    (tmp_path / "one.toml").write_text(TEXT)
    (tmp_path / "x.toml").write_text(TEXT + more)

    assert run("check", "one.toml")[0] == 0
    code, out, _ = run("check", "x.toml", "--json")

    assert code == 3
    assert [problem.split("\n")[0] for problem in json.loads(out)["problems"]] == [
        f"x.toml:{line}:1: frontends.{key}: it listens where [frontends.door] does; give each an address of its own"
        for line, key in ((12, "gate"), (15, "porch"))
    ]


def test_aliases_of_a_channel_that_no_provider_declares_are_refused(
    run: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    """C7.5.1; a key that never takes effect is an error."""
    channel = "from turnout._names import Channel\nclass Provider(Provider):\n    channel = Channel('Letters')\n"
    install("acme-house", HOUSE, HOUSE_SOURCE + channel)
    aliases = "".join(f'[[oauth_aliases.{key}]]\nname = "a"\nalias = "b"\n' for key in ("letters", "leters"))
    (tmp_path / "x.toml").write_text(TEXT + aliases)

    code, _, err = run("check", "x.toml")

    assert code == 3
    assert err.startswith(
        "turnout: a problem in the configuration\n\nx.toml:15:1: oauth_aliases.leters: this never takes effect: "
        "no provider's plugin declares this channel; known here: letters\n"
    )


def test_whether_the_configuration_can_be_read_is_not_for_the_command_line_to_judge() -> None:
    """An unreadable one is a wrong configuration, exit code 3, and no wrong usage. Root can read all: no file here."""
    commands = [*turnout.commands.values(), *credentials.commands.values()]
    kinds = [parameter.type for command in commands for parameter in command.params if parameter.name == "config"]

    assert len(kinds) > 10
    assert all(isinstance(kind, click.Path) and not kind.readable for kind in kinds)


def test_check_loads_the_named_plugins_and_checks_their_settings(
    run: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    """H2: dangling reference; H11."""
    install("acme-house", HOUSE, HOUSE_SOURCE)
    (tmp_path / "x.toml").write_text(TEXT.replace('"in-turn"', '"in-trun"').replace(".door]", ".door]\nlisten = 1"))

    code, out, _ = run("check", "x.toml", "--json")
    found = json.loads(out)

    assert (code, found["ok"]) == (3, False)
    assert len(found["problems"]) == 2
    assert any('not installed; did you mean "in-turn"?' in problem for problem in found["problems"])
    assert any("frontends.door.listen: the frontend 'door' takes no settings" in one for one in found["problems"])


def test_plugins_lists_what_is_installed_with_broken_ones(
    run: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    """H11; `turnout plugins` works with broken plugins installed."""
    install("acme-house", HOUSE, HOUSE_SOURCE)
    install("acme-broken", "[turnout.observers]\nbad = acme_broken:X\nunused = acme_broken:X\n", "raise SystemExit(9)")
    (tmp_path / "turnout.toml").write_text(TEXT + "[observers.bad]\n[observers.gone]\n")

    code, out, err = run("plugins", "--json")
    states = {(one["group"], one["name"]): (one["state"], one["reason"]) for one in json.loads(out)}

    assert (code, err) == (0, "")
    assert states["turnout.selectors", "in-turn"] == ("in use", "")
    assert states["turnout.observers", "unused"] == ("available", "")
    assert states["turnout.observers", "bad"][0] == "broken"
    assert "SystemExit" in states["turnout.observers", "bad"][1]
    assert states["turnout.observers", "gone"] == ("broken", "not installed; installed: bad, prometheus, unused")
    assert "selector" in run("plugins")[1]


def test_plugins_check_loads_each_installed_plugin_on_its_own(run: Run, install: Callable[..., None]) -> None:
    """H8, H11: one that is broken hides no other."""
    install("acme-house", HOUSE, HOUSE_SOURCE)
    install("acme-broken", "[turnout.observers]\nbad = acme_broken:X\n", "raise SystemExit(9)")
    install("acme-old", "[turnout.stores]\nold = acme_old:X\n", "class X:\n    api = 0")

    code, out, err = run("plugins", "--check", "--json")
    states = {(one["group"], one["name"]): (one["state"], one["reason"]) for one in json.loads(out)}

    assert (code, err) == (1, "")
    assert states["turnout.selectors", "in-turn"] == ("available", "")
    assert states["turnout.observers", "bad"][0] == "broken"
    assert "SystemExit" in states["turnout.observers", "bad"][1]
    assert states["turnout.stores", "old"][0] == "broken"
    assert "upgrade the plugin" in states["turnout.stores", "old"][1]


def test_plugins_works_without_a_configuration_and_in_safe_mode(run: Run, install: Callable[..., None]) -> None:
    install("acme-house", HOUSE, HOUSE_SOURCE)

    code, out, err = run("plugins")
    assert code == 0
    assert "in-turn" in out
    assert err.startswith("turnout: without the configuration, what is in use is not known: no configuration found; ")
    assert "or write one of\n    turnout.toml\n" in err

    _, out, _ = run("--safe", "plugins")
    assert "disabled: by --safe" in out
    assert "acme_house" not in sys.modules


# --- credentials -----------------------------------------------------------------------------------------------------

COOLING = CredentialState(
    status=Status.ERROR,
    models={
        "m": ModelState(next_retry_after=5e9, last_error=ErrorRecord(code="rate_limited", message="slow down")),
        "past": ModelState(next_retry_after=1.0),
    },
)


def stored() -> MemoryStore:
    other = Credential(id="other", provider="claude", api_key=Secret("sk-other-canary"), disabled=True)
    return MemoryStore(
        [
            Record(kind="state", id="one", data=encode_state(COOLING), version=1),
            Record(kind="secret", id="other", data=encode_credential(other), version=1),
            Record(kind="secret", id="torn", data=b"{", version=1),
        ]
    )


async def test_an_inspection_reads_the_file_and_the_store_and_leaves_nothing_open() -> None:
    store = stored()

    found = await inspect(parse_config(TEXT), Plugins.of({"stores": {"memory": given(store)}}))

    assert [(seen.credential.id, seen.source) for seen in found.seen] == [("one", "file"), ("other", "store")]
    assert found.seen[0].state is not None
    assert found.seen[0].state.models["m"].last_error == COOLING.models["m"].last_error
    assert (found.damaged, found.unread) == (("torn",), "")


@asynccontextmanager
async def refusing(settings: object, context: PluginContext) -> AsyncIterator[MemoryStore]:
    raise StoreError("another process uses it")
    yield MemoryStore()


async def test_a_store_that_cannot_be_read_hides_nothing_of_the_file() -> None:
    locked = given(stored())
    locked.open = refusing  # type: ignore[attr-defined]  # a plugin's class may have it

    found = await inspect(parse_config(TEXT), Plugins.of({"stores": {"memory": locked}}))

    assert [(seen.credential.id, seen.state) for seen in found.seen] == [("one", None)]
    assert found.unread == "another process uses it"


async def test_an_inspection_needs_a_usable_store() -> None:
    with pytest.raises(PluginError, match="not installed"):
        await inspect(parse_config(TEXT), Plugins.of({}))


def test_credentials_are_listed_and_shown_without_their_secrets(
    run: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    """S4; status, cooldowns, masked keys."""
    store = f"""
from turnout import Record
class Store(Store):
    def __init__(self):
        super().__init__([Record(kind="state", id="one", data={encode_state(COOLING)!r}, version=1)])
"""
    install("acme-house", HOUSE, HOUSE_SOURCE + store)
    (tmp_path / "turnout.toml").write_text(TEXT)

    code, out, err = run("credentials", "list", "--json")
    (one,) = json.loads(out)
    assert (code, err) == (0, "")
    assert (one["id"], one["provider"], one["status"], one["key"]) == ("one", "acme", "error", "***")
    (cooldown,) = one["cooldowns"]
    assert (cooldown["model"], cooldown["reason"]) == ("m", "rate_limited: slow down")

    _, listed, _ = run("credentials", "list")
    _, shown, _ = run("credentials", "show", "one")
    assert re.search(
        r"^one  acme      error   \*\*\*  m until 20\d\d-\d\d-\d\dT[\d:]+Z \(\d+ s\)$", listed, re.MULTILINE
    )
    assert "key:              ***" in shown
    assert "canary" not in out + listed + shown


@pytest.mark.parametrize(
    ("refused", "status", "message"), [("", "needs_login", "invalid_grant: ended"), ("another", "active", "")]
)
def test_a_credential_that_needs_a_login_is_listed_as_such(
    run: Run, install: Callable[..., None], tmp_path: Path, refused: str, status: str, message: str
) -> None:
    """E7: with the reason; not when it has got another secret than the one that was refused."""
    state = CredentialState(needs_login="invalid_grant: ended", refused=refused)
    store = f"""
from turnout import Record
class Store(Store):
    def __init__(self):
        super().__init__([Record(kind="state", id="one", data={encode_state(state)!r}, version=1)])
"""
    install("acme-house", HOUSE, HOUSE_SOURCE + store)
    (tmp_path / "turnout.toml").write_text(TEXT)

    shown = json.loads(run("credentials", "show", "one", "--json")[1])
    assert (shown["status"], shown["message"]) == (status, message)
    assert status in run("credentials", "list")[1]


@pytest.mark.parametrize("command", ["show", "refresh", "remove", "enable", "disable", "reset", "export"])
def test_an_unknown_credential_fails_alike_in_every_command(
    run: Run, install: Callable[..., None], tmp_path: Path, command: str
) -> None:
    """Exit code 1: the command line is right, what it asks for is not there."""
    install("acme-house", HOUSE, HOUSE_SOURCE)
    (tmp_path / "turnout.toml").write_text(TEXT)

    code, out, err = run("credentials", command, "two")

    assert (code, out) == (1, "")
    assert err.startswith("turnout: there is no credential 'two'")
    assert err.count("\n") == 1
    if command == "show":
        assert err.endswith("; known: one\n")


# --- run -------------------------------------------------------------------------------------------------------------


class Door:
    """A frontend that serves until draining, or longer when it is told to hang."""

    api = 1
    hangs = False
    starts = True

    async def serve(self, switch: Switch, *, task_status: "trio.TaskStatus[Sequence[str]]") -> None:
        if not self.starts:
            await trio.sleep_forever()
        task_status.started(("http://127.0.0.1:1", "http://[::1]:1"))
        await switch.wait_draining()
        if self.hangs:
            await trio.sleep_forever()


def plugins(door: type[Door] = Door) -> Plugins:
    return Plugins.of(
        {
            "selectors": {"in-turn": InTurn},
            "stores": {"memory": MemoryStore},
            "transports": {"none": NoTransport},
            "providers": {"acme": ScriptedProvider},
            "frontends": {"door": door},
        }
    )


@pytest.fixture
def quiet_interrupts() -> Iterator[None]:
    """Should a test fail to catch a signal, pytest must not die of it."""
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("quiet_interrupts")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_with_0(capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    """H4: exit code 0. Each address is one line on stdout."""
    codes: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serving, plugins(), codes)
        await wait_all_tasks_blocked(0.05)
        assert capsys.readouterr().out == "serving http://127.0.0.1:1 (door)\nserving http://[::1]:1 (door)\n"
        os.kill(os.getpid(), number)

    assert codes == [0]


async def _serving(found: Plugins, codes: list[int]) -> None:
    codes.append(await serve(parse_config(TEXT), [None], found))


@pytest.mark.usefixtures("quiet_interrupts", "autojump_clock")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(number: signal.Signals) -> None:
    """H5."""

    class Hanging(Door):
        hangs = True

    codes: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serving, plugins(Hanging), codes)
        await wait_all_tasks_blocked(0.05)
        os.kill(os.getpid(), number)
        await wait_all_tasks_blocked(0.05)
        assert codes == []
        began = trio.current_time()
        os.kill(os.getpid(), number)

    assert codes == [128 + number]
    assert trio.current_time() - began < 2


@pytest.mark.usefixtures("quiet_interrupts")
async def test_a_signal_before_anything_is_served_ends_the_start() -> None:
    class Slow(Door):
        starts = False

    codes: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serving, plugins(Slow), codes)
        await wait_all_tasks_blocked(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    assert codes == [0]


def started(folder: Path, first: str = "") -> subprocess.Popen[str]:
    """`turnout run` in a process of its own, in a directory with its configuration and perhaps plugins."""
    command = [sys.executable, "-c", f"{first}\nfrom turnout._cli import main; main(['run'])"]
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_run_refuses_a_configuration_that_serves_nobody(tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").write_text(HEAD)

    with started(tmp_path) as process:
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (3, "")
    assert "no frontend is named, so nobody could be served; add [frontends.http]" in err


def test_run_serves_in_a_process_of_its_own_without_core_dumps_and_with_private_files(
    install: Callable[..., None], tmp_path: Path
) -> None:
    """S70, the cheap parts, and as many descriptors as there may be (A5); a whole process from start to SIGTERM."""
    report = "import os\nfrom resource import *\n" + HOUSE_SOURCE.replace(
        '("http://127.0.0.1:1",)',
        '(f"{os.umask(0o077):o}", str(getrlimit(RLIMIT_CORE)), str(getrlimit(RLIMIT_NOFILE)))',
    )
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))"
    install("acme-house", HOUSE, report)
    (tmp_path / "turnout.toml").write_text(TEXT)

    with started(tmp_path, few) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert lines == ["serving 77 (door)\n", "serving (0, 0) (door)\n", "serving (300, 300) (door)\n"]
    assert "SIGTERM: draining" in err
    assert process.returncode == 0


def test_a_hangup_before_anything_is_served_does_not_end_the_start(
    install: Callable[..., None], tmp_path: Path
) -> None:
    """H1: it asks for what is about to be read anyway. One comes when the file is opened."""
    hangup = "os.path.basename(str(args[0])) == 'turnout.toml' and os.kill(os.getpid(), signal.SIGHUP)"
    hook = f"sys.addaudithook(lambda event, args: event == 'open' and {hangup})"
    install("acme-house", HOUSE, HOUSE_SOURCE)
    (tmp_path / "turnout.toml").write_text(TEXT)

    with started(tmp_path, f"import os, signal, sys\n{hook}") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
        process.communicate(timeout=20)

    assert first == "serving http://127.0.0.1:1 (door)\n"
    assert process.returncode == 0


def test_a_second_signal_ends_the_process_even_if_a_plugin_refuses_to_end(
    install: Callable[..., None], tmp_path: Path
) -> None:
    """H5, H9: less than two seconds."""
    stubborn = "with trio.CancelScope(shield=True):\n            await trio.sleep_forever()"
    install("acme-house", HOUSE, "import trio\n" + HOUSE_SOURCE.replace("await switch.wait_draining()", stubborn))
    (tmp_path / "turnout.toml").write_text(TEXT)

    with started(tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "serving http://127.0.0.1:1 (door)\n"
        process.send_signal(signal.SIGTERM)
        while "draining" not in process.stderr.readline():
            pass
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 143
    assert time.monotonic() - began < 3
    assert "leaving it behind" in err


def test_a_plugin_that_swallows_its_cancellation_is_named_and_left_behind_after_a_drain(
    install: Callable[..., None], tmp_path: Path
) -> None:
    """H9: the process ends in time, and with the exit code of a drain."""
    stubborn = """
import contextlib, trio
class Stubborn:
    api = 1
    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings, context):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cls.linger)
            yield cls()
    @staticmethod
    async def linger():
        while True:
            try:
                await trio.sleep_forever()
            except BaseException:
                await trio.lowlevel.cancel_shielded_checkpoint()
    async def hear(self, event):
        pass
"""
    install("acme-house", HOUSE, HOUSE_SOURCE)
    install("acme-stubborn", "[turnout.observers]\nstubborn = acme_stubborn:Stubborn\n", stubborn)
    (tmp_path / "turnout.toml").write_text(TEXT + "[observers.stubborn]\n")

    with started(tmp_path, "from turnout import _cli_run; _cli_run.CLOSING_LIMIT = 0.5") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving http://127.0.0.1:1 (door)\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 0
    told = next(line for line in err.splitlines() if "leaving it behind" in line)
    assert "observer 'stubborn' (from acme-stubborn 1.0) in linger(), " in told
    assert f"{tmp_path}/site/acme_stubborn.py:15 did not stop within 0.5 s" in told


def test_what_the_system_refuses_is_told_with_the_plugin_it_refused(
    install: Callable[..., None], tmp_path: Path
) -> None:
    """Never an ExceptionGroup, however deep the nurseries."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"import trio; await trio.open_tcp_listeners({taken.getsockname()[1]}, host='127.0.0.1')"
        install("acme-house", HOUSE, HOUSE_SOURCE.replace("task_status.st", f"{bind}\n        task_status.st"))
        (tmp_path / "turnout.toml").write_text(TEXT)
        with started(tmp_path) as process:
            out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1] == "turnout: frontend 'door': raised OSError ([Errno 98] Address already in use)"
    assert "Traceback" not in err
