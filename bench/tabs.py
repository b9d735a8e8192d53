"""Tabs of a browser that only listen: so many streams of server-sent events, read by one thread."""

from __future__ import annotations

import selectors
import socket
import time
from types import TracebackType

PATIENCE = 30.0
"""Seconds in which an event is to come."""
_BYTES = 1 << 16


class Tabs:
    """Open as long as the block lasts."""

    def __init__(self, port: int, count: int, path: str) -> None:
        self._port, self._count, self._path = port, count, path
        self._selector = selectors.DefaultSelector()
        self._events: dict[socket.socket, int] = {}

    def __enter__(self) -> Tabs:
        request = f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
        for _ in range(self._count):
            tab = socket.create_connection(("127.0.0.1", self._port))
            self._events[tab] = 0
            self._selector.register(tab, selectors.EVENT_READ)
            tab.sendall(request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for tab in self._events:
            tab.close()

    def wait(self, times: int) -> None:
        """Return as soon as each of them was told something so many times more. Raises RuntimeError."""
        wanted = {tab: told + times for tab, told in self._events.items()}
        deadline = time.monotonic() + PATIENCE * times
        while any(told < wanted[tab] for tab, told in self._events.items()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not every tab was told something {times} times")
            self._read(0.1)

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            tab: socket.socket = key.fileobj  # type: ignore[assignment]
            if not (told := tab.recv(_BYTES)):
                raise RuntimeError("a stream has ended")
            if told.startswith(b"HTTP/") and b" 200 " not in told[:20]:
                raise RuntimeError(f"a stream is refused: {told[:200]!r}")
            self._events[tab] += told.count(b"\n\n")  # as an event ends, and no head
