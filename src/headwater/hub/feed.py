"""Feed: a request body into a blocking writer, in a thread, with bounded memory.

While one block is written the next one arrives; a third is not asked for, so the client is slowed
down to what the disk and the hash take. At most two blocks and the server's own buffer are held.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from starlette.requests import Request

from headwater.hub.bodies import blocks

BLOCK_BYTES = 2 * 2**20
WRITE_THREADS = 16  # uploads being hashed or written at one moment; others wait their turn

_threads = ThreadPoolExecutor(WRITE_THREADS, "headwater-feed")


class Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...

    def abort(self) -> object: ...


async def feed(request: Request, writer: Writer, limit_bytes: int) -> int:
    """Write the whole body; the number of bytes written. The caller finishes the writer.

    When the client goes away, the body is too large, or a write fails, the writer is aborted (in
    its thread, after the write under way) and the failure raised.
    """
    written_bytes = 0
    under_way: Future[object] | None = None
    try:
        async for block in blocks(request, limit_bytes, BLOCK_BYTES):
            if under_way is not None:
                await asyncio.wrap_future(under_way)
            under_way = _threads.submit(writer.write, block)
            written_bytes += len(block)
        if under_way is not None:
            await asyncio.wrap_future(under_way)
    except BaseException:
        aborted = _threads.submit(_abort, writer, under_way)
        await asyncio.shield(asyncio.wrap_future(aborted))
        raise
    return written_bytes


def _abort(writer: Writer, under_way: Future[object] | None) -> None:
    """Abort once no write is running: a write that was not begun is cancelled."""
    if under_way is not None and not under_way.cancel():
        under_way.exception()
    writer.abort()
