"""Frontend that serves the usual HTTP APIs."""
