"""What plugin authors test with: scripted providers, a memory store, conformance checks, scenarios."""

from turnout.testing._check_frontend import FrontendClient, Refused, check_frontend
from turnout.testing._check_observer import check_observer
from turnout.testing._check_provider import check_provider
from turnout.testing._check_selector import check_selector
from turnout.testing._check_transport import check_transport
from turnout.testing._given import given
from turnout.testing._house import scripted_kernel, scripted_plugins
from turnout.testing._open_plugin import open_plugin
from turnout.testing._report import Called, Report, Result, Seen
from turnout.testing._scenario import Scenario
from turnout.testing._scenes import CANARY, Scene, UpstreamDouble
from turnout.testing._scripted import Script, ScriptedProvider
from turnout.testing._scripted_switch import ScriptedSwitch
from turnout.testing._simulation import Simulated, simulate
from turnout.testing._stage import Renewal
from turnout.testing._steps import (
    Announce,
    Count,
    Disable,
    Enable,
    Execute,
    Inspect,
    Models,
    Pick,
    Play,
    RecordOutcome,
    Refresh,
    Register,
    Reload,
    Remove,
    Reset,
    Series,
    Step,
    Stick,
    Stream,
    Together,
    Update,
    Wait,
)
from turnout.testing._store import MemoryStore, check_store

__all__ = [  # noqa: RUF022 # in plain order: constants have no place of their own
    "Announce",
    "CANARY",
    "Called",
    "Count",
    "Disable",
    "Enable",
    "Execute",
    "FrontendClient",
    "Inspect",
    "MemoryStore",
    "Models",
    "Pick",
    "Play",
    "RecordOutcome",
    "Refresh",
    "Refused",
    "Register",
    "Reload",
    "Remove",
    "Renewal",
    "Report",
    "Reset",
    "Result",
    "Scenario",
    "Scene",
    "Script",
    "ScriptedProvider",
    "ScriptedSwitch",
    "Seen",
    "Series",
    "Simulated",
    "Step",
    "Stick",
    "Stream",
    "Together",
    "Update",
    "UpstreamDouble",
    "Wait",
    "check_frontend",
    "check_observer",
    "check_provider",
    "check_selector",
    "check_store",
    "check_transport",
    "given",
    "open_plugin",
    "scripted_kernel",
    "scripted_plugins",
    "simulate",
]
