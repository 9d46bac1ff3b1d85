"""Selectors: round robin and fill first. Both only say whose turn it is; who is ready is the kernel's to know (O6)."""

from turnout_selectors._fill_first import FillFirst
from turnout_selectors._round_robin import RoundRobin

__all__ = ["FillFirst", "RoundRobin"]
