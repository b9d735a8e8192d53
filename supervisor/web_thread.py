"""Serves the dashboard where there is no master: a thread of the one process that also runs the jobs.

Nothing that goes wrong with it stops the jobs: it is logged, and tried again. What a master does for it is in
`dashboard.py`.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from typing import Any

from jobd.client.errors import PortUnavailable
from jobd.client.push import Client
from jobd.supervisor.config import Config
from jobd.supervisor.listener import file_of, remove_file
from jobd.supervisor.web_settings import WebSettings, listen, shown
from jobd.worker import log

AGAIN = 15.0
"""Seconds between two attempts to listen, or to begin once more after it has ended by itself."""
CLOSE_TIME = 2.5
"""Seconds for which the end of the process waits for it."""


class DashboardThread:
    """The dashboard that `settings` ask for. Times are monotonic."""

    def __init__(self, config: Config, settings: WebSettings) -> None:
        self._config, self._settings = config, settings
        self._listener: socket.socket | None = None
        self._file: tuple[str, int, int] | None = None
        self._thread: threading.Thread | None = None
        self._server: Any = None
        self._client: Client | None = None
        self._begin_at = 0.0
        self._told_problem = ""

    def status(self) -> dict[str, Any]:
        """Where it listens, and the pid of the process."""
        return {"address": self._address(), "listening": self._listener is not None, "pid": os.getpid()}

    def tick(self, now: float) -> None:
        """Begin if it is not served. To be called at each turn of the loop; never waits."""
        if self._thread is not None and not self._thread.is_alive():
            log.event("web.ended", level=log.ERROR, cause="its thread has ended", uptime=round(now - self._begin_at, 3))
            self._thread, self._begin_at = None, now + AGAIN
        if self._thread is None and now >= self._begin_at:
            self._begin_at = now + AGAIN
            try:
                self._listen()
                if self._listener is not None:
                    self._begin(now, self._listener)
            except Exception as error:
                log.event("web.defect", level=log.ERROR, exc_info=error)

    def close(self) -> None:
        """End it; may come twice."""
        self._begin_at = math.inf
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(CLOSE_TIME)
            self._thread = None
        if self._listener is not None:
            remove_file(self._listener, self._file)
            self._listener.close()
            self._listener = self._file = None

    def after_fork_in_child(self) -> None:
        """Without a master nothing is forked."""

    def _listen(self) -> None:
        if self._listener is not None:
            return
        try:
            self._listener = listen(self._settings.bind, os.environ)
        except PortUnavailable as error:
            if self._told_problem != str(error):
                self._told_problem = str(error)
                hint = f"jobs run without the dashboard; it is tried again every {AGAIN:g} s"
                log.event("web.not_listening", level=log.ERROR, error=error, hint=hint)
        else:
            self._file, self._told_problem = file_of(self._listener), ""

    def _begin(self, now: float, listener: socket.socket) -> None:
        from jobd.supervisor import web_server

        config = self._config
        self._client = client = self._client or Client(
            config.redis_url, namespace=config.namespace, timestamps=config.timestamps
        )
        self._server = web_server.server_of(
            web_server.application(self._settings.named(config.environment), client, os.environ),
            root_path=self._settings.root_path,
            ready=lambda: log.event("web.ready", address=self._address()),
        )
        # The one that is served is closed at the end, and the file of a socket is known by one that is open.
        served = listener.dup()
        thread = threading.Thread(target=self._serve, args=(served,), name="jobd-web", daemon=True)
        try:
            thread.start()
        except BaseException:
            served.close()
            raise
        self._thread, self._begin_at = thread, now

    def _serve(self, listener: socket.socket) -> None:
        with listener:
            try:
                self._server.run(sockets=[listener])
            except Exception as error:
                log.event("web.defect", level=log.ERROR, exc_info=error)

    def _address(self) -> str:
        listener = self._listener
        named = listener is not None and listener.family != socket.AF_UNIX
        return shown(self._settings.bind, listener.getsockname()[1] if named and listener else None)
