"""One task that reads many sockets, and sends that go out together."""

from turnout_sockets._bursts import CLOSE, Burst
from turnout_sockets._readers import AT_ONCE, CALM, Look, Readers, Selected

__all__ = ["AT_ONCE", "CALM", "CLOSE", "Burst", "Look", "Readers", "Selected"]
