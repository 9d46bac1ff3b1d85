import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

import turnout
from turnout import Metadata, Secret
from turnout._config import Config, credentials_of, load_config, parse_config
from turnout._config_file import find_config, read_text
from turnout._names import ModelEntry
from turnout._sections import Affinity, Health, Hedge, RetryTable, Turnout
from turnout.errors import ConfigError

FULL = """
[turnout]
selector = "fill-first"
store = "redis"
transport = "pool"
drain = "5s"
bootstrap_bytes = "32KiB"
force_model_prefix = true

[retry]
passes = 2
max_wait = "1m30s"
max_credentials = 3
upstream_failures = 0
origin_failures = 1
retry_unsafe = 0
route_429 = true

[health]
keep_last = false
half_open = false
blame_routes = false
hint_cap = "12h"
decay = false
cooling = false

[deadlines]
connect = "250ms"
headers = "1s"
first_payload = "2s"
idle = "3s"
total = "4s"

[affinity]
enabled = false
ttl = "10m"
entries = 5
prefer_tier = false

[hedge]
after = "2s"
share = 0.5

[frontends.http]
listen = ["127.0.0.1:8080"]
keys = ["${DOOR}"]

[providers.openai]
prefix = " /team/ "
priority = 3
excluded_models = ["gpt-3*"]
[[providers.openai.credentials]]
name = "main"
api_key = "${KEY}"
base_url = "https://eu.example.com/v1"
proxy_url = "http://user:${KEY}@proxy:8080"
priority = 10
prefix = "eu"
label = "the first one"
websockets = true
disabled = true
excluded_models = ["o1"]
headers = { "X-Org" = "acme" }
models = [{ name = "gpt-5.2", alias = "smart" }]
attributes = { plan_type = "pro" }
metadata = { disable_cooling = true, request_retry = 2, nested = { a = [1, "b"] } }
[[providers.openai.credentials]]
api_key = "second"
[[providers.openai.models]]
name = "gpt-5.2-mini"
alias = "fast"

[providers.openrouter]
plugin = "openai"
base_url = "https://openrouter.ai/api/v1"
[[providers.openrouter.credentials]]

[[oauth_aliases.claude]]
name = "claude-opus-4-7"
alias = "opus"
fork = true

[stores.redis]
url = "redis://127.0.0.1"
"""

ENVIRON = {"KEY": "sk-canary-1", "DOOR": "door-canary"}


def full() -> Config:
    return parse_config(FULL, environ=ENVIRON)


def test_an_empty_file_means_every_default_of_the_design() -> None:
    """C15; design 11."""
    config = parse_config("")

    assert (config.selector, config.store, config.transport) == ("round-robin", "sqlite", "pool")
    assert (config.drain, config.bootstrap_bytes, config.force_model_prefix) == (60.0, 65536, False)
    assert (config.retry.passes, config.retry.max_wait, config.retry.max_credentials) == (4, 30.0, 0)
    assert (config.retry.upstream_failures, config.retry.origin_failures, config.retry.retry_unsafe) == (3, 2, 1)
    assert config.health.cooling
    assert config.health.hint_cap == 86400.0
    assert (config.limits.connect, config.limits.headers, config.limits.total) == (5.0, 600.0, 3600.0)
    assert (config.affinity.enabled, config.affinity.ttl, config.affinity.entries) == (True, 3600.0, 10_000)
    assert config.hedge.after == "off"
    assert config.providers == ()


def test_every_key_of_the_kernel_sections_arrives_in_its_unit() -> None:
    """C15: each setting of the seed has a place."""
    config = full()

    assert (config.selector, config.store, config.drain, config.bootstrap_bytes) == ("fill-first", "redis", 5.0, 32768)
    assert config.force_model_prefix
    assert config.retry.max_wait == 90.0
    assert (config.retry.passes, config.retry.max_credentials, config.retry.upstream_failures) == (2, 3, 0)
    assert (config.retry.origin_failures, config.retry.retry_unsafe, config.retry.route_429) == (1, 0, True)
    assert not any((config.health.keep_last, config.health.half_open, config.health.blame_routes, config.health.decay))
    assert (config.health.cooling, config.health.hint_cap) == (False, 43200.0)
    assert (config.limits.connect, config.limits.headers, config.limits.first_payload) == (0.25, 1.0, 2.0)
    assert (config.limits.idle, config.limits.total) == (3.0, 4.0)
    assert (config.affinity.enabled, config.affinity.ttl, config.affinity.entries) == (False, 600.0, 5)
    assert not config.affinity.prefer_tier
    assert (config.hedge.after, config.hedge.share) == (2.0, 0.5)
    assert config.oauth_aliases == {"claude": (ModelEntry("claude-opus-4-7", "opus", fork=True),)}


@pytest.mark.parametrize("section", [Turnout, RetryTable, Health, Affinity, Hedge])
def test_every_key_of_a_kernel_section_is_read_by_somebody(section: type[Any]) -> None:
    """Design 18: a key that parses and does nothing. What each of them does has tests of its own."""
    kernel = Path(turnout.__file__).parent
    texts = [path.read_text() for path in kernel.glob("*.py") if path.name not in {"_sections.py", "_config.py"}]
    keys = [field.name for field in attrs.fields(section)]
    assert [key for key in keys if not any(re.search(rf"[\w)]\.{key}\b", text) for text in texts)] == []


def test_a_provider_takes_its_plugin_from_its_key_unless_it_names_one() -> None:
    openai, openrouter = full().providers

    assert (openai.plugin, openai.compat_name, openai.prefix) == ("openai", "", "team")  # C15.1
    assert (openrouter.plugin, openrouter.compat_name) == ("openai", "openrouter")
    assert openai.models == (ModelEntry("gpt-5.2-mini", "fast"),)


def test_a_named_credential_carries_everything_its_entry_says() -> None:
    """C1.17: the attributes with meaning; C1.12.1."""
    main, *_ = credentials_of(full())

    assert (main.id, main.provider, main.label, main.prefix) == ("main", "openai", "the first one", "eu")
    assert main.api_key == Secret("sk-canary-1")
    assert main.proxy_url == Secret("http://user:sk-canary-1@proxy:8080")
    assert main.disabled
    assert main.metadata == Metadata({"disable_cooling": True, "request_retry": 2, "nested": {"a": [1, "b"]}})
    assert dict(main.attributes) == {
        "auth_kind": "apikey",
        "base_url": "https://eu.example.com/v1",
        "excluded_models": "gpt-3*,o1",
        "header:X-Org": "acme",
        "of_file": "true",
        "plan_type": "pro",
        "priority": "10",
        "provider_key": "openai",
        "source": "config:openai",
        "websockets": "true",
    }


def test_a_credential_without_a_name_gets_a_stable_one_and_what_the_provider_says() -> None:
    """C1.7: the id does not depend on the place in the file, so state never moves to another key."""
    _, second, third = credentials_of(full())
    alone = parse_config('[providers.openai]\nprefix = "team"\n[[providers.openai.credentials]]\napi_key = "second"')

    assert second.id == f"openai-{second.index}"
    assert len(second.index) == 16
    assert credentials_of(alone)[0].id == second.id
    assert (second.prefix, second.attributes["priority"], second.attributes["excluded_models"]) == (
        "team",
        "3",
        "gpt-3*",
    )
    assert (third.provider, third.api_key) == ("openrouter", None)
    assert third.attributes["compat_name"] == "openrouter"


def test_entries_and_credentials_keep_the_order_of_the_file() -> None:
    table, entry, credential = full().entries[0]

    assert (table.key, entry.name, credential.id) == ("openai", "main", "main")
    assert [credential.provider for credential in credentials_of(full())] == ["openai", "openai", "openrouter"]


def test_two_configurations_are_equal_when_they_say_the_same() -> None:
    """O64: plugin instances whose tables did not change carry over."""
    spaced = parse_config(FULL.replace(" = ", "   =   "), environ=ENVIRON)
    other = parse_config(FULL, environ={**ENVIRON, "DOOR": "another-door"})

    assert spaced == full()
    assert other != full()
    assert other.table("stores", "redis") == full().table("turnout.stores", "redis")
    assert other.table("frontends", "http") != full().table("frontends", "http")


def test_no_secret_shows_in_the_repr_of_a_configuration() -> None:
    """S4."""
    shown = repr(full()) + str(full()) + repr(credentials_of(full()))

    assert "canary" not in shown


def test_tables_name_the_plugins_that_the_file_switches_on() -> None:
    config = parse_config('[frontends.http]\n[frontends.admin]\nplugin = "http"\n[observers.prometheus]')

    assert config.tables("frontends") == ("http", "admin")
    assert config.tables("turnout.observers") == ("prometheus",)
    assert config.tables("stores") == ()
    assert config.plugin_of("frontends", "admin") == "http"
    assert config.plugin_of("frontends", "http") == "http"
    assert config.plugin_of("stores", "files") == "files"


def test_the_file_is_the_argument_then_the_variable_then_the_usual_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    xdg = tmp_path / "xdg" / "turnout" / "turnout.toml"
    home = tmp_path / "home" / ".config" / "turnout" / "turnout.toml"
    system = tmp_path / "system" / "turnout" / "turnout.toml"
    here = tmp_path / "turnout.toml"
    for place in (xdg, home, system, here):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    environ = {
        "TURNOUT_CONFIG": "named.toml",
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_DIRS": f"relative:{tmp_path / 'system'}",
    }

    assert find_config(Path("argument.toml"), environ) == Path("argument.toml")
    assert find_config(None, environ) == Path("named.toml")
    del environ["TURNOUT_CONFIG"]
    assert find_config(None, environ).resolve() == here
    here.unlink()
    assert find_config(None, environ) == xdg
    del environ["XDG_CONFIG_HOME"]
    assert find_config(None, environ) == home
    del environ["HOME"]
    assert find_config(None, environ) == system


def test_a_search_that_finds_nothing_lists_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match="TURNOUT_CONFIG") as caught:
        find_config(None, {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)})

    assert f"{tmp_path}/.config/turnout/turnout.toml" in str(caught.value)
    assert "/etc/turnout/turnout.toml" in str(caught.value)


def test_a_home_that_cannot_be_looked_into_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of root is after `sudo -u`. Here it is its name that the system refuses."""
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "turnout" / "turnout.toml"
    system.parent.mkdir()
    system.touch()

    assert find_config(None, {"HOME": f"/{'x' * 300}", "XDG_CONFIG_DIRS": str(tmp_path)}) == system


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "turnout.toml"
    path.write_bytes(b'\xef\xbb\xbf[turnout]\r\nstore = "redis"\r\n')

    assert load_config(path, {}).store == "redis"
    assert load_config(path, {}).source == str(path)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.toml: cannot read the configuration: No such file"):
        load_config(tmp_path / "missing.toml", {})


def test_a_directory_is_refused_as_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration: Is a directory"):
        load_config(tmp_path, {})


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "turnout.toml"
    path.write_bytes(b"[turnout]\n\xff")

    with pytest.raises(ConfigError, match=r"turnout.toml:2: the file is not UTF-8 text"):
        load_config(path, {})


def test_a_pipe_is_read_until_its_writer_closes_it(tmp_path: Path) -> None:
    """As the shell makes one of `<(sops -d turnout.toml)`; it is larger than what a pipe holds."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    text = f'# {"x" * 300_000}\n[turnout]\nstore = "redis"\n'

    with ThreadPoolExecutor() as threads:
        written = threads.submit(path.write_text, text)
        config = load_config(path, {})
        written.result()

    assert config.store == "redis"


def test_a_pipe_without_a_writer_is_waited_for_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    with pytest.raises(ConfigError, match=r"pipe: cannot read the configuration: .* was written within 0.01 s"):
        read_text(path, patience=0.01)


def test_a_pipe_that_was_read_already_is_no_empty_configuration() -> None:
    reading, writing = os.pipe()
    os.close(writing)

    try:
        with pytest.raises(ConfigError, match="it is a pipe with nothing in it; what was in one can be read only once"):
            read_text(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)


def test_a_device_that_never_ends_is_refused_at_the_limit() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: this is no configuration: it is larger than 16 MiB"):
        load_config(Path("/dev/zero"), {})


def test_a_pipe_that_never_ends_is_refused_at_the_limit() -> None:
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with pytest.raises(ConfigError, match="it is larger than 16 MiB"):
            read_text(Path(f"/dev/fd/{endless.stdout.fileno()}"))
        endless.kill()
