"""A control socket without a master behind it: what was asked for is noted, and the test says what comes of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobd.client.version import VERSION
from jobd.supervisor.control import Control
from jobd.supervisor.control_path import socket_path
from jobd.supervisor.loop import Loop
from jobd.supervisor.pidfile import Owner
from jobd.supervisor.request import Request
from jobd.worker.host import start_time

STATUS: dict[str, Any] = {
    "pid": 4711,
    "version": "1.0.0",
    "tag": "app",
    "environment": "production",
    "state": "running",
    "uptime": 7300.0,
    "generation": 1,
    "restarting": False,
    "processes": {"wanted": 2, "ready": 2},
    "threads": {"busy": 3, "idle": 17},
    "redis_seen_ago": 0.41,
    "orphans": 0,
    "children": [],
    "ends": [],
}


class FakeCommands:
    """Notes requests in `asked`; answers them from `requests`, else by a request that stays open."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []
        self.requests: dict[str, Request] = {}
        self.refusals: dict[str, Exception] = {}
        self.current = STATUS

    def status(self) -> dict[str, Any]:
        return self.current

    def request(self, name: str, count: int | None) -> Request:
        self.asked.append((name, count))
        if name in self.refusals:
            raise self.refusals[name]
        return self.requests.setdefault(name, Request())


class Server:
    """The socket of `pidfile`, whose loop turns when the test says so."""

    def __init__(self, pidfile: Path) -> None:
        self.commands, self.loop = FakeCommands(), Loop()
        self.path = socket_path(pidfile)
        self.control = Control(self.loop, self.path, self.commands)
        self.now = 100.0
        self._clients = ExitStack()

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and the loop turn until it has nothing more to do."""
        self.now += seconds
        for _ in range(5):
            self.loop.wait(0)
            self.control.tick(self.now)

    def connect(self, sent: bytes = b"") -> Wire:
        """A client that has sent this."""
        wire = self._clients.enter_context(Wire(self.path))
        wire.socket.sendall(sent)
        return wire

    def ask(self, name: str, **values: Any) -> Wire:
        """A client that has asked for something, after one turn."""
        wire = self.connect(json.dumps({"do": name, **values}).encode() + b"\n")
        self.turn()
        return wire

    def close(self) -> None:
        self._clients.close()
        self.control.close()
        self.loop.close()


class Wire:
    """A client's end of the connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.ended = False
        """Whether the server has closed its end; known after `replies`."""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def replies(self) -> list[Any]:
        """What has come since the last call."""
        received = b""
        try:
            while data := self.socket.recv(1 << 20):
                received += data
            self.ended = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True
        return [json.loads(line) for line in received.splitlines()]


class Daemon:
    """What `jobd ctl` finds of a daemon: a pidfile with its lock file, a process, and a socket that is served."""

    def __init__(self, pidfile: Path) -> None:
        self._server: Server | None = Server(pidfile)
        self.commands = self._server.commands
        self._process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        self.pid = self._process.pid
        owner = Owner(self.pid, start_time(self.pid), VERSION)
        pidfile.with_name(f"{pidfile.name}.lock").write_text(json.dumps(asdict(owner)))
        pidfile.write_text(f"{self.pid}\n")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._turn, args=(self._server,))
        self._thread.start()

    def _turn(self, server: Server) -> None:
        while not self._closing.is_set():
            server.loop.wait(0.01)
            server.control.tick(time.monotonic())

    def close_socket(self) -> None:
        """End what serves the socket; the process stays."""
        self._closing.set()
        self._thread.join()
        if self._server:
            self._server.close()
        self._server = None

    def end(self) -> None:
        """End the process, without anybody asking for its exit code."""
        assert self._process.stdin
        self._process.stdin.close()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        self.close_socket()
        self._process.kill()
        self._process.communicate()
