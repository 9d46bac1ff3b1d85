"""Library for provider and frontend authors: HTTP outcomes to verdicts, server-sent events, JSON checks."""
