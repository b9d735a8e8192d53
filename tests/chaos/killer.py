"""Kills with SIGKILL at random moments: a worker process, the master, all of jobd, Redis, or several of them at once.

Afterwards what was killed is started again, Redis with its data and before jobd; and sometimes something is killed
while jobd starts. Nothing is ever told to stop. Half of the kills wait for a moment at which most is at stake: for a
process an open batch, of which many jobs may have ended that Redis does not know of, and for Redis a queue with jobs,
as calls are under way then.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter

from jobd.supervisor import exits
from tests.chaos.daemon import Daemon
from tests.servers import RedisServer

VICTIMS = ("worker", "master", "everything", "redis", "redis worker", "redis master", "redis everything")
WEIGHTS = (6, 2, 2, 5, 2, 1, 1)
BETWEEN, AWAY, BOOT, AIM = 0.05, 0.2, 0.8, 0.05
"""Seconds at most: between two kills, until Redis is started again, after the start of jobd, and for a good moment."""

BATCHES, QUEUES = "jobd:*:batch", "queue:*"


class Killer:
    """Kills one daemon and its server; `done` counts what, `killed` has the pids of all but the server."""

    def __init__(self, daemon: Daemon, server: RedisServer, chance: random.Random) -> None:
        self._daemon, self._server, self._chance = daemon, server, chance
        self._redis_is_there = True
        self.done: Counter[str] = Counter()
        self.killed: set[int] = set()

    def act(self) -> None:
        """Kill somebody, and start again what is missing."""
        names = self._chance.choices(VICTIMS, WEIGHTS)[0].split()
        self._chance.shuffle(names)
        for name in names:
            self._kill(name)
            _pause(self._chance.uniform(0, BETWEEN) * self._chance.choice((0, 1)))
        if not self._redis_is_there:
            _pause(self._chance.uniform(0, AWAY))
            self._start_redis()
        if not self._daemon.is_alive:
            self._start_daemon()

    def _start_daemon(self) -> None:
        match self._chance.choice(("", "", "everything", "redis")):
            case "everything":
                with self._launched() as launched:
                    self._kill("everything")
                    launched.communicate()
            case "redis":
                launched = self._launched()
                self._kill("redis")
                self._start_redis()
                if self._daemon.wait_for_start(launched)[0] == exits.OK:
                    return
        self._daemon.start()

    def _launched(self) -> subprocess.Popen[str]:
        """A jobd that is somewhere in its start."""
        launched = self._daemon.launch()
        _pause(self._chance.uniform(0, BOOT))
        return launched

    def _start_redis(self) -> None:
        self._server.start()
        self._redis_is_there = True

    def _kill(self, name: str) -> None:
        self.done[name] += 1
        match name:
            case "worker":
                self._kill_worker()
            case "master":
                self._daemon.signal(signal.SIGKILL)
                self._daemon.wait(5.0)
            case "everything":
                self.killed |= self._daemon.kill_everything(self._chance, lambda: self._aim(BATCHES))
            case _:
                self._aim(QUEUES)
                self._server.kill()
                self._redis_is_there = False

    def _kill_worker(self) -> None:
        children = sorted(self._daemon.children())
        if children:
            key = self._aim(BATCHES)
            owner = int(key.split(b":")[2]) if key else 0
            pid = owner if owner in children else self._chance.choice(children)
            self.killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _aim(self, keys: str) -> bytes | None:
        """Half the time, wait until there is one of these keys; the first of them, if there is any."""
        if not self._redis_is_there or self._chance.random() < 0.5:
            return None
        until = time.monotonic() + AIM
        with self._server.client() as redis:
            while time.monotonic() < until:
                for key in redis.scan_iter(keys):
                    return bytes(key)
        return None


def _pause(seconds: float) -> None:
    """Part of what a round does, and no wait for anything."""
    time.sleep(seconds)
