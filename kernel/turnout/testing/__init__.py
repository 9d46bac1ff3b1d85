"""What plugin authors test with: scripted providers, a memory store, conformance checks."""

from turnout.testing._check_provider import check_provider
from turnout.testing._check_transport import check_transport
from turnout.testing._given import given
from turnout.testing._house import scripted_kernel, scripted_plugins
from turnout.testing._scenes import CANARY, Scene, UpstreamDouble
from turnout.testing._scripted import Script, ScriptedProvider
from turnout.testing._store import MemoryStore, check_store

__all__ = [
    "CANARY",
    "MemoryStore",
    "Scene",
    "Script",
    "ScriptedProvider",
    "UpstreamDouble",
    "check_provider",
    "check_store",
    "check_transport",
    "given",
    "scripted_kernel",
    "scripted_plugins",
]
