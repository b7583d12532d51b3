"""What the C library does with memory that was freed: it keeps some of it.

    keep_freed()      once, when a server process starts

To decode a frame takes and frees a dozen buffers of a quarter of a megabyte. By default glibc gives
them back to the system, and the next frame pays for its pages anew, one fault each. Kept, the same
pages serve every frame. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes

KEPT_BYTES = 32 * 2**20  # of each arena; of those there are as many as busy threads, at most ARENAS
LARGE_BYTES = 8 * 2**20  # what is larger comes from the system and goes back to it
ARENAS = 2  # whoever decodes lets go of Python's lock for most of it

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


def keep_freed() -> None:
    """Takes effect for the whole process."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(_M_ARENA_MAX, ARENAS)
