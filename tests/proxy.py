"""A relay before a server that loses what a test tells it to lose: requests on their way, or replies."""

from __future__ import annotations

import contextlib
import select
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal

_PACKET = 1 << 20
Loss = Literal["request", "reply", "silence"]
"""A connection that breaks before the request is passed on, after it was carried out, or stays open without a reply."""


class Proxy:
    """Relays unix-socket connections to the server at `target`, a packet at a time.

    `lose` arranges that one request or its reply is lost; everything else passes.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._directory = tempfile.TemporaryDirectory(prefix="jobd-proxy-")
        self.socket = Path(self._directory.name) / "proxy.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._plans: deque[tuple[Loss, Callable[[bytes], bool]]] = deque()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        self._lost = threading.Semaphore(0)
        self.requests: list[bytes] = []
        """Everything that came in, in order."""

    @property
    def url(self) -> str:
        """Its address for redis-py."""
        return f"unix://{self.socket}?db=0"

    def __enter__(self) -> Proxy:
        self._listener.bind(str(self.socket))
        self._listener.listen()
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._directory.cleanup()

    def lose(self, loss: Loss, matches: Callable[[bytes], bool] = lambda request: b"EVAL" in request) -> None:
        """Lose the next request for which `matches` is true, or its reply; after the losses arranged before."""
        self._plans.append((loss, matches))

    def pass_everything(self) -> None:
        """Forget the losses that were arranged and did not happen."""
        self._plans.clear()

    def wait_until_lost(self, seconds: float = 10.0) -> None:
        """Return once one more arranged loss has happened."""
        assert self._lost.acquire(timeout=seconds), "nothing was lost"

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _start(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, name="proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                server.connect(str(self._target))
                while not self._closed and self._relay(client, server):
                    pass
            except OSError:
                return
            finally:
                with self._lock:
                    self._open -= {client, server}

    def _relay(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass on what is there in either direction; False ends the connection."""
        readable, _, _ = select.select([client, server], [], [])
        if server in readable:
            reply = server.recv(_PACKET)
            client.sendall(reply)
            return bool(reply)
        request = client.recv(_PACKET)
        self.requests.append(request)
        loss = self._loss_of(request) if request else None
        if request and loss != "request":
            server.sendall(request)
        if loss in ("reply", "silence"):
            server.recv(_PACKET)
        if loss is not None:
            self._lost.release()
        if loss == "silence":
            client.recv(_PACKET)  # returns when the other side gives up
        return bool(request) and loss is None

    def _loss_of(self, request: bytes) -> Loss | None:
        if not self._plans or not self._plans[0][1](request):
            return None
        return self._plans.popleft()[0]
