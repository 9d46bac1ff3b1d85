"""What a connection that outlives its request asks of the door for each of its turns."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import final

import attrs

import turnout_wire


@final
@attrs.frozen
class Door:
    """The door, as a websocket sees it.

    Attributes:
        admit: a place for one turn: judged as a request is, for its key may be gone by now. Waits in the queue; raises
            Refusal.
        tell: the answer to a turn that failed, by the error, the turn's id, and whether something of it was sent.
    """

    admit: Callable[[], AbstractAsyncContextManager[None]]
    tell: Callable[[Exception, str, bool], turnout_wire.HttpAnswer]
