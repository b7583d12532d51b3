"""Which tensors a file of weights holds and where their bytes lie, whatever file it is.

    spans(read, size_bytes) -> [Span, ...]    in the order of their bytes, disjoint, in the file

safetensors, GGUF, torch's zip archives and ONNX, told apart by their bytes and never by a name.
Nothing is unpickled, unpacked or believed. A file that is nothing known, is broken or cut off, or
goes past a limit has no spans: to call it plain bytes costs space, to cut it wrongly would cost
nothing more, so there is no half answer to get wrong and no error to handle.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.errors import Malformed, TooLarge
from headwater.formats.gguf import GgufHeader, read_gguf
from headwater.formats.onnx_spans import onnx_spans
from headwater.formats.safetensors import read_header
from headwater.formats.span import NAME_BYTES_MAX, SPANS_MAX, Span
from headwater.formats.torch_spans import torch_spans

SAFETENSORS_HEADER_BYTES_MAX = 8 * 2**20  # 128 for each of `SPANS_MAX`; the largest real: 3 MB
READ_BYTES_MAX = 256 * 2**20  # of one file in all; GGUF, the hungriest, has 64 MiB of header
READS_MAX = 200_000  # some for each of `SPANS_MAX` members that lie far apart
_Read = Callable[[int, int], bytes]


class _Guard:
    """`read` with a limit, which gives exactly what it was asked for.

    It remembers what `read` itself raised, so that no parser can take that for bad content.
    """

    def __init__(self, read: _Read, size_bytes: int) -> None:
        self._read = read
        self._size_bytes = size_bytes
        self._bytes = 0
        self._reads = 0
        self.failure: Exception | None = None

    def __call__(self, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= self._size_bytes:
            raise Malformed(f"bytes {start} to {stop} of a file of {self._size_bytes}")
        self._bytes += stop - start
        self._reads += 1
        if self._bytes > READ_BYTES_MAX or self._reads > READS_MAX:
            raise TooLarge(f"over {READ_BYTES_MAX} bytes or {READS_MAX} places to look at")
        try:
            data = self._read(start, stop)
        except Exception as error:
            self.failure = error
            raise
        if len(data) != stop - start:
            raise Malformed(f"{len(data)} bytes at {start}, not {stop - start}")
        return data


def spans(read: _Read, size_bytes: int) -> list[Span]:
    """The tensors of a file of `size_bytes` whose bytes `read(start, stop)` gives.

    Raises what `read` raises and nothing else. Empty tensors are left out.
    """
    guard = _Guard(read, size_bytes)
    try:
        found = _found(guard, size_bytes)
    except (Malformed, TooLarge):
        if guard.failure is not None:
            raise
        return []
    found.sort(key=lambda span: (span.start, span.stop))
    return found if _is_sound(found, size_bytes) else []


def _found(read: _Read, size_bytes: int) -> list[Span]:
    if size_bytes < 16:  # shorter than any of the four with a tensor in it
        return []
    head = read(0, 8)
    if head.startswith(b"GGUF"):
        return gguf_spans(read_gguf(read, size_bytes))
    if head.startswith(b"PK\x03\x04"):
        return torch_spans(read, size_bytes)
    # The other two have no magic. A safetensors header of a sane length begins with three zero
    # bytes above it, and zero is no field of a protobuf: a file can be only one of them.
    if int.from_bytes(head, "little") <= SAFETENSORS_HEADER_BYTES_MAX:
        return _safetensors(read, size_bytes)
    return onnx_spans(read, size_bytes)


def _safetensors(read: _Read, size_bytes: int) -> list[Span]:
    header = read_header(read, size_bytes, header_bytes_max=SAFETENSORS_HEADER_BYTES_MAX)
    return [Span(*tensor) for tensor in header.tensors if tensor.start < tensor.stop]


def gguf_spans(header: GgufHeader) -> list[Span]:
    """The tensors of a GGUF whose header was read already: it is sound by then."""
    if header.order == "big":  # no word for its types, and nobody would compare them with others
        return [Span(t.name, "U8", (t.stop - t.start,), t.start, t.stop) for t in header.tensors]
    return [Span(t.name, t.type, t.shape[::-1], t.start, t.stop) for t in header.tensors]


def _is_sound(found: list[Span], size_bytes: int) -> bool:
    """What everyone builds upon, checked here once for every format."""
    at = 0
    for span in found:
        if not at <= span.start < span.stop or len(span.name.encode()) > NAME_BYTES_MAX:
            return False
        at = span.stop
    return at <= size_bytes and len(found) <= SPANS_MAX
