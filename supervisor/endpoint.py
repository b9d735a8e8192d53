"""Answers HTTP inside the master's loop, whatever its clients do.

Nothing here waits: a client has two seconds to say what it wants and must go on reading what it is sent, there are
never more than a few, and an error ends one connection at most. What is answered is left to `probes.py`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from http import HTTPStatus

from jobd.supervisor.http_head import HEAD_END, HEAD_END_BYTES, Request, Response, parse, text
from jobd.supervisor.listener import file_of, remove_file
from jobd.supervisor.loop import READ, WRITE, Loop
from jobd.worker import log

CONNECTIONS = 16
"""Further ones are closed at once."""
HEAD_BYTES = 8 * 1024
STEP_SECONDS = 2.0
"""For the head of a request; between two steps of reading the answer; and for closing afterwards."""
LIFE_SECONDS = 10.0
"""For all of it, so that no client keeps a place by reading byte for byte."""
ACCEPTS = 32
"""In one turn of the loop."""
PAUSE_SECONDS = 1.0
"""Without accepting, when there is no descriptor left for a connection."""
_ABANDONED = (ConnectionAbortedError, ConnectionResetError, InterruptedError)

Answer = Callable[[str, str], Response]
"""The response for a path and an `Accept`."""


class Endpoint:
    """Takes connections from `listener` and has `answer` answer them. Not for use by several threads."""

    def __init__(
        self, loop: Loop, listener: socket.socket, answer: Answer, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop, self._listener, self._answer, self._monotonic = loop, listener, answer, monotonic
        self._file = file_of(listener)
        self._connections: set[_Connection] = set()
        self._resume_at: float | None = None
        loop.watch(listener.fileno(), self._accept)

    def tick(self, now: float) -> None:
        """End what takes too long at `now`, in monotonic seconds. To be called at each turn of the loop."""
        if self._resume_at is not None and now >= self._resume_at:
            self._resume()
        for connection in [each for each in self._connections if now >= each.deadline]:
            connection.expire()

    def close(self) -> None:
        """Close all, and remove a unix socket's file; may come twice."""
        if self._listener.fileno() < 0:
            return
        for connection in list(self._connections):
            connection.close()
        self._loop.forget(self._listener.fileno())
        remove_file(self._listener, self._file)
        self._listener.close()

    def after_fork_in_child(self) -> None:
        """Let go of what is the master's; its loop is closed already."""
        for connection in self._connections:
            connection.socket.close()
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except _ABANDONED:
                continue
            except OSError as error:
                self._pause(error)
                return
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        if len(self._connections) >= CONNECTIONS:
            client.close()
            return
        client.setblocking(False)
        connection = _Connection(client, self._loop, self._safe_answer, self._monotonic, self._connections.discard)
        self._connections.add(connection)
        connection.start()

    def _pause(self, error: OSError) -> None:
        """The connection that cannot be taken stays where it is: without a pause the loop would spin."""
        log.event("metrics.not_accepting", level=log.WARNING, error=str(error), seconds=PAUSE_SECONDS)
        self._loop.forget(self._listener.fileno())
        self._resume_at = self._monotonic() + PAUSE_SECONDS

    def _resume(self) -> None:
        self._resume_at = None
        try:
            self._loop.watch(self._listener.fileno(), self._accept)
        except OSError as error:
            self._pause(error)

    def _safe_answer(self, path: str, accept: str) -> Response:
        try:
            return self._answer(path, accept)
        except Exception as error:
            log.event("metrics.defect", level=log.ERROR, exc_info=error, path=path)
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, "jobd's log says why this cannot be answered")


class _Connection:
    """One client: what it says is read, the answer is written, and what it still says is not heard."""

    def __init__(
        self,
        client: socket.socket,
        loop: Loop,
        answer: Answer,
        monotonic: Callable[[], float],
        on_close: Callable[[_Connection], None],
    ) -> None:
        self.socket, self._loop, self._answer, self._monotonic = client, loop, answer, monotonic
        self._on_close = on_close
        self._head = b""
        self._unsent = memoryview(b"")
        self._ends = monotonic() + LIFE_SECONDS
        self._deadline = monotonic() + STEP_SECONDS
        self._answered = False

    @property
    def deadline(self) -> float:
        """When this is to expire."""
        return min(self._deadline, self._ends)

    def start(self) -> None:
        """Wait for the request."""
        self._step(lambda: self._loop.watch(self.socket.fileno(), lambda: self._step(self._receive)))

    def expire(self) -> None:
        """A request that did not come in time is told so; everything else just ends."""
        if self._answered:
            self.close()
        else:
            self._step(lambda: self._respond(text(HTTPStatus.REQUEST_TIMEOUT, "the request took too long")))

    def close(self) -> None:
        """End the connection, whatever it does; may come twice."""
        if self.socket.fileno() < 0:
            return
        self._loop.forget(self.socket.fileno())
        self.socket.close()
        self._on_close(self)

    def _step(self, act: Callable[[], None]) -> None:
        """A client that is gone, or a loop that can watch no more, ends this connection and nothing else."""
        try:
            act()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()

    def _receive(self) -> None:
        data = self.socket.recv(HEAD_BYTES)
        if not data:
            self.close()
            return
        searched = max(0, len(self._head) - HEAD_END_BYTES)
        self._head += data
        end = HEAD_END.search(self._head, searched)
        if end is not None and end.start() <= HEAD_BYTES:
            self._respond_to(parse(self._head[: end.start()]))
        elif len(self._head) > HEAD_BYTES:
            self._respond(text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"send at most {HEAD_BYTES} bytes"))

    def _respond_to(self, request: Request | Response) -> None:
        if isinstance(request, Response):
            self._respond(request)
        else:
            self._respond(self._answer(request.path, request.accept), with_body=request.method != "HEAD")

    def _respond(self, response: Response, *, with_body: bool = True) -> None:
        self._answered = True
        self._unsent = memoryview(response.encoded(with_body=with_body))
        self._deadline = self._monotonic() + STEP_SECONDS
        self._loop.watch(self.socket.fileno(), lambda: self._step(self._send), WRITE)
        self._send()

    def _send(self) -> None:
        sent = self.socket.send(self._unsent)
        self._unsent = self._unsent[sent:]
        self._deadline = self._monotonic() + STEP_SECONDS
        if not self._unsent:
            self._linger()

    def _linger(self) -> None:
        """Closing while there is something unread would destroy the answer before the client has it."""
        self.socket.shutdown(socket.SHUT_WR)
        self._loop.watch(self.socket.fileno(), lambda: self._step(self._drop), READ)

    def _drop(self) -> None:
        if not self.socket.recv(64 * 1024):
            self.close()
