"""Tabs of a browser that only listen: so many streams of server-sent events, read by one thread."""

from __future__ import annotations

import selectors
import socket
import time
from types import TracebackType

PATIENCE = 30.0
_BYTES = 1 << 16


class Tabs:
    """Open as long as the block lasts."""

    def __init__(self, port: int, count: int, path: str) -> None:
        self._port, self._count, self._path = port, count, path
        self._selector = selectors.DefaultSelector()
        self._silent = set[socket.socket]()
        self.events = 0
        """Events that have come to all tabs."""

    def __enter__(self) -> Tabs:
        request = f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
        for _ in range(self._count):
            tab = socket.create_connection(("127.0.0.1", self._port))
            tab.sendall(request)
            self._selector.register(tab, selectors.EVENT_READ)
            self._silent.add(tab)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def wait_for_all(self) -> None:
        """Return once each has had its first event."""
        deadline = time.monotonic() + PATIENCE
        while self._silent:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(self._silent)} of {self._count} tabs were told nothing")
            self._read(0.1)

    def watch(self, seconds: float) -> None:
        """Read what comes for so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            tab: socket.socket = key.fileobj  # type: ignore[assignment]
            if not (told := tab.recv(_BYTES)):
                raise RuntimeError("a stream has ended")
            if not told.startswith(b"HTTP/1.1 200") and told.startswith(b"HTTP/"):
                raise RuntimeError(f"a stream is refused: {told[:200]!r}")
            if found := told.count(b"data:"):
                self.events += found
                self._silent.discard(tab)
