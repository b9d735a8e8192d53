"""A `jobd -d` that anything may happen to: start it, find its processes, ask its control socket, wait for its end.

The process that uses it has to be a subreaper: so it becomes the parent of the daemon and learns its exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from jobd.supervisor.control_path import find_socket
from tests.supervisor.apps.chaos_jobs import LEDGER
from tests.supervisor.jobd_command import CONSTANTS, PATCH, QUICK, environment
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
    """One daemon after another in `directory`, with one pidfile and one log.

    `constants` and `patch` change its processes as they do those of `Jobd` in `jobd_command.py`.
    """

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        *,
        constants: Mapping[str, Any] | None = None,
        patch: str = "",
        **settings: Any,
    ) -> None:
        self.directory, self.redis_url = directory, redis_url
        self._program = [str(QUICK)] if constants or patch else ["-m", "jobd"]
        self._changes = {CONSTANTS: json.dumps(constants or {}), PATCH: patch} if constants or patch else {}
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
        code, complaint = self.wait_for_start(self.launch())
        assert (code, complaint) == (0, ""), f"the start ended with {code}: {complaint}"

    def launch(self) -> subprocess.Popen[str]:
        """Begin to start it; `wait_for_start` takes what this returns."""
        self.configure()
        return self.popen("-d", "-C", "jobd.yml", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def popen(self, *args: str, stdout: int | None = None, stderr: int | None = None) -> subprocess.Popen[str]:
        """The command with these arguments, and with the same changes and ledger."""
        return subprocess.Popen(
            [sys.executable, *self._program, *args],
            cwd=self.directory,
            env=environment(**{LEDGER: str(self.ledger)}, **self._changes),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def wait_for_start(self, launched: subprocess.Popen[str]) -> tuple[int, str]:
        """Return once it is ready, or has failed: the exit code of the command, and what that said."""
        with launched:
            _, complaint = launched.communicate(timeout=START_SECONDS)
        if launched.returncode == 0:
            self.pid, self._status = int(self.pidfile.read_text()), None
            self.sessions.add(os.getsid(self.pid))
        return launched.returncode, complaint

    def kill_everything(self, chance: random.Random, aim: Callable[[], object] = lambda: None) -> set[int]:
        """SIGKILL for every process that belongs to it, in any order; returns which they were, once all are gone.

        `aim` is called when all are found, and returns at the moment for it.
        """
        killed: set[int] = set()
        while family := self.family():
            chance.shuffle(family)
            aim()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            killed |= {process.pid for process in family}
            _reap(killed - {self.pid})
            self._reap_master()
        return killed

    @property
    def is_alive(self) -> bool:
        """Whether the master has not ended."""
        self._reap_master()
        return self._status is None

    def _reap_master(self) -> None:
        if self.pid and self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None

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

    def family(self) -> list[psutil.Process]:
        """Processes that belong to it, living or not, the master included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if _session_of(process.pid) in self.sessions or _is_in(process, self.directory):
                    found.append(process)
        return found

    def left_over(self) -> list[str]:
        """The same, told."""
        told = []
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                told.append(f"{process.pid} {process.status()} {process.name()} {' '.join(process.cmdline())}")
        return told

    def events(self) -> Iterator[dict[str, Any]]:
        """What was logged, in order; each line has to be whole. The complaint of a start that failed is left out."""
        for line in self.log.read_text().splitlines():
            if not line.startswith("jobd: "):
                yield json.loads(line)


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _session_of(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


def _is_in(process: psutil.Process, directory: Path) -> bool:
    return Path(process.cwd()).is_relative_to(directory)
