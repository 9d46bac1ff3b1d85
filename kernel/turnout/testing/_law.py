"""How a check says which rule was broken and where the rule is written."""

from typing import final


@final
class Laws:
    """The rules of one protocol. Called with whether a rule was kept, and the rule in one sentence."""

    def __init__(self, protocol: str, section: str) -> None:
        self._written = f"turnout.abc.{protocol}; plugins.md, {section}"

    def __call__(self, kept: bool, law: str, cause: BaseException | None = None) -> None:
        """Raise AssertionError that says which rule was broken and where it is written, unless it was kept."""
        if not kept:
            raise AssertionError(f"broken: {law} ({self._written})") from cause
