"""Selectors: who is next among the ready credentials. Who is ready is the kernel's to know (O6)."""

from turnout_selectors._fastest import Fastest, FastestSettings
from turnout_selectors._fill_first import FillFirst
from turnout_selectors._least_busy import LeastBusy
from turnout_selectors._round_robin import RoundRobin
from turnout_selectors._sticky import Sticky
from turnout_selectors._weighted import Weighted, WeightedSettings

__all__ = [
    "Fastest",
    "FastestSettings",
    "FillFirst",
    "LeastBusy",
    "RoundRobin",
    "Sticky",
    "Weighted",
    "WeightedSettings",
]
