"""Selectors: round robin and fill first."""
