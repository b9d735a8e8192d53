"""A real Redis or Valkey server for tests: start, stop, kill and restart it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobd.supervisor.server_binary import server_binary

START_SECONDS = 10.0
STOP_SECONDS = 10.0
PORT_ATTEMPTS = 5


class ServerFailed(Exception):
    """The server ended, or did not get ready in time; the message ends with its log."""


class RedisServer:
    """One server with a temporary directory of its own, which `close` removes.

    It listens on a unix socket, with `tcp=True` on a port of 127.0.0.1 instead. `$REDIS_SERVER` names
    another program than the embedded one. Data outlive `restart`, `stop` and `kill` only with
    `appendonly=True`. `cluster=True` makes it a cluster's node without slots, on a port. `args` are further
    arguments of the server: `["--maxclients", "8"]`.
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        cluster: bool = False,
        appendonly: bool = False,
        maxmemory: str | None = None,
        password: str | None = None,
        args: Sequence[str] = (),
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="jobd-test-"))
        self.socket = self.directory / "redis.sock"
        self.port = 0
        self.password = password
        self._tcp = tcp or cluster
        self._cluster = cluster
        self._bus_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._args = [*_options(appendonly, maxmemory, password), *args]

    def __enter__(self) -> RedisServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address of database 0, password included."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        if self._tcp:
            return f"redis://{login}127.0.0.1:{self.port}/0"
        return f"unix://{login}{self.socket}?db=0"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def client(self, **options: Any) -> Redis:
        """A new client that never resends; the caller closes it."""
        return Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), **options)

    def start(self) -> RedisServer:
        """Start the server and return once it answers. After `stop` or `kill`: the same address again."""
        if self._tcp and not self.port:
            self._start_on_free_port()
        else:
            self._start()
        return self

    def launch(self) -> None:
        """Start the server again and do not wait: it may load its data for a while. `wait` is to follow."""
        assert self._process is None, "the server is running already"
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        if not self._tcp:
            listen = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        if self._cluster:  # the nodes' own port would be 10,000 higher: more than there are, or somebody's
            listen += ["--cluster-enabled", "yes", "--cluster-port", str(self._bus_port)]
        with open(self.directory / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [_program(), *listen, "--dir", str(self.directory), *self._args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return once the server answers."""
        assert self._process is not None, "the server is not running"
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down in order; its clients lose their connections."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._end(kill=True)

    def restart(self) -> None:
        """`stop` and `start`."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill the server and remove its directory; may come twice."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_on_free_port(self) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.port, self._bus_port = _free_port(), _free_port()  # somebody may take them before the server does
            try:
                self._start()
                return
            except ServerFailed:
                if attempt == PORT_ATTEMPTS:
                    raise

    def _start(self) -> None:
        self.launch()
        self.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            ended = process.poll()
            if ended is not None or time.monotonic() > deadline:
                raise ServerFailed(f"no server, exit code {ended}:\n{self.log()}")
            select.select([], [], [], 0.01)

    def _answers(self) -> bool:
        family = socket.AF_INET if self._tcp else socket.AF_UNIX
        address: Any = ("127.0.0.1", self.port) if self._tcp else str(self.socket)
        with socket.socket(family) as connection:
            connection.settimeout(START_SECONDS)
            try:
                connection.connect(address)
                connection.sendall(b"PING\r\n")
                answer = connection.recv(256)
            except OSError:
                return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def log(self) -> str:
        """What the server has logged so far."""
        return (self.directory / "server.log").read_text(errors="replace")

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"the server did not stop within {STOP_SECONDS} s:\n{self.log()}") from None


def _options(appendonly: bool, maxmemory: str | None, password: str | None) -> list[str]:
    options = [
        "--save",
        "",
        "--appendonly",
        "yes" if appendonly else "no",
        "--maxmemory-policy",
        "noeviction",
    ]
    if maxmemory is not None:
        options += ["--maxmemory", maxmemory]
    if password is not None:
        options += ["--requirepass", password]
    return options


def _program() -> str:
    return os.environ.get("REDIS_SERVER") or str(server_binary())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
