"""What plugin authors test with: scripted providers, a memory store, conformance checks."""

from turnout.testing._given import given
from turnout.testing._house import scripted_kernel
from turnout.testing._scripted import Script, ScriptedProvider
from turnout.testing._store import MemoryStore, check_store

__all__ = ["MemoryStore", "Script", "ScriptedProvider", "check_store", "given", "scripted_kernel"]
