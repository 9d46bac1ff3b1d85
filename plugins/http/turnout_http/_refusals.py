"""What this frontend itself says no to, before the kernel hears of it."""

from collections.abc import Sequence
from typing import final

from turnout.errors import CallerError


@final
class Refusal(CallerError):
    """A request that this frontend does not take. The text is for the client, so it holds nothing of ours.

    Attributes:
        kind: one of `turnout_wire.CODES`, which knows its status.
        retry_after: seconds after which another try may do, None when none would.
        close: the connection must not be used again, because part of the request may still be on its way.
        param: the member of the request that is to blame.
        headers: what the answer says besides, in lower case.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retry_after: float | None = None,
        close: bool = False,
        param: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.close = close
        self.param = param
        self.headers = headers
