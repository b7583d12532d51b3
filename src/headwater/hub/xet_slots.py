"""Slots: how many of one costly thing go on at once in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headwater.errors import Unavailable

WAIT_S = 30  # then the client is told to come back; it waits by itself and tries again


class Slots:
    def __init__(self, count: int, what: str) -> None:
        self._free = asyncio.Semaphore(count)
        self._what = what  # for the message, in the plural

    async def take(self) -> None:
        """A slot, given back with `give_back`. Unavailable when none gets free soon."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(f"Too many {self._what} at once. Try again in a moment.") from None

    def give_back(self) -> None:
        self._free.release()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A slot for the time of a block."""
        await self.take()
        try:
            yield
        finally:
            self.give_back()
