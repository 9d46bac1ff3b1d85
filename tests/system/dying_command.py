"""`turnout ARGUMENTS` that kills itself before the Nth of some calls into C, from a first one on (S22, E5).

dying_command.py N FIRST[,NAME...] ARGUMENTS      counts calls of FIRST and of the others once FIRST was called
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from turnout._cli import main


class Death:
    """Comes before the Nth call, in whatever thread it is."""

    def __init__(self, step: int, first: str, *others: str) -> None:
        self._left = step
        self._names = {first}
        self._others = set(others)
        self._one_at_a_time = threading.Lock()

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call" or arg.__name__ not in self._names:
            return
        with self._one_at_a_time:
            self._names |= self._others
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1


death = Death(int(sys.argv[1]), *sys.argv[2].split(","))
threading.setprofile(death.profile)
sys.setprofile(death.profile)
main(sys.argv[3:])
