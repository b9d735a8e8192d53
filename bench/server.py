"""The Redis server of a run: Debian's, else the embedded one; on a free port of the loopback, without persistence."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from redis import Redis

from bench.processes import cpu_seconds
from jobd.supervisor.server_binary import server_binary

START_SECONDS = 10.0


class Server:
    """One server, started by `with` and killed at its end. All systems of a run use it."""

    def __init__(self) -> None:
        found = shutil.which("redis-server")
        self.program = Path(found) if found else server_binary()
        self._directory = tempfile.TemporaryDirectory(prefix="jobd-bench-")

    def __enter__(self) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._directory.name]
        self._process = subprocess.Popen([self.program, *options], stdout=subprocess.DEVNULL, start_new_session=True)
        self.client = Redis(port=self.port, protocol=2)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise SystemExit(f"{self.program} on port {self.port} does not answer")
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def version(self) -> str:
        """Name and version, as the server says it."""
        info = self.client.info("server")
        if "valkey_version" in info:
            return f"Valkey {info['valkey_version']}"
        return f"Redis {info['redis_version']}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds that it has used."""
        return cpu_seconds(self._process.pid)

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0
