"""The control socket: takes requests from `jobd ctl`, and tells each client what comes of its own.

A client sends one line of JSON, `{"do": "scale", "count": 4}`, and gets lines: `{"status": …}`, or `{"refused": why}`,
or `{"answer": {"ok": …, "text": …}}` and later `{"outcome": …}` alike. Then the connection ends. Who goes away before
takes nothing back.

What a request does is left to `Commands`, where the socket is to `control_path.py`. Whoever may open the file, its user
and root, may do everything. Nothing here waits: a client that is slow, silent or many costs the master's loop nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from jobd.client.errors import ConfigError
from jobd.supervisor.loop import READ, WRITE, Loop
from jobd.supervisor.request import Commands, Refused, Request
from jobd.worker import log

Name = Literal["status", "quiet", "resume", "stop", "restart", "reload", "scale"]
NAMES: tuple[Name, ...] = get_args(Name)
MOST_PROCESSES = 1_000
MOST_CLIENTS = 16
LONGEST_LINE = 4096
"""Bytes of a request."""
PATIENCE = 2.0
"""Seconds for a client to send its line, and for it to take what it is sent."""
PAUSE = 1.0
"""Seconds without new clients when no descriptor was left for one."""
_CREDENTIALS = struct.Struct("3i")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A request as it comes over the socket."""

    do: Name
    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_PROCESSES)] | None = None


class Control:
    """Serves the socket at `path`, for the process that holds the pidfile's lock, in `loop`.

    Raises ConfigError when the socket cannot be made.
    """

    def __init__(self, loop: Loop, path: Path, commands: Commands) -> None:
        self._loop, self._path, self._commands = loop, path, commands
        try:
            self._listener = _listen(path)
        except OSError as error:
            raise ConfigError(
                f"control socket {path} cannot be made: {error}; mend that, or name another pidfile with -P"
            ) from error
        self._identity = _identity(path)
        self._clients: list[_Client] = []
        self._full = False
        self._accept_at: float | None = None
        self._hear()

    def tick(self, now: float) -> None:
        """Send what has become of the open requests, and end clients that are late; for each turn of the loop.

        `now` is the monotonic time in seconds.
        """
        for client in list(self._clients):
            if client.is_late(now):
                self._end(client)
            elif client.has_news():
                self._proceed(client)
        self._resume(now)

    def close(self) -> None:
        """End all connections and remove the socket; the caller still holds the pidfile's lock. May come twice."""
        for client in list(self._clients):
            self._end(client)
        if self._listener.fileno() >= 0:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            if self._identity == _identity(self._path):
                self._path.unlink(missing_ok=True)

    def after_fork_in_child(self) -> None:
        """Close the descriptors in a forked child; socket, clients and loop remain the parent's."""
        for client in self._clients:
            client.socket.close()
        self._clients.clear()
        self._listener.close()

    def _hear(self) -> None:
        self._loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # No descriptor is left: the next turns would find the same client, and never rest.
            self._loop.forget(self._listener.fileno())
            self._full = True
            return
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.append(client)
        if len(self._clients) > MOST_CLIENTS:
            client.tell({"refused": f"{MOST_CLIENTS} requests are open already; end one of those that wait"}, last=True)
        self._proceed(client)

    def _resume(self, now: float) -> None:
        if not self._full:
            return
        if self._accept_at is None:
            self._accept_at = now + PAUSE
        elif now >= self._accept_at:
            self._full, self._accept_at = False, None
            self._hear()

    def _on_ready(self, client: _Client) -> None:
        try:
            line = None if client.unsent else client.receive()
        except _Gone:
            self._end(client)
            return
        if line is not None:
            self._serve(client, line)
        self._proceed(client)

    def _proceed(self, client: _Client) -> None:
        """Send what there is to be sent, and wait for what is to come."""
        try:
            client.send_news()
        except _Gone:
            self._end(client)
            return
        # While something is unsent nothing is read: a client that has closed its end would be ready all the time.
        act = WRITE if client.unsent else READ
        self._loop.watch(client.socket.fileno(), lambda: self._on_ready(client), act)

    def _end(self, client: _Client) -> None:
        self._clients.remove(client)
        self._loop.forget(client.socket.fileno())
        client.socket.close()

    def _serve(self, client: _Client, line: bytes) -> None:
        try:
            asked = _parse(line)
            if asked.do == "status":
                client.tell({"status": self._commands.status()}, last=True)
            else:
                client.request = self._begin(client, asked)
        except Refused as refusal:
            client.tell({"refused": str(refusal)}, last=True)
        except Exception as error:
            # A defect in what is asked for must not end the master.
            log.event("component.failed", level=log.ERROR, component="control", exc_info=error)
            client.tell({"refused": f"{type(error).__name__} in the master; its log says where"}, last=True)

    def _begin(self, client: _Client, asked: Asked) -> Request:
        pid, user = client.peer()
        log.event("control.request", do=asked.do, count=asked.count, uid=user, by=pid)
        try:
            return self._commands.request(asked.do, asked.count)
        except Refused as refusal:
            log.event("control.refused", level=log.WARNING, do=asked.do, why=refusal)
            raise


class _Gone(Exception):
    """The client has closed its end, broke the rules, or was told everything."""


class _Client:
    """A connection: what it asked for, what it is still to be sent, and how long it may take."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.request: Request | None = None
        self.unsent = b""
        self._unread = b""
        self._was_told_answer = self._was_told_all = False
        self._limit: float | None = None

    def peer(self) -> tuple[int, int]:
        """Pid and user of the process that connected."""
        pid, user, _ = _CREDENTIALS.unpack(
            self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        return pid, user

    def is_late(self, now: float) -> bool:
        """Whether it is this client's turn to read or write, and has been for too long."""
        if self.request and not self.unsent:
            self._limit = None
            return False
        self._limit = now + PATIENCE if self._limit is None else self._limit
        return now >= self._limit

    def has_news(self) -> bool:
        """Whether more is known of its request than it was told."""
        known = self.request
        return known is not None and bool(known.outcome or (known.answer and not self._was_told_answer))

    def receive(self) -> bytes | None:
        """Its line, once that is complete. Raises _Gone, also when it sends more than that."""
        try:
            data = self.socket.recv(LONGEST_LINE)
        except BlockingIOError:
            return None
        except OSError:
            raise _Gone from None
        line, end, rest = (self._unread + data).partition(b"\n")
        if not data or rest or self.request or len(line) + len(end) > LONGEST_LINE:
            raise _Gone
        self._unread = line
        if not end:
            return None
        self._limit = None
        return line

    def tell(self, reply: Mapping[str, Any], *, last: bool = False) -> None:
        """Have one reply sent; after the `last` one the connection ends."""
        self.unsent += msgspec.json.encode(reply) + b"\n"
        self._was_told_all = self._was_told_all or last

    def send_news(self) -> None:
        """Send as much as goes without waiting. Raises _Gone, also when nothing is left to be said."""
        request = self.request
        if request and request.answer and not self._was_told_answer:
            self._was_told_answer = True
            self.tell({"answer": asdict(request.answer)})
        if request and request.outcome and not self._was_told_all:
            self.tell({"outcome": asdict(request.outcome)}, last=True)
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :] if self.unsent else b""
        except BlockingIOError:
            return
        except OSError:
            raise _Gone from None
        if self._was_told_all and not self.unsent:
            raise _Gone


def _parse(line: bytes) -> Asked:
    try:
        asked = msgspec.json.decode(line, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        names = ", ".join(NAMES)
        raise Refused(f'not a request: {error}; send {{"do": NAME}} in one line, NAME being one of {names}') from error
    if (asked.do == "scale") != (asked.count is not None):
        raise Refused(f"{asked.do}: scale takes a count, and nothing else does")
    return asked


def _listen(path: Path) -> socket.socket:
    """Bind and listen, in place of what a killed master has left."""
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file is made with the mode of the descriptor, so there is no moment at which others could connect.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        listener.listen(MOST_CLIENTS)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None
    return None
