"""A `jobd -d` that anything may happen to: start it, find its processes, ask its control socket, wait for its end.

The process that uses it has to be a subreaper: so it becomes the parent of the daemon and learns its exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from jobd.supervisor.control_path import find_socket
from tests.supervisor.apps.chaos_jobs import LEDGER
from tests.supervisor.jobd_command import run_jobd
from tests.waiting import wait_until

_PR_SET_CHILD_SUBREAPER = 36
START_SECONDS = 60.0
TIMEOUT = 2.0
"""Seconds that running jobs get when it stops."""


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def scrape(path: Path) -> str:
    """What a Prometheus would get from the socket at `path`; empty when nobody answers with 200."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: jobd\r\nConnection: close\r\n\r\n")
            answer = connection.makefile("rb").read().decode()
        except (FileNotFoundError, ConnectionError):
            return ""
    head, _, body = answer.partition("\r\n\r\n")
    return body if head.startswith("HTTP/1.1 200") else ""


class Daemon:
    """One daemon after another in `directory`, with one pidfile and one log."""

    def __init__(self, directory: Path, redis_url: str, **settings: Any) -> None:
        self.directory, self.redis_url = directory, redis_url
        self.pidfile, self.log, self.ledger = (directory / name for name in ("jobd.pid", "jobd.log", "ledger"))
        self.scrapes = directory / "metrics.sock"
        self.settings: dict[str, Any] = {
            "redis_url": redis_url,
            "require": ["chaos_jobs"],
            "processes": 2,
            "concurrency": 3,
            "timeout": TIMEOUT,
            "heartbeat_interval": 0.2,
            "lease": 10,
            "hang_timeout": 4,
            "restart_probe": 0.2,
            "logformat": "json",
            "logfile": self.log.name,
            "pidfile": self.pidfile.name,
            **settings,
        }
        self.pid = 0
        self.sessions: set[int] = set()
        self._status: int | None = None

    def configure(self, **settings: Any) -> None:
        """Write the configuration, with other values for some keys from now on."""
        self.settings |= settings
        self.write_config(json.dumps(self.settings))

    def write_config(self, text: str) -> None:
        """Put any text where the configuration is."""
        new = self.directory / "jobd.yml.new"
        new.write_text(text)
        new.rename(self.directory / "jobd.yml")

    def start(self) -> None:
        """Start it, and return once it is ready."""
        self.configure()
        done = run_jobd("-d", "-C", "jobd.yml", cwd=self.directory, seconds=START_SECONDS, **{LEDGER: str(self.ledger)})
        assert (done.returncode, done.stderr) == (0, ""), f"the start ended with {done.returncode}: {done.stderr}"
        self.pid, self._status = int(self.pidfile.read_text()), None
        self.sessions.add(os.getsid(self.pid))

    @property
    def is_alive(self) -> bool:
        """Whether the master has not ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is None

    def wait(self, seconds: float) -> int:
        """The exit code of the master, negative for a signal, once it has ended."""
        wait_until(lambda: not self.is_alive, f"the end of the master {self.pid}", seconds)
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, number)

    def ask(self, do: str, count: int | None = None) -> dict[str, Any]:
        """Send one request to the control socket; returns its first reply, `{}` when nobody answers."""
        request = {"do": do} if count is None else {"do": do, "count": count}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10.0)
            try:
                connection.connect(str(find_socket(self.pidfile)))
                connection.sendall(json.dumps(request).encode() + b"\n")
                replies = connection.makefile("rb")
                reply = replies.readline()
                if do == "status":
                    replies.read()  # to the end of the connection: then the master has closed its side too
            except (FileNotFoundError, ConnectionError):
                return {}
        return dict(json.loads(reply)) if reply else {}

    def status(self) -> dict[str, Any]:
        """What the master tells of itself."""
        status: dict[str, Any] = self.ask("status").get("status", {})
        assert status, "the master does not answer"
        return status

    def scrape(self) -> str:
        """What a Prometheus would get; empty when it is not served."""
        return scrape(self.scrapes)

    def children(self) -> list[int]:
        """Worker processes that live."""
        if not self.is_alive:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid).children()
            return [child.pid for child in family if _session_of(child.pid) in self.sessions]
        return []

    def zombies(self) -> list[int]:
        """Children that the master has not asked for."""
        dead = []
        for pid in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    dead.append(pid)
        return dead

    def descriptors(self) -> int:
        """What the master has open, without the two that it has for each child."""
        count = len(self.status()["children"])
        return len(os.listdir(f"/proc/{self.pid}/fd")) - 2 * count

    def left_over(self) -> list[str]:
        """Processes that belong to it, living or not, the master included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if _session_of(process.pid) in self.sessions or _is_in(process, self.directory):
                    found.append(f"{process.pid} {process.status()} {process.name()} {' '.join(process.cmdline())}")
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        """What was logged, in order; each line has to be whole."""
        for line in self.log.read_text().splitlines():
            yield json.loads(line)


def _session_of(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


def _is_in(process: psutil.Process, directory: Path) -> bool:
    return Path(process.cwd()).is_relative_to(directory)
