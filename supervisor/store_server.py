"""The embedded store's server as a process: its arguments, its life signs, its end.

When it is started and replaced is decided in `store.py`.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from jobd.client import defaults
from jobd.client.embedded import EmbeddedAddress
from jobd.client.errors import StoreUnavailable
from jobd.supervisor.store_directory import POLL

log = logging.getLogger(__name__)


@dataclass
class Server:
    """A server process: our child, or (adopted) somebody else's. Its own log lines begin at `log_from`."""

    process: psutil.Process
    child: subprocess.Popen[bytes] | None = None
    log_from: int = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self.wait(0)

    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        if self.child is None:
            return _wait_for_stranger(self.process, timeout)
        try:
            self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def send(self, signum: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            (self.child or self.process).send_signal(signum)

    def cause(self) -> str:
        """Why it ended, as far as its parent can know."""
        code = self.child.returncode if self.child is not None else None
        if code is None:
            return f"pid {self.pid} is gone (it was adopted, so its exit code is unknown)"
        if code < 0:
            return f"pid {self.pid} was killed by {signal.Signals(-code).name}"
        return f"pid {self.pid} ended with exit code {code}"


class Answer(enum.Enum):
    """What a server says to PING."""

    READY = enum.auto()
    LOADING = enum.auto()
    NONE = enum.auto()


def launch(binary: Path, directory: Path, socket: Path, log_path: Path, lock: int) -> Server:
    """Start a server that holds `lock` for as long as it lives, and note it there. Raises `OSError`."""
    with open(log_path, "ab", opener=_private) as output:
        child = subprocess.Popen(
            _command(binary, directory, socket, log_path),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock,),
            umask=0o077,
        )
        server = Server(psutil.Process(child.pid), child, log_from=output.tell())
    try:
        _record(lock, server)
    except OSError:
        end(server, 0)
        raise
    return server


def running_server(address: EmbeddedAddress, lock: Path) -> Server | None:
    """The server that holds `lock`, as it says itself or else as it was noted there; None if unknown."""
    pid = _process_id(address)
    if pid is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            return Server(psutil.Process(pid))
    return _recorded_server(lock)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _command(binary: Path, directory: Path, socket: Path, log_path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "protected-mode": "yes",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "supervised": "no",
        "logfile": str(log_path),
        "pidfile": str(directory / "valkey.pid"),
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _record(lock: int, server: Server) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{server.pid} {server.process.create_time()}\n".encode(), 0)


def _recorded_server(path: Path) -> Server | None:
    """The server that `path` names, None when it is gone or the pid belongs to another process by now."""
    try:
        pid, started = path.read_text().split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 0.01
    except (ValueError, psutil.NoSuchProcess):
        return None
    return Server(process) if same else None


def end(server: Server, timeout: float) -> None:
    """Ask the server to shut down, kill it after `timeout` seconds (at once without a log line for 0)."""
    server.send(signal.SIGTERM)
    if server.wait(timeout):
        return
    if timeout:
        log.error("the embedded store, pid %d, did not stop within %g s: killed", server.pid, timeout)
    server.send(signal.SIGKILL)
    server.wait(defaults.STORE_STOP_TIMEOUT)


def _wait_for_stranger(process: psutil.Process, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while _runs(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        # Its parent may reap it late or, as the first process of many containers, never.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ping(address: EmbeddedAddress, timeout: float = 1.0) -> Answer:
    """Ask the server for a sign of life, for `timeout` seconds at most."""
    try:
        with _client(address, timeout) as client:
            client.ping()
    except BusyLoadingError:
        return Answer.LOADING
    except (RedisError, StoreUnavailable):
        return Answer.NONE
    return Answer.READY


def _process_id(address: EmbeddedAddress) -> int | None:
    """The pid that the server tells; None when it does not answer."""
    try:
        with _client(address, 1.0) as client:
            facts = cast("dict[str, object]", client.info("server"))
    except (RedisError, StoreUnavailable):
        return None
    pid = facts.get("process_id")
    return pid if isinstance(pid, int) else None


def _client(address: EmbeddedAddress, timeout: float) -> Redis:
    address.check_private()
    path = str(address.socket)
    return Redis(unix_socket_path=path, socket_timeout=timeout, retry=Retry(NoBackoff(), 0), protocol=2)
