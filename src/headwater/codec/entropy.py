"""Entropy coding of a stream of bytes: zstd, used as nothing but a Huffman coder.

    pack(data)              a stored stream: a mode byte, then raw bytes or a zstd frame
    unpack(data, size)      exactly `size` bytes, or Malformed
    pack_text(data)         zstd with its matches, for what is not numbers

Matching finds next to nothing in weights and costs half the speed; with a tiny hash table and a
long minimum match the fast strategy degenerates to literals, that is, to zstd's four-stream Huffman
coder (`target_length` must be 0). The frames are ordinary: any zstd reads them (RFC 8878).
"""

from __future__ import annotations

import threading

import zstandard

from headwater.errors import Malformed

Buffer = bytes | bytearray | memoryview

RAW, ZSTD = 0, 1
GAIN_MIN = 0.005  # of a stream; less is not worth decoding it
TEXT_LEVEL = 9  # 19 gains two more points on a tokenizer at a tenth of the speed

_HUFFMAN = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    min_match=7,
    hash_log=6,
    chain_log=6,
    search_log=1,
    target_length=0,
    window_log=17,
    write_checksum=False,
    write_content_size=True,
)


class _Coders(threading.local):
    """zstd contexts keep their tables between calls and serve one thread each."""

    def __init__(self) -> None:
        self.huffman = zstandard.ZstdCompressor(compression_params=_HUFFMAN)
        self.text = zstandard.ZstdCompressor(level=TEXT_LEVEL, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_coders = _Coders()


def pack(data: Buffer) -> bytes:
    """`data` by its byte frequencies, or as it is when that gains next to nothing."""
    return _smaller(data, _coders.huffman)


def pack_text(data: Buffer) -> bytes:
    """`data` by its repetitions and frequencies, or as it is."""
    return _smaller(data, _coders.text)


def unpack(data: Buffer, size: int) -> bytes | memoryview:
    """What was packed, which must be `size` bytes. Malformed otherwise; never more memory."""
    view = memoryview(data)
    mode, body = view[:1], view[1:]
    if len(mode) and mode[0] == RAW:
        if len(body) != size:
            raise Malformed(f"a raw stream of {len(body)} bytes where {size} belong")
        return body
    if not len(mode) or mode[0] != ZSTD:
        raise Malformed("a stream of no known mode")
    try:
        # The size is looked at first: what a frame claims is what decompressing would allocate.
        if zstandard.get_frame_parameters(body).content_size != size:
            raise Malformed(f"a zstd frame of another size where {size} bytes belong")
        out = _coders.decompressor.decompress(body, max_output_size=size)
    except zstandard.ZstdError as error:
        raise Malformed(f"a zstd frame cannot be decoded: {error}") from None
    if len(out) != size:
        raise Malformed(f"a zstd frame ends early, where {size} bytes belong")
    return out


def _smaller(data: Buffer, coder: zstandard.ZstdCompressor) -> bytes:
    packed = coder.compress(data)
    if len(packed) >= len(data) * (1 - GAIN_MIN):
        return bytes([RAW]) + bytes(data)
    return bytes([ZSTD]) + packed
