"""The C allocator of processes that move megabytes at a time."""

from __future__ import annotations

import ctypes

#: Parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

#: Buffers up to that come from what was freed before; glibc allows no more (HEAP_MAX_SIZE / 2).
BUFFER_BYTES = 32 << 20
#: So much that is free is kept.
KEPT_BYTES = 64 << 20


def keep_freed_memory() -> None:
    """Have glibc keep the memory of buffers that were freed; another C library stays as it is.

    By default large buffers are the kernel's again as soon as they are freed, and every page of the
    next one is a fault: with messages of some megabytes that is most of the work.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, BUFFER_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
