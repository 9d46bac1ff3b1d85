"""Scripted upstream with faults per request, for the demo, tests and plugin authors."""

from turnout_upstream import plays
from turnout_upstream._json import ScriptError, entry_from_value, script_from_json, script_to_json
from turnout_upstream._log import EndedBy, Ending, Log, Request
from turnout_upstream._script import Cut, How, Play, Point, Rule, Script
from turnout_upstream._upstream import Upstream, open_upstream, refused_url

__all__ = [
    "Cut",
    "EndedBy",
    "Ending",
    "How",
    "Log",
    "Play",
    "Point",
    "Request",
    "Rule",
    "Script",
    "ScriptError",
    "Upstream",
    "entry_from_value",
    "open_upstream",
    "plays",
    "refused_url",
    "script_from_json",
    "script_to_json",
]
