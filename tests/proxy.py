"""A relay before a server that does to requests and replies what a test tells it to: lose, cut at a byte, delay."""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

_PACKET = 1 << 20
Loss = Literal["request", "reply", "silence"]
"""A connection that breaks before the request is passed on, after it was carried out, or stays open without a reply."""
Direction = Literal["requests", "replies"]


@dataclass(frozen=True)
class _Delay:
    """A reply that comes `seconds` late, or half of it at once and the rest then."""

    seconds: float
    halves: bool


def _is_script(request: bytes) -> bool:
    return b"EVAL" in request


class Proxy:
    """Relays unix-socket connections to the server at `target`, a packet at a time.

    `lose` arranges that one request or its reply is lost, `delay` that a reply is late, `cut_after` that a connection
    breaks at a byte, be it within a packet; everything else passes.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._directory = tempfile.TemporaryDirectory(prefix="jobd-proxy-")
        self.socket = Path(self._directory.name) / "proxy.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._plans: deque[tuple[Loss | _Delay, Callable[[bytes], bool]]] = deque()
        self._cuts: dict[Direction, int] = {}
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._lost = threading.Semaphore(0)
        self.requests: list[bytes] = []
        """Everything that came in, in order."""
        self.passed: dict[Direction, int] = {"requests": 0, "replies": 0}
        """Bytes that were passed on, of all connections."""

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
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._directory.cleanup()

    def lose(self, loss: Loss, matches: Callable[[bytes], bool] = _is_script) -> None:
        """Lose the next request for which `matches` is true, or its reply; after what was arranged before."""
        self._plans.append((loss, matches))

    def delay(self, seconds: float, *, halves: bool = False, matches: Callable[[bytes], bool] = _is_script) -> None:
        """Have the reply to the next such request come `seconds` late; with `halves` one half comes at once."""
        self._plans.append((_Delay(seconds, halves), matches))

    def cut_after(self, count: int, direction: Direction) -> None:
        """Break one connection once `count` more bytes of `direction`, over all of them, were passed on.

        It breaks right after the last of these bytes, on both sides; with 0, instead of passing the next one on.
        """
        with self._lock:
            self._cuts[direction] = self.passed[direction] + count

    def pass_everything(self) -> None:
        """Forget what was arranged and did not happen."""
        self._plans.clear()
        with self._lock:
            self._cuts.clear()

    def wait_until_lost(self, seconds: float = 10.0) -> None:
        """Return once one more arranged loss or cut has happened."""
        assert self._lost.acquire(timeout=seconds), "nothing was lost"

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _start(self, run: Callable[..., None], *args: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=run, args=args, name="proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
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
                while not self._closing.is_set() and self._relay(client, server):
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
            return self._pass_on("replies", server.recv(_PACKET), client)
        request = client.recv(_PACKET)
        if not request:
            return False
        self.requests.append(request)
        plan = self._plan_for(request)
        if plan == "request":
            self._lost.release()
            return False
        if not self._pass_on("requests", request, server):
            return False
        return plan is None or self._answer(plan, client, server)

    def _answer(self, plan: Loss | _Delay, client: socket.socket, server: socket.socket) -> bool:
        """Do to the reply what was arranged."""
        reply = server.recv(_PACKET)
        if isinstance(plan, _Delay):
            at_once = len(reply) // 2 if plan.halves else 0
            if at_once and not self._pass_on("replies", reply[:at_once], client):
                return False
            self._closing.wait(plan.seconds)
            return self._pass_on("replies", reply[at_once:], client)
        self._lost.release()
        if plan == "silence":
            client.recv(_PACKET)  # returns when the other side gives up
        return False

    def _pass_on(self, direction: Direction, data: bytes, to: socket.socket) -> bool:
        """Pass on what is to pass; False when the connection ends with it."""
        with self._lock:
            left = self._cuts.get(direction, sys.maxsize) - self.passed[direction]
            cut = bool(data) and left <= len(data)
            if cut:
                data = data[:left]
                del self._cuts[direction]
            self.passed[direction] += len(data)
        if data:
            to.sendall(data)
        if cut:
            self._lost.release()
        return bool(data) and not cut

    def _plan_for(self, request: bytes) -> Loss | _Delay | None:
        if not self._plans or not self._plans[0][1](request):
            return None
        return self._plans.popleft()[0]
