"""One task that reads many sockets, sends that go out together, and goodbyes within what has been read."""

from turnout_sockets._bursts import CLOSE, Burst
from turnout_sockets._frames import Farewell, Frames
from turnout_sockets._readers import AT_ONCE, CALM, Look, Readers, Selected

__all__ = ["AT_ONCE", "CALM", "CLOSE", "Burst", "Farewell", "Frames", "Look", "Readers", "Selected"]
