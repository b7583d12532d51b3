"""Steps of which most are zero: where the others are, and how large.

    pack_sparse(places, steps)       a payload
    unpack_sparse(payload, count)    (places, steps) of it, among `count` weights

Gaps and steps are pcodec files of their own: its code spends less than a bit where there is less to
say, and a gap costs what marking it in a dense list would. To find marks in a list takes longer
than to read where they are.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from headwater.codec.pco import of_pco, to_pco
from headwater.codec.streams import join, split
from headwater.errors import Malformed

I16s = npt.NDArray[np.int16]
Places = npt.NDArray[np.int64]


def pack_sparse(places: Places, steps: I16s) -> bytes:
    """`places`, rising, and as many steps."""
    if not len(places):
        return struct.pack("<I", 0)
    gaps = np.diff(places, prepend=-1).astype(np.uint32)
    return struct.pack("<I", len(places)) + join([to_pco(gaps), to_pco(steps)])


def unpack_sparse(payload: memoryview, count: int) -> tuple[Places, I16s]:
    """What was packed; Malformed when a place is not below `count`."""
    if len(payload) < 4:
        raise Malformed("a sparse difference is cut short")
    found = struct.unpack("<I", payload[:4])[0]
    if found > count:
        raise Malformed("a sparse difference has more entries than there are weights")
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int16)
    gaps, steps = split(payload[4:], 2)
    places = np.cumsum(of_pco(gaps, np.empty(found, np.uint32)), dtype=np.int64)
    places -= 1
    if places[0] < 0 or places[-1] >= count:
        raise Malformed("a sparse difference does not fit its frame")
    return places, of_pco(steps, np.empty(found, np.int16))
