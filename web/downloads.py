"""Files on their way: few at once, read by portions in the threads of the pages, as long as somebody takes them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from jobd.web.context import Download
from jobd.web.threads import RETRY_AFTER, Overloaded, Threads

MOST = 2
"""Files that are sent at one time."""
_PORTION_BYTES = 64_000
_PORTION_SECONDS = 0.1
"""About so long does one portion hold a thread."""


class Downloads:
    """Who takes a file at the moment. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._takers: set[str] = set()

    def begin(self, who: str) -> Callable[[], None]:
        """Let `who` take one; what is returned says that it has ended. Raises `Overloaded`."""
        with self._lock:
            if who in self._takers:
                raise Overloaded("a file is on its way to you already; try again when it is there", 429)
            if len(self._takers) >= MOST:
                raise Overloaded("files are on their way to others; try again later")
            self._takers.add(who)

        def end() -> None:
            with self._lock:
                self._takers.discard(who)

        return end


class FileResponse(StreamingResponse):
    """Sends a file as it is made; `end` is called when it was sent, or is not taken any more."""

    def __init__(self, file: Download, threads: Threads, end: Callable[[], None]) -> None:
        super().__init__(_chunks(file.lines, threads), media_type=file.media_type, headers=headers_of(file))
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def headers_of(file: Download) -> dict[str, str]:
    """What is said of a file before it comes."""
    return {"content-disposition": f'attachment; filename="{file.name}"'}


async def _chunks(lines: Iterator[bytes], threads: Threads) -> AsyncIterator[bytes]:
    chunk: bytes | None = b""
    while chunk is not None:
        try:
            chunk = await threads.run(lambda: _portion(lines))
        except Overloaded:
            # The head of the answer is out: it waits until there is room again.
            await asyncio.sleep(RETRY_AFTER)
            continue
        if chunk:
            yield chunk


def _portion(lines: Iterator[bytes]) -> bytes | None:
    """The next lines, as many as are there soon; None at the end."""
    found, length, deadline = list[bytes](), 0, time.monotonic() + _PORTION_SECONDS
    for line in lines:
        found.append(line)
        length += len(line)
        if length >= _PORTION_BYTES or time.monotonic() > deadline:
            break
    return b"".join(found) if found else None
