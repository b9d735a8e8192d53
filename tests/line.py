"""A relay before a server that is slow, goes dead and comes back as a network does: nothing says goodbye."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType

_PACKET = 1 << 16


class _Stream:
    """One direction of a connection: what was read and is to be written once its time has come."""

    def __init__(self, source: socket.socket, target: socket.socket, *, is_reply: bool) -> None:
        self.source, self.target, self.is_reply = source, target, is_reply
        self.held: deque[tuple[float, bytes]] = deque()
        self.dead = False
        self.first = b""
        """What was said first."""

    def read(self, due: float) -> None:
        """Take in what is there; an end too, as empty bytes."""
        try:
            data = self.source.recv(_PACKET)
        except OSError:
            data = b""
        if len(self.first) < _PACKET:
            self.first += data
        self.held.append((due, data))

    def write(self, now: float) -> bool:
        """Pass on what is due; False when the connection has ended."""
        while self.held and self.held[0][0] <= now:
            data = self.held.popleft()[1]
            try:
                self.target.sendall(data)
            except OSError:
                return False
            if not data:
                return False
        return True


class Line:
    """Relays unix-socket connections to the server at `target`. Its methods may be called by any one thread."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._directory = tempfile.TemporaryDirectory(prefix="jobd-line-")
        self.socket = Path(self._directory.name) / "line.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._streams: list[_Stream] = []
        self._lock = threading.Lock()
        self._told, self._tell = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="line")
        self._is_off = self._closed = False
        self._delay = 0.0

    @property
    def url(self) -> str:
        """Its address for redis-py."""
        return f"unix://{self.socket}?db=0"

    def __enter__(self) -> Line:
        self._listener.bind(str(self.socket))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._tell.send(b"!")
        self._thread.join()
        for stream in self._streams:
            stream.source.close()
        for end in (self._listener, self._told, self._tell):
            end.close()
        self._directory.cleanup()

    def cut_off(self) -> None:
        """Pass nothing on, of no connection, until `restore`; what is on its way arrives after that."""
        self._is_off = True
        self._tell.send(b"!")

    def restore(self) -> None:
        """Pass on again; also what was sent by those who have given up waiting meanwhile."""
        self._is_off = False
        self._tell.send(b"!")

    def forget(self, said: bytes = b"") -> None:
        """Never pass on anything again of the connections that are open now, and keep them open; new ones work.

        With `said` only of those over which it has gone, in either direction, soon after they were opened.
        """
        with self._lock:
            those = [{stream.source, stream.target} for stream in self._streams if said in stream.first]
            for stream in self._streams:
                stream.dead |= {stream.source, stream.target} in those
        self._tell.send(b"!")

    def slow_down(self, seconds: float) -> None:
        """Have each reply come so much later; 0 ends it."""
        self._delay = seconds

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                alive = [] if self._is_off else [stream for stream in self._streams if not stream.dead]
            due = min((stream.held[0][0] for stream in alive if stream.held), default=None)
            wait = None if due is None else max(0.0, due - time.monotonic())
            sources = {stream.source: stream for stream in alive}
            readable, _, _ = select.select([self._listener, self._told, *sources], [], [], wait)
            self._serve(readable, sources)
            now = time.monotonic()
            for stream in alive:
                if not stream.write(now):
                    self._close(stream)

    def _serve(self, readable: list[socket.socket], sources: dict[socket.socket, _Stream]) -> None:
        for ready in readable:
            if ready is self._listener:
                self._accept()
            elif ready is self._told:
                self._told.recv(_PACKET)
            else:
                stream = sources[ready]
                stream.read(time.monotonic() + (self._delay if stream.is_reply else 0.0))

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._target))
        except OSError:
            client.close()
            server.close()
            return
        with self._lock:
            self._streams += [_Stream(client, server, is_reply=False), _Stream(server, client, is_reply=True)]

    def _close(self, ended: _Stream) -> None:
        with self._lock:
            pair = {ended.source, ended.target}
            self._streams = [stream for stream in self._streams if stream.source not in pair]
        for end in pair:
            end.close()
