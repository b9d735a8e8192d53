"""An endpoint whose loop a test turns by hand, with a clock that the test sets."""

from __future__ import annotations

import contextlib
import socket
from http import HTTPStatus

from jobd.supervisor.endpoint import Answer, Endpoint
from jobd.supervisor.http_head import Response
from jobd.supervisor.listener import listen
from jobd.supervisor.loop import Loop


def ok(path: str, accept: str) -> Response:
    """Says what was asked for."""
    return Response(HTTPStatus.OK, f"{path} {accept}".encode())


class Site:
    """An endpoint in this very thread."""

    def __init__(self, answer: Answer = ok, address: str = "127.0.0.1:0") -> None:
        self.now = 1000.0
        self.loop, self.listener = Loop(), listen(address)
        self.endpoint = Endpoint(self.loop, self.listener, answer, lambda: self.now)
        self.clients = contextlib.ExitStack()

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A client of it, closed at the end."""
        client = self.clients.enter_context(socket.socket(self.listener.family))
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(self.listener.getsockname())
        client.setblocking(False)
        return client

    def turn(self, times: int = 1) -> None:
        """What the master's loop does."""
        for _ in range(times):
            self.loop.wait(0.02)
            self.endpoint.tick(self.now)

    def later(self, seconds: float) -> None:
        """Let time pass, and turn."""
        self.now += seconds
        self.turn()

    def read(self, client: socket.socket) -> bytes:
        """All that a client is sent until the connection ends."""
        received = b""
        for _ in range(10_000):
            self.turn()
            with contextlib.suppress(BlockingIOError):
                data = client.recv(1 << 20)
                if not data:
                    return received
                received += data
        raise AssertionError(f"the connection does not end; so far came {received[:200]!r}")

    def ask(self, request: bytes) -> bytes:
        """The answer to a request."""
        client = self.connect()
        client.send(request)
        answer = self.read(client)
        client.close()
        self.turn(2)
        return answer

    def close(self) -> None:
        self.clients.close()
        self.endpoint.close()
        self.loop.close()
