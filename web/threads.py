"""The threads in which pages are made: few, and apart from those of the application around, which has to go on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

MOST = 8
"""Pages that are made at one time."""
MOST_CHANGES = 4
"""Changes that are carried out at one time; of many jobs they take long, which no page waits for."""
MOST_WAITING = 100
"""Requests that wait for one of these threads; a further one is refused."""
RETRY_AFTER = 1
SEARCH_WAIT = 2.0
"""Seconds for which a search waits for the one before it of the same user."""


class Overloaded(Exception):
    """There is too much to do already, for all (503) or for this user (429); RETRY_AFTER seconds later maybe less."""

    def __init__(self, text: str, status: int = 503) -> None:
        super().__init__(text)
        self.status = status


class Threads:
    """Runs what waits for Redis in threads of its own. Safe across event loops and forks."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0
        self._given = 0
        # A lock is of one event loop, which is of one thread: what is under its key is touched by nobody else.
        self._searches: dict[tuple[asyncio.AbstractEventLoop, str], tuple[asyncio.Lock, int]] = {}

    async def run(self, function: Callable[[], T]) -> T:
        """What `function` returns. Raises `Overloaded` without calling it when too many wait."""
        with self._lock:
            if self._pid != os.getpid():
                self._pool, self._pid, self._given = None, os.getpid(), 0
            if self._given >= self._most + MOST_WAITING:
                raise Overloaded("too many requests wait for Redis; try again in a second")
            pool = self._pool = self._pool or ThreadPoolExecutor(self._most, "jobd-web")
            self._given += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function)
        finally:
            with self._lock:
                self._given -= 1

    @asynccontextmanager
    async def search(self, who: str) -> AsyncIterator[None]:
        """Let `who` search alone, on each event loop: each looks through a set for as long as a page may take.

        Raises `Overloaded`.
        """
        key = asyncio.get_running_loop(), who
        lock, users = self._searches.get(key) or (asyncio.Lock(), 0)
        self._searches[key] = lock, users + 1
        try:
            try:
                async with asyncio.timeout(SEARCH_WAIT):
                    await lock.acquire()
            except TimeoutError:
                raise Overloaded("your last search is still under way; try again in a second", 429) from None
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._searches.pop(key)
            if users > 1:
                self._searches[key] = lock, users - 1
