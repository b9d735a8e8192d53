"""Run the embedded store: one Valkey or Redis server in a private directory, on a unix socket.

The master owns the directory by a lock and calls `check` about each second. The server outlives a
killed master: it has a session of its own, and the next master adopts it. Which program runs is
`server_binary.py`'s choice, where clients connect is `client/embedded.py`'s.

Files in the directory: `lock` (held by the master), `server.lock` (held by the server itself, so
that two never write the same data; it names the server's pid and start time), `valkey.log`,
`valkey.pid`, `valkey.sock`, and the data in `appendonlydir`.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from jobd.client import defaults
from jobd.client.embedded import SOCKET_NAME, EmbeddedAddress
from jobd.client.errors import StoreUnavailable
from jobd.supervisor import store_directory
from jobd.supervisor.server_binary import server_binary
from jobd.supervisor.store_directory import POLL
from jobd.supervisor.store_server import Answer, Server, end, launch, ping, running_server

log = logging.getLogger(__name__)


class Store:
    """The server of one embedded directory, from `start` to `stop`.

    `start_timeout` is how many seconds a server may take to answer; loading its data does not count.
    `clock` gives monotonic seconds. `stop` may come twice or before `start`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        start_timeout: float = defaults.STORE_START_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = EmbeddedAddress(directory.resolve())
        self._start_timeout = start_timeout
        self._clock = clock
        self._server_lock = self.directory / "server.lock"
        self._log = self.directory / "valkey.log"
        self._lock: int | None = None
        self._server: Server | None = None
        self._ready = False
        self._ready_since = 0.0
        self._failures = 0
        self._next_start = 0.0

    @property
    def directory(self) -> Path:
        """The absolute directory of the data, the lock and the log."""
        return self.address.directory

    @property
    def pid(self) -> int | None:
        """The server's process id, None while there is none."""
        return self._server.pid if self._server else None

    def start(self) -> None:
        """Take the directory, adopt its running server or start one, and return once it answers.

        Raises `AlreadyRunning` when another jobd owns the directory, `StoreUnavailable` when the server
        cannot be started.
        """
        try:
            store_directory.prepare_directory(self.directory)
            self._lock = store_directory.own(self.directory)
            self._server = self._adopt() or self._start_server()
        except OSError as error:
            self._release()
            raise StoreUnavailable(
                f"the embedded store in {self.directory} cannot be started: {error}; "
                "mend that, or name another directory with --embedded"
            ) from error
        except BaseException:
            self._release()
            raise
        self._became_ready()

    def check(self) -> None:
        """See to it that the server runs: to be called about each second, waits for it 0.2 s at most.

        A server that ended is started again, at once the first time, then with growing pauses.
        """
        if self._lock is None:
            return
        if self._server is not None:
            self._watch(self._server)
        if self._server is None and self._clock() >= self._next_start:
            self._try_restart()

    def stop(self, timeout: float = defaults.STORE_STOP_TIMEOUT) -> None:
        """Shut the server down, its data flushed to disk, and give the directory up.

        After `timeout` seconds the server is killed.
        """
        if self._lock is None:
            return
        if self._server is not None:
            end(self._server, timeout)
            self._server = None
        self._remove_socket()
        self._release()

    def after_fork_in_child(self) -> None:
        """Let go of the directory in a forked child, without unlocking it for the master.

        `check` and `stop` do nothing in the child from then on.
        """
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            store_directory.release(self._lock)
        self._lock = None

    def _adopt(self) -> Server | None:
        """The server that a killed jobd left behind, if it is in order; else it is ended."""
        deadline = self._clock() + self._start_timeout
        server = None
        while store_directory.is_locked(self._server_lock):
            server = server or running_server(self.address, self._server_lock)
            answer = ping(self.address)
            if server is not None and answer is Answer.READY:
                log.info("adopted the running embedded store, pid %d, in %s", server.pid, self.directory)
                return server
            if answer is Answer.LOADING:
                deadline = self._clock() + self._start_timeout
            if self._clock() > deadline:
                _replace(server)
                break
            time.sleep(POLL)
        return None

    def _start_server(self) -> Server:
        lock = store_directory.lock_within(self._server_lock, self._start_timeout, self._clock)
        server = self._launch(lock)
        try:
            self._wait_until_ready(server)
        except BaseException:
            end(server, 0)
            raise
        return server

    def _launch(self, lock: int) -> Server:
        """Start the server, which inherits `lock`; does not wait until it answers."""
        try:
            socket = self._make_room_for_socket()
            return launch(server_binary(), self.directory, socket, self._log, lock)
        finally:
            store_directory.release(lock)

    def _make_room_for_socket(self) -> Path:
        """Remove what an earlier server left, and link to the new socket if it cannot be in the directory."""
        self._remove_socket()
        socket = self.address.socket
        if socket.parent != self.directory:
            socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.address.check_private()
            socket.unlink(missing_ok=True)
            (self.directory / SOCKET_NAME).symlink_to(socket)
        return socket

    def _remove_socket(self) -> None:
        (self.directory / SOCKET_NAME).unlink(missing_ok=True)

    def _wait_until_ready(self, server: Server) -> None:
        deadline = self._clock() + self._start_timeout
        while (answer := ping(self.address)) is not Answer.READY:
            if answer is Answer.LOADING:
                deadline = self._clock() + self._start_timeout
            if server.wait(POLL):
                raise self._failure(server, server.cause())
            if self._clock() > deadline:
                raise self._failure(server, f"no answer within {self._start_timeout:g} s")

    def _failure(self, server: Server, cause: str) -> StoreUnavailable:
        lines = store_directory.last_lines(self._log, server.log_from)
        return StoreUnavailable(f"the embedded store does not start: {cause}. {self._log} ends with:\n{lines}")

    def _watch(self, server: Server) -> None:
        if not server.alive():
            if self._ready:
                log.error("the embedded store in %s ended: %s", self.directory, server.cause())
            else:
                log.error("%s", self._failure(server, server.cause()))
            self._failed()
        elif not self._ready and ping(self.address, timeout=0.2) is Answer.READY:
            log.info("the embedded store is back, pid %d", server.pid)
            self._became_ready()
        elif self._ready and not self.address.socket.exists():
            # A cleaner of temporary files, or the end of a login, took the socket: nobody can connect again.
            log.error("the socket %s is gone: the embedded store is restarted", self.address.socket)
            server.send(signal.SIGTERM)

    def _try_restart(self) -> None:
        try:
            lock = store_directory.try_lock(self._server_lock)
            if lock is None:
                raise StoreUnavailable(f"{self._server_lock} is still held by a child of the server that ended")
            self._server = self._launch(lock)
        except (StoreUnavailable, OSError) as error:
            log.error("%s", error)
            self._failed()

    def _became_ready(self) -> None:
        self._ready = True
        self._ready_since = self._clock()

    def _failed(self) -> None:
        now = self._clock()
        if self._ready and now - self._ready_since >= defaults.STORE_STABLE_AFTER:
            self._failures = 0
        self._server, self._ready = None, False
        self._next_start = now + restart_delay(self._failures)
        self._failures += 1


def _replace(server: Server | None) -> None:
    if server is not None:
        log.warning("the embedded store, pid %d, does not answer: it is replaced", server.pid)
        end(server, defaults.STORE_STOP_TIMEOUT)


def restart_delay(failures: int) -> float:
    """Seconds to wait before the next start, after so many earlier failures in a row."""
    if failures == 0:
        return 0.0
    return min(defaults.STORE_RESTART_MIN * 2.0 ** (failures - 1), defaults.STORE_RESTART_MAX)
