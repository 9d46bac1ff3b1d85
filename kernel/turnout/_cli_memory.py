"""What the C library does with memory that was freed: a process that serves keeps some, since the next call takes it.

A body of some 100 KB is several blocks that come and go with its call. As glibc is set, such blocks are mapped and
unmapped, or the heap's end is given back, once per call as long as few calls are under way, and the system clears each
of those pages again. At one client a call with a body of 300 KB took 0.67 times the CPU time without that.
"""

import ctypes
from collections.abc import Mapping
from logging import getLogger
from typing import Any, Final

LARGE: Final = 4 << 20
"""Bytes of a block that is mapped for itself and goes back to the system when freed: no usual body is as large."""

KEPT: Final = 32 << 20
"""Free bytes at the heap's end that stay with the process: as many as a hundred bodies of 300 KB have."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt` (malloc.h). Either one ends its own adjusting of both, so both are set."""

OPERATORS: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
"""Environment variables by which an operator says the same to glibc (mallopt(3))."""

log = getLogger("turnout.run")


def keep_freed_memory(environ: Mapping[str, str], library: Any = None) -> bool:
    """Let the C library keep what is freed, up to `KEPT` bytes, and say whether it does so now. Returns at once.

    False where the operator has settled this, by one of `OPERATORS` or by `GLIBC_TUNABLES`, and where the C library,
    `library` or the one that this process runs on, has no such setting (musl, macOS). Then nothing is touched.
    """
    if any(name in environ for name in OPERATORS) or "glibc.malloc." in environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = getattr(library or ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(parameter, value) for parameter, value in ((M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, KEPT))]
    if not all(taken):
        log.info("the C library gives freed memory back at once, so calls with large bodies take more CPU time")
    return all(taken)
