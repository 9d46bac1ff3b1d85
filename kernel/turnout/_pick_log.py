"""One debug line per pick: who is about to be called, in words that are safe anywhere (C14.1 with O62).

A key shows its ends at the most, a login its provider and base name, a proxy its scheme.
"""

import logging

from turnout._readings import account, ident, printable, proxy_label, redact
from turnout._run import Run
from turnout._values import Credential, Secret

log = logging.getLogger("turnout.pick")


def log_pick(run: Run, credential: Credential) -> None:
    """Write the line when somebody reads it; `request_id` is a field of the record."""
    if log.isEnabledFor(logging.DEBUG) and (who := _who(credential)):
        label = proxy_label(credential)
        via = f" {label}" if label else ""
        line = printable(f"Use {who} for model {run.ask.model}{via}")
        log.debug("%s", line, extra={"request_id": run.id})


def _who(credential: Credential) -> str:
    known = account(credential)
    if isinstance(known.identity, Secret):
        return f"API key {redact(known.identity.reveal())}"
    return f"OAuth {ident(credential)}" if known.kind == "oauth" else ""
