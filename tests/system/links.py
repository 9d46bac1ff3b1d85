"""Two links of the system to a network namespace of its own, of which one can fail. Needs root and `ip`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, final

How = Literal["link down", "peer down"]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@final
class Links:
    """A namespace that is reached over `near` and over `far`, two pairs of virtual interfaces.

    Attributes:
        near, far: addresses in the namespace; each is reached over its own link only.
        within: what goes ahead of a command that is to run in there.
    """

    def __init__(self) -> None:
        number = os.getpid() % 60_000
        self.name = f"turnout-{number}"
        self.within = ("ip", "netns", "exec", self.name)
        subnet = f"10.{200 + number // 16_384}.{number // 64 % 256}.{number % 64 * 4}"
        first, _, last = subnet.rpartition(".")
        other = f"10.{210 + number // 16_384}.{first.rpartition('.')[2]}"
        self._addresses = {"n": f"{first}.{int(last) + 2}", "f": f"{other}.{int(last) + 2}"}
        self.near, self.far = self._addresses.values()
        self._ends = {side: (f"t{side}{number}", f"t{side}{number}p") for side in "nf"}

    def open(self) -> None:
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        for side, (ours, theirs) in self._ends.items():
            network, _, last = self._addresses[side].rpartition(".")
            ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
            ip("addr", "add", f"{network}.{int(last) - 1}/30", "dev", ours)
            ip("-n", self.name, "addr", "add", f"{self._addresses[side]}/30", "dev", theirs)
            ip("link", "set", ours, "up")
            ip("-n", self.name, "link", "set", theirs, "up")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        for ours, _ in self._ends.values():  # gone with the namespace, as a rule
            subprocess.run(["ip", "link", "del", ours], check=False, capture_output=True)

    def fail(self, how: How) -> None:
        """Nothing passes over the far link any more: its end here is down, or the one over there."""
        ours, theirs = self._ends["f"]
        if how == "link down":
            ip("link", "set", ours, "down")
        else:
            ip("-n", self.name, "link", "set", theirs, "down")

    def heal(self) -> None:
        ours, theirs = self._ends["f"]
        ip("-n", self.name, "link", "set", theirs, "up")
        ip("link", "set", ours, "up")


@contextmanager
def linked() -> Iterator[Links]:
    """The links, gone when the block ends."""
    links = Links()
    try:
        links.open()
        yield links
    finally:
        links.close()
