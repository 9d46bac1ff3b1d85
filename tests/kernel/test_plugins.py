import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from turnout import abc
from turnout._plugin_check import LEAVING, REQUIRED, flaw_of, warn_of_parting
from turnout._plugins import Plugins
from turnout.errors import PluginError

Install = Callable[..., Path]


class Selector:
    api = 1

    def select(self, ready: object, ask: object, draw: object) -> None:
        return None


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one selector on the path: real metadata, a real module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(
        dist: str,
        name: str = "x",
        *,
        source: str = "class X:\n    api = 1\n    def select(self, ready, ask, draw): ...\n",
        requires: tuple[str, ...] = (),
        group: str = "turnout.selectors",
    ) -> Path:
        module = dist.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / (module + '.ran'))!r}, 'w').close()\n{source}")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {dist}", "Version: 1.0", *(f"Requires-Dist: {r}" for r in requires)]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:X\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        return tmp_path / f"{module}.ran"

    return installed


def test_discovery_imports_nothing_and_a_load_imports_only_what_it_names(install: Install) -> None:
    """S64: a plugin that the configuration does not name is never imported."""
    wanted, planted = install("acme-wanted", "wanted"), install("acme-planted", "planted")

    plugins = Plugins.discover({})
    listed = [(info.name, info.distribution, info.version, info.state) for info in plugins.describe()]
    assert ("planted", "acme-planted", "1.0", "available") in listed
    assert not wanted.exists()

    assert plugins.load("turnout.selectors", "wanted").__name__ == "X"
    assert wanted.exists()
    assert not planted.exists()


def test_two_distributions_that_claim_one_name_are_an_error_naming_both(install: Install) -> None:
    """H11."""
    ran = install("acme-one", "same"), install("acme-two", "same")
    plugins = Plugins.discover({})

    with pytest.raises(PluginError, match=r"acme-one 1\.0 .* and acme-two 1\.0 .* both claim this name"):
        plugins.load("selectors", "same")

    assert not any(path.exists() for path in ran)
    assert [(info.distribution, info.state) for info in plugins.describe() if info.name == "same"] == [
        ("acme-one", "broken"),
        ("acme-two", "broken"),
    ]


def test_a_claimed_name_does_not_hurt_other_names(install: Install) -> None:
    """H11."""
    install("acme-one", "same")
    install("acme-two", "same")
    install("acme-other", "other")

    assert Plugins.discover({}).load("selectors", "other").__name__ == "X"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('boom\\nsecond line')", r"its module failed: RuntimeError: boom; "),
        ("raise SystemExit(3)", "its module failed: SystemExit: 3"),
        ("raise GeneratorExit", "its module failed: GeneratorExit"),
        ("X = (", "its module failed: SyntaxError"),
        ("import acme_broken.nothing", "cannot be imported: ModuleNotFoundError"),
        ("Y = 1", "its module failed: AttributeError"),
        ("X = 1", "its entry point names int 1, and must name a class"),
        ("class X: ...", "add `api = 1`"),
        ("class X:\n    api = True", "add `api = 1`"),
        ("class X:\n    api = 2", "written for version 2 .* upgrade turnout$"),
        ("class X:\n    api = 0", "written for version 0 .* upgrade the plugin"),
        ("class X:\n    api = 1", "X lacks select, which turnout.abc requires of selectors"),
        ("class X:\n    api = 1\n    select = 3", "X lacks select"),
        ("class X:\n    api = 1\n    select = print\n    Settings = dict", "Settings must be an attrs class"),
        ("class X:\n    api = 1\n    select = print\n    open = 1", "open must be an async context manager"),
    ],
)
def test_a_broken_plugin_is_an_error_that_says_why_and_whence(install: Install, source: str, said: str) -> None:
    """H11: wrong API version; H8: whatever its import raises. `describe` keeps the reason."""
    install("acme-broken", "bad", source=source)
    plugins = Plugins.discover({})

    for _ in range(2):  # the second time from memory
        with pytest.raises(PluginError, match=said) as caught:
            plugins.load("selectors", "bad")
        assert str(caught.value).startswith("selector 'bad' (from acme-broken 1.0): ")

    (info,) = [info for info in plugins.describe() if info.name == "bad"]
    assert info.state == "broken"
    assert info.reason == caught.value.reason


PROVIDER = "class X:\n    api = 1\n    origin = execute = stream = print\n    dialects = {}\n    translated = {}"
SOUND = "frozenset({'openai.chat', 'lines', 'acme.v2_beta'})"


@pytest.mark.parametrize(
    ("dialects", "translated", "said"),
    [
        ("'openai.chat'", SOUND, r"`dialects` must be a frozenset of names, such as .*, not 'openai\.chat'$"),
        ("['openai.chat']", SOUND, r"`dialects` must be a frozenset of names, such as .*, not \['openai\.chat'\]$"),
        ("frozenset({b'openai.chat'})", SOUND, r"`dialects` holds b'openai\.chat', which is no name of a dialect"),
        ("frozenset({'OpenAI Chat'})", SOUND, "`dialects` holds 'OpenAI Chat', which is no name of a dialect"),
        ("frozenset({''})", SOUND, "`dialects` holds '', which is no name of a dialect"),
        (SOUND, "'openai.chat'", "`translated` must be a frozenset of names"),
    ],
)
def test_a_provider_whose_dialects_are_none_is_refused_when_it_is_loaded(
    install: Install, dialects: str, translated: str, said: str
) -> None:
    """H11. A text was taken for a set of letters, and no ask ever reached the provider."""
    install("acme-odd", "odd", group="turnout.providers", source=PROVIDER.format(dialects, translated))

    with pytest.raises(PluginError, match=said) as caught:
        Plugins.discover({}).load("providers", "odd")
    assert str(caught.value).startswith("provider 'odd' (from acme-odd 1.0): ")


@pytest.mark.parametrize("dialects", [SOUND, "frozenset()", "property(lambda self: frozenset())"])
def test_dialects_of_anybody_and_those_that_only_instances_have_are_taken(install: Install, dialects: str) -> None:
    install("acme-own", "own", group="turnout.providers", source=PROVIDER.format(dialects, dialects))

    assert Plugins.discover({}).load("providers", "own").api == 1


def test_an_import_loop_between_plugins_is_reported(install: Install) -> None:
    """H11: cyclic."""
    install("acme-a", "a", source="from acme_b import X")
    install("acme-b", "b", source="from acme_a import X")

    with pytest.raises(PluginError, match="partially initialized module"):
        Plugins.discover({}).load("selectors", "a")


def test_a_missing_dependency_is_named_with_the_distribution_that_needs_it(install: Install) -> None:
    """H11."""
    requires = ("no-such-thing-anywhere>=2", "trio", 'other-missing; extra == "more"')
    install("acme-needy", "needy", source="import no_such_thing_anywhere", requires=requires)

    with pytest.raises(PluginError, match=r"acme-needy 1\.0\): it needs no-such-thing-anywhere, not installed here"):
        Plugins.discover({}).load("selectors", "needy")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, trio.Cancelled])
def test_the_users_interrupt_and_cancellation_pass_through(install: Install, stop: type[BaseException]) -> None:
    raising = "import turnout, trio\n"
    raising += "raise KeyboardInterrupt" if stop is KeyboardInterrupt else "raise trio.Cancelled._create(source='x')"
    install("acme-stop", "stop", source=raising)

    with pytest.raises(stop):
        Plugins.discover({}).load("selectors", "stop")


def test_an_unknown_name_tells_the_nearest_and_lists_what_is_installed() -> None:
    plugins = Plugins.of({"selectors": {"fill-first": Selector, "round-robin": Selector}})

    with pytest.raises(PluginError, match=r'did you mean "round-robin"\? Installed: fill-first, round-robin'):
        plugins.load("selectors", "roundrobin")
    with pytest.raises(PluginError, match=r"not installed; nothing is installed for turnout\.stores"):
        plugins.load("turnout.stores", "redis")


@pytest.mark.parametrize("word", ["x", "acme-off", "*", "other, x ,"])
def test_a_disabled_plugin_is_not_imported(install: Install, word: str) -> None:
    ran = install("acme-off", "x")
    plugins = Plugins.discover({"TURNOUT_DISABLE_PLUGINS": word})

    with pytest.raises(PluginError, match="disabled by TURNOUT_DISABLE_PLUGINS"):
        plugins.load("selectors", "x")

    assert not ran.exists()
    assert [info.state for info in plugins.describe() if info.name == "x"] == ["disabled"]


def test_safe_mode_imports_no_plugin_at_all(install: Install) -> None:
    ran = install("acme-off", "x")

    with pytest.raises(PluginError, match="disabled by --safe"):
        Plugins.discover({}, safe=True).load("selectors", "x")

    assert not ran.exists()


def test_classes_can_be_given_directly_and_are_checked_like_installed_ones() -> None:
    plugins = Plugins.of({"selectors": {"mine": Selector, "bad": object}})

    assert plugins.load("turnout.selectors", "mine") is Selector
    with pytest.raises(PluginError, match="add `api = 1`"):
        plugins.load("selectors", "bad")
    assert [(info.name, info.state) for info in plugins.describe()] == [("bad", "broken"), ("mine", "in use")]


def test_the_listing_has_one_order_whatever_the_order_of_installation(install: Install) -> None:
    """H11: order deterministic."""
    for number in (3, 1, 2):
        install(f"acme-{number}", f"name-{number}")
    install("acme-store", "a", group="turnout.stores")

    infos = [info for info in Plugins.discover({}).describe() if info.distribution.startswith("acme-")]

    assert [(info.group, info.name) for info in infos] == [
        ("turnout.selectors", "name-1"),
        ("turnout.selectors", "name-2"),
        ("turnout.selectors", "name-3"),
        ("turnout.stores", "a"),
    ]


def test_the_required_members_are_those_of_the_protocols() -> None:
    protocols = {
        "turnout.providers": abc.Provider,
        "turnout.selectors": abc.Selector,
        "turnout.stores": abc.Store,
        "turnout.transports": abc.Transport,
        "turnout.frontends": abc.Frontend,
        "turnout.observers": abc.Observer,
    }
    for group, protocol in protocols.items():
        declared = {name for name in {**protocol.__annotations__, **vars(protocol)} if not name.startswith("_")}
        assert declared - {"api"} == set(REQUIRED[group])


def test_discovery_loads_no_module_of_the_plugins_that_are_installed_here() -> None:
    """S64, in a fresh interpreter with this tree's own plugins."""
    script = (
        "import sys; from turnout._plugins import Plugins; Plugins.discover({}).describe();"
        "print([name for name in sys.modules if name.startswith('turnout_')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_whose_code_a_module_is_is_known_by_the_plugin_and_where_it_comes_from(install: Install) -> None:
    """H9: its own module first, then the package it lies in; what was not loaded may be in the middle of its import."""
    install("acme-solo", "solo")
    install("acme-sick", "sick", source="raise ValueError")
    plugins = Plugins.discover({})
    assert plugins.owner_of("acme_solo") == "selector 'solo' (from acme-solo 1.0)"

    plugins.load("turnout.selectors", "solo")
    with pytest.raises(PluginError):
        plugins.load("turnout.selectors", "sick")

    assert plugins.owner_of("acme_solo") == "selector 'solo' (from acme-solo 1.0)"
    assert plugins.owner_of("acme_solo.inner") == "selector 'solo' (from acme-solo 1.0)"
    assert plugins.owner_of("acme_solitude") == ""
    assert plugins.owner_of("json.decoder") == ""
    assert plugins.owner_of("turnout._schedule") == "Turnout itself"


def test_of_several_plugins_in_one_package_the_one_whose_module_it_is_is_named() -> None:
    def classes(**modules: str) -> dict[str, type]:
        return {name: type(name, (Selector,), {"__module__": module}) for name, module in modules.items()}

    plugins = Plugins.of({"selectors": classes(one="acme.one", two="acme.two"), "stores": classes(far="else.far")})
    for name in ("one", "two"):
        plugins.load("selectors", name)

    assert plugins.owner_of("acme.two") == "selector 'two'"
    assert plugins.owner_of("acme.both") == "selector 'one' or selector 'two'"
    assert plugins.owner_of("else.far") == ""  # nothing is known of a class that was not asked for


def test_a_version_that_is_about_to_go_is_taken_for_one_release_more_with_a_warning() -> None:
    """There is none so far, so the rule is shown with an imaginary one."""
    old = type("Old", (Selector,), {"api": abc.API - 1})

    assert "upgrade the plugin" in flaw_of("turnout.selectors", old)
    assert flaw_of("turnout.selectors", old, frozenset({abc.API - 1})) == ""
    with pytest.warns(DeprecationWarning, match=f"Old has `api = {abc.API - 1}`, which the next Turnout refuses"):
        warn_of_parting(old, frozenset({abc.API - 1}))
    warn_of_parting(Selector)  # nothing, or pytest would make an error of it
    assert abc.API not in LEAVING
