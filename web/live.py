"""The totals as a stream of server-sent events: one reader for all who look, none when nobody does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from jobd.client.errors import JobdError
from jobd.web.context import Shared
from jobd.web.questions import answer
from jobd.web.totals import Totals, ask_totals

PAUSE = 2.0
"""Seconds between two readings."""
MOST = 500
"""Streams at one time; who comes later asks by polling."""


class Live:
    """Reads the totals while somebody listens, and tells all of them. For one event loop."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._listeners: set[asyncio.Queue[str | None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether no more can listen."""
        return len(self._listeners) >= MOST

    async def listen(self) -> AsyncIterator[str]:
        """The events for one listener, until it goes away."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)
        self._listeners.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        try:
            while (text := await queue.get()) is not None:
                yield text
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _read(self) -> None:
        while True:
            try:
                totals = await run_in_threadpool(self._totals)
            except JobdError:
                # Without an event pages go on to say when theirs was the last.
                text = ": Redis does not answer\n\n"
            else:
                text = f"data: {json.dumps(totals.document())}\n\n"
            self._tell(text)
            await asyncio.sleep(PAUSE)

    def close(self) -> None:
        """End all streams: a server that stops would wait for them."""
        self._tell(None)

    def _tell(self, text: str | None) -> None:
        for queue in self._listeners:
            # Who is slow is told the newest only.
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    def _totals(self) -> Totals:
        if (known := self._shared.totals()) is not None:
            return known
        found: Totals = answer(self._shared.access, ask_totals(self._shared.access))[0]
        self._shared.keep(found)
        return found
