"""What plugin authors test with: scripted providers, a memory store, conformance checks, scenarios."""

from turnout.testing._check_provider import check_provider
from turnout.testing._check_transport import check_transport
from turnout.testing._given import given
from turnout.testing._house import scripted_kernel, scripted_plugins
from turnout.testing._report import Called, Report, Result, Seen
from turnout.testing._scenario import Scenario
from turnout.testing._scenes import CANARY, Scene, UpstreamDouble
from turnout.testing._scripted import Script, ScriptedProvider
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
    "Inspect",
    "MemoryStore",
    "Models",
    "Pick",
    "Play",
    "RecordOutcome",
    "Refresh",
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
    "Seen",
    "Simulated",
    "Step",
    "Stick",
    "Stream",
    "Together",
    "Update",
    "UpstreamDouble",
    "Wait",
    "check_provider",
    "check_store",
    "check_transport",
    "given",
    "scripted_kernel",
    "scripted_plugins",
    "simulate",
]
