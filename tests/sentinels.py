"""A master, a replica and a sentinel that watches them, and a fail-over whenever a test wants one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from redis import Redis
from redis.exceptions import RedisError

from jobd.supervisor.server_binary import server_binary
from tests.servers import RedisServer
from tests.waiting import wait_until


class Watched:
    """The service `mymaster`: servers `first`, its master, and `second`, behind one sentinel."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._port = 0

    def __enter__(self) -> Watched:
        with contextlib.ExitStack() as stack:
            self.first = stack.enter_context(RedisServer(tcp=True))
            follow = ["--replicaof", "127.0.0.1", str(self.first.port), "--repl-diskless-sync-delay", "0"]
            self.second = stack.enter_context(RedisServer(tcp=True, args=follow))
            self._start_sentinel(stack)
            wait_until(self._knows_a_replica, "a sentinel that knows the replica", 20)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The address of the service, whichever server leads."""
        return f"redis+sentinel://127.0.0.1:{self._port}/mymaster/0"

    def wait_until_in_step(self) -> None:
        """Return once the replica has all that the master has."""
        with self.first.client() as client:
            wait_until(lambda: _is_in_step(client), "a replica in step with its master", 20)

    def fail_over(self) -> None:
        """Have `second` lead; returns once it does."""
        wait_until(self._has_begun, "a sentinel that begins a fail-over", 15)
        wait_until(lambda: _leads(self.second), "the fail-over", 20)

    def _start_sentinel(self, stack: contextlib.ExitStack) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobd-sentinel-")))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {self._port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor mymaster 127.0.0.1 {self.first.port} 1\n"
            "sentinel down-after-milliseconds mymaster 2000\nsentinel failover-timeout mymaster 5000\n"
        )
        program = os.environ.get("REDIS_SERVER") or str(server_binary())
        process = subprocess.Popen([program, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)

    def _knows_a_replica(self) -> bool:
        with contextlib.suppress(RedisError), Redis(port=self._port) as client:
            return bool(client.sentinel_master("mymaster")["num-slaves"] == 1)
        return False

    def _has_begun(self) -> bool:
        with contextlib.suppress(RedisError), Redis(port=self._port) as client:
            return bool(client.execute_command("SENTINEL", "FAILOVER", "mymaster"))
        return False


def _is_in_step(master: Redis) -> bool:
    info = master.info("replication")
    replica = info.get("slave0", {})
    return bool(replica.get("state") == "online" and replica.get("offset") == info["master_repl_offset"])


def _leads(server: RedisServer) -> bool:
    # A server that is promoted closes all its connections.
    with contextlib.suppress(RedisError), server.client() as client:
        return bool(client.role()[0] == b"master")
    return False
