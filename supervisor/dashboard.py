"""Keeps the process that serves the dashboard: the master's part of the key `web`.

The master holds the listening socket, so that a restart of that process refuses nobody. It takes no worker's slot, and
nothing that goes wrong with it stops the workers: it is logged, and tried again with growing pauses.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobd.client.errors import PortUnavailable
from jobd.supervisor import ends, exits, policy
from jobd.supervisor.crew import Crew
from jobd.supervisor.listener import file_of, remove_file
from jobd.supervisor.web_child import WebBirth, run_web_child
from jobd.supervisor.web_settings import WebSettings, listen, shown
from jobd.worker import log

STOP_TIME = 3.0
"""Seconds after which a process that was told to end is killed."""
CLOSE_TIME = 2.5
"""Seconds for which the end of the master waits for it."""
LISTEN_AGAIN = 15.0
"""Seconds between two attempts to listen where somebody else does."""
_FOLLOWED = ("web", "redis_url", "namespace", "timestamps", "tag", "logformat", "log_level")
"""Keys with whose change the process is replaced."""


@dataclass(eq=False)
class _Process:
    pid: int
    started: float
    kill_at: float | None = None
    """When it is killed, once it was told to end."""


class Dashboard:
    """One process beside the workers, as long as the configuration of `crew` asks for it. Times are monotonic."""

    def __init__(self, crew: Crew, is_stopping: Callable[[], bool]) -> None:
        self._crew, self._is_stopping = crew, is_stopping
        self._config = crew.config
        self._listener: socket.socket | None = None
        self._file: tuple[str, int, int] | None = None
        self._process: _Process | None = None
        self._failures = 0
        self._start_at = self._listen_at = 0.0
        self._told_problem = ""
        self._pipe, self._our_end = os.pipe()

    @property
    def _settings(self) -> WebSettings | None:
        return self._config.web

    def status(self) -> dict[str, Any] | None:
        """Where it listens and its pid, in values that JSON knows; None when none is wanted."""
        if self._settings is None:
            return None
        pid = self._process.pid if self._process else None
        return {"address": self._address(), "listening": self._listener is not None, "pid": pid}

    def tick(self, now: float) -> None:
        """Do what is due. To be called at each turn of the loop; never waits."""
        self._reap(now)
        if self._is_stopping():
            self._end(now)
            return
        self._follow(now)
        if self._settings is None:
            return
        # The process that ends holds the socket at which it answered until then.
        if self._listener is None and self._process is None and now >= self._listen_at:
            self._listen(now)
        if self._listener is not None and self._process is None and now >= self._start_at:
            self._start(now)

    def close(self) -> None:
        """End the process, with violence if it takes long, and listen no more; may come twice."""
        deadline = time.monotonic() + CLOSE_TIME
        self._end(time.monotonic())
        while self._process is not None:
            now = time.monotonic()
            if now >= deadline:
                self._kill()
                deadline = now + CLOSE_TIME
            self._reap(now)
            time.sleep(0.01 if self._process else 0)
        self._stop_listening()
        for end in (self._pipe, self._our_end):
            with contextlib.suppress(OSError):
                os.close(end)
        self._pipe = self._our_end = -1

    def after_fork_in_child(self) -> None:
        """Let go of what is the master's."""
        if self._listener is not None:
            self._listener.close()
        os.close(self._pipe)
        os.close(self._our_end)

    def _follow(self, now: float) -> None:
        """A new configuration means a new process, and maybe another place to listen."""
        wanted = self._crew.config
        if wanted is self._config:
            return
        changed = [name for name in _FOLLOWED if getattr(wanted, name) != getattr(self._config, name)]
        before, self._config = self._settings, wanted
        if not changed:
            return
        if (before and before.bind) != (wanted.web and wanted.web.bind):
            self._stop_listening()
            self._listen_at, self._told_problem = 0.0, ""
        self._start_at = 0.0
        self._end(now)

    def _listen(self, now: float) -> None:
        settings = self._settings
        assert settings is not None
        try:
            self._listener = listen(settings.bind, os.environ)
        except PortUnavailable as error:
            self._listen_at = now + LISTEN_AGAIN
            if self._told_problem != str(error):
                self._told_problem = str(error)
                hint = f"jobs run without the dashboard; it is tried again every {LISTEN_AGAIN:g} s"
                log.event("web.not_listening", level=log.ERROR, error=error, hint=hint)
                if self._config.logfile:  # else the log and the message would stand in one place
                    exits.complain(f"web: {error}; {hint}")
        else:
            self._file, self._told_problem = file_of(self._listener), ""

    def _start(self, now: float) -> None:
        assert self._settings is not None
        assert self._listener is not None
        address = self._address()
        birth = WebBirth(self._settings, address, self._listener, os.getpid(), self._pipe)

        def run() -> None:
            os.close(self._our_end)
            run_web_child(self._config, birth)

        try:
            pid = self._crew.fork_beside(run, keep=self)
        except OSError as error:
            log.event("web.not_started", level=log.ERROR, error=error)
            self._plan_restart(now, 0.0)
            return
        self._process = _Process(pid, now)
        log.event("web.started", child=pid, address=address)

    def _address(self) -> str:
        assert self._settings is not None
        named = self._listener is not None and self._listener.family != socket.AF_UNIX
        port = self._listener.getsockname()[1] if named and self._listener is not None else None
        return shown(self._settings.bind, port)

    def _end(self, now: float) -> None:
        """Tell the process to end; kill it when it takes too long."""
        process = self._process
        if process is None:
            return
        if process.kill_at is None:
            process.kill_at = now + STOP_TIME
            os.kill(process.pid, signal.SIGTERM)
        elif now >= process.kill_at:
            self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill_at = math.inf
            log.event("web.killed", level=log.WARNING, child=self._process.pid, why="it did not stop in time")
            os.kill(self._process.pid, signal.SIGKILL)

    def _reap(self, now: float) -> None:
        process = self._process
        if process is None:
            return
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if not pid:
            if process.kill_at is not None:
                self._end(now)
            return
        self._process = None
        self._crew.beside.discard(pid)
        asked = process.kill_at is not None
        told = ends.judge(status, asked=asked, master_killed_for=None, recycled_for=None, oom_kills=None)
        level = log.INFO if asked else log.ERROR
        log.event("web.ended", level=level, child=pid, cause=told.cause, uptime=round(now - process.started, 3))
        if not asked:
            self._plan_restart(now, now - process.started)

    def _plan_restart(self, now: float, lived: float) -> None:
        self._failures = policy.failures_after(self._failures, lived)
        self._start_at = now + policy.restart_delay(self._failures - 1, random.random())

    def _stop_listening(self) -> None:
        if self._listener is not None:
            remove_file(self._listener, self._file)
            self._listener.close()
            self._listener = self._file = None
