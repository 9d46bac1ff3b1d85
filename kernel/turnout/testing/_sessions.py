"""Which credential each session must be served by, reckoned from who served it last (C12 with O1 to O5)."""

from typing import NamedTuple

import trio

from turnout._affinity import TIME_TO_LIVE
from turnout.testing._case import Case

Session = tuple[str, str]
"""Base name and session."""


class _Served(NamedTuple):
    credential: str
    at: float
    moved: float


class Sessions:
    """Remembers who served; whatever is not certain is forgotten, so that what it says must hold."""

    def __init__(self) -> None:
        self._served: dict[Session, _Served] = {}

    def served(self, case: Case, credential: str, moved: float, *, certain: bool) -> None:
        """A call got its reply or first payload; `moved` is by how much the wall clock has moved the kernel's."""
        if case.session is None:
            return
        now = trio.current_time()
        before = self._served.get(case.session)
        if not certain or (before is not None and before.at == now and before.credential != credential):
            credential = ""  # nobody outside can tell which of two was the last
        self._served[case.session] = _Served(credential, now, moved)

    def wanted(self, case: Case, moved: float) -> str:
        """Id of the credential that this call's session has to prefer; empty when none or none for certain.

        Only once time has passed since: by then the kernel has taken notice. An hour is by a clock that did not jump.
        """
        known = None if case.session is None else self._served.get(case.session)
        if known is None or known.moved != moved:
            return ""
        return known.credential if 0 < trio.current_time() - known.at < TIME_TO_LIVE - 1 else ""

    def forget(self, credential: str | None = None) -> None:
        """A credential was changed by somebody, or, with None, everything was."""
        if credential is None:
            self._served.clear()
        for session in [session for session, served in self._served.items() if served.credential == credential]:
            del self._served[session]
