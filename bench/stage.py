"""One system on an emptied server: fed from copies that its own producer has made, and watched through Redis alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from bench.load import Watch
from bench.processes import Processes
from bench.server import Server
from bench.systems import Setup, System

BOOT_SECONDS = 60.0
LOOK = 0.01
"""Seconds between two looks at a queue."""

SETTLE = 0.2
"""Seconds in which the last of the greeting jobs end, where Redis shows only which have begun."""

Jobs = Sequence[tuple[int, str, Sequence[Any]]]
"""How many jobs of which name, with which arguments."""


@dataclass(frozen=True)
class Copy:
    """Everything that a producer wrote into an empty database, and how many jobs that are."""

    jobs: int
    keys: Mapping[bytes, bytes]
    took: Mapping[str, float] = field(hash=False)


class Producers:
    """Has a system's own producer push, and keeps copies of what it wrote for the next time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._copies: dict[str, Copy] = {}

    def command(self, system: System, word: str, spec: Mapping[str, Any]) -> list[str]:
        """The producer's command line."""
        return [*system.producer, word, json.dumps(spec)]

    def push(self, system: System, jobs: Jobs, repeat: int = 1, *, bulk: bool = True) -> Any:
        """Push into the database as it is; what the producer says that it took."""
        spec = {"jobs": jobs, "repeat": repeat, "bulk": bulk and system.has_bulk}
        done = subprocess.run(
            self.command(system, "fill", spec),
            env=system.environ(self._server.url),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{system.name} cannot push:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def copy(self, system: System, jobs: Jobs, repeat: int = 1) -> Copy:
        """A copy of such jobs, made at the first time. It empties the database."""
        name = f"{system.family} {json.dumps(jobs)} {repeat}"
        if name not in self._copies:
            client = self._server.client
            client.flushall()
            took = self.push(system, jobs, repeat)
            if not system.counts_done and (left := count(client, system)[0]) != took["jobs"]:
                raise RuntimeError(f"{system.name}: {took['jobs']} jobs were pushed, and Redis shows {left}")
            keys = {key: client.dump(key) or b"" for key in client.scan_iter()}
            self._copies[name] = Copy(took["jobs"], keys, took)
        return self._copies[name]

    def forget(self) -> None:
        """Give the memory of all copies back."""
        self._copies.clear()


@dataclass(frozen=True)
class Look:
    """What Redis showed at a time of its own clock, in seconds."""

    time: float
    left: int


def count(client: Redis, system: System) -> tuple[int, float]:
    """The sum of `system.left`, and the server's time at that moment."""
    with client.pipeline(transaction=True) as pipeline:
        for command, key in system.left:
            pipeline.execute_command(command, key)
        pipeline.time()
        *counts, (seconds, microseconds) = pipeline.execute()
    return sum(int(each or 0) for each in counts), float(seconds + microseconds / 1e6)


class Stage:
    """A system that runs. `feed` gives it a copy, and `look` says how far it is."""

    def __init__(self, server: Server, system: System, processes: Processes) -> None:
        self.server, self.system, self.processes = server, system, processes
        self._fed = 0

    def feed(self, copy: Copy) -> float:
        """Put the jobs of a copy into Redis, all of them at one moment, which is returned (server's time)."""
        client = self.server.client
        self._fed += copy.jobs
        with client.pipeline(transaction=True) as pipeline:
            for key, value in copy.keys.items():
                pipeline.restore(key, 0, value, replace=True)
            pipeline.time()
            seconds, microseconds = pipeline.execute()[-1]
        return float(seconds + microseconds / 1e6)

    def look(self) -> Look:
        """How many of the fed jobs are not yet done."""
        counted, now = count(self.server.client, self.system)
        return Look(now, self._fed - counted if self.system.counts_done else counted)

    def wait(self, ready: Callable[[Look], bool], seconds: float) -> Look:
        """The first look that satisfies; raises if that is in vain for so many seconds."""
        deadline = time.monotonic() + seconds
        while not ready(look := self.look()):
            self._pause(deadline)
        return look

    def until(self, ready: Callable[[], bool], seconds: float, look: float = LOOK) -> None:
        """Ask every `look` seconds; raises if that is in vain for so many seconds."""
        deadline = time.monotonic() + seconds
        while not ready():
            self._pause(deadline, look)

    def _pause(self, deadline: float, seconds: float = LOOK) -> None:
        if time.monotonic() > deadline:
            self.processes.check()
            log = self.processes.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.system.name} does not get on; it has {self.look().left} jobs left:\n{log}")
        time.sleep(seconds)

    def greet(self, hellos: Copy, processes: int) -> None:
        """Return once so many processes run jobs, and are done with those."""
        client, deadline = self.server.client, time.monotonic() + BOOT_SECONDS
        while client.scard("bench:pids") < processes:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.system.name}: {client.scard('bench:pids')} of {processes} processes work")
            self.processes.check()
            self.feed(hellos)
            self.wait(lambda look: look.left == 0, BOOT_SECONDS)
        time.sleep(SETTLE)
        client.delete("bench:pids")


@dataclass
class Theatre:
    """What the measures of a run share."""

    server: Server
    producers: Producers
    seconds: float
    """How long a measurement takes at least, where that can be chosen."""
    quick: bool = False
    guests: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What ends with the measure that brought it."""

    def rest(self) -> None:
        """End what a measure leaves behind, and give its memory back."""
        self.guests.close()
        self.producers.forget()

    @contextlib.contextmanager
    def run(self, system: System, setup: Setup) -> Iterator[Stage]:
        """Run a system on an emptied server as long as the block lasts; all its processes work when it begins."""
        at_a_time = (system.threads or setup.threads) * setup.processes
        hellos = self.producers.copy(system, [(2 * at_a_time, "hello", [])])
        self.server.client.flushall()
        with tempfile.TemporaryDirectory(prefix="jobd-bench-") as directory:
            processes = start(system, setup, self.server, Path(directory))
            try:
                stage = Stage(self.server, system, processes)
                stage.greet(hellos, setup.processes)
                yield stage
            finally:
                processes.kill()


def start(system: System, setup: Setup, server: Server, directory: Path) -> Processes:
    """Start a system and do not wait."""
    commands = system.start(setup, server.url, directory)
    return Processes(commands, directory, system.environ(server.url))


@dataclass(frozen=True)
class Span:
    """What passed between two looks: jobs, seconds, CPU seconds, and the share that others had of the machine."""

    jobs: int
    seconds: float
    cpu: float
    server_cpu: float
    others: float

    def figures(self) -> dict[str, float]:
        """The figures of a drain."""
        return {
            "jobs/s": self.jobs / self.seconds,
            "CPU µs/job": self.cpu / self.jobs * 1e6,
            "Redis µs/job": self.server_cpu / self.jobs * 1e6,
            "others": self.others,
        }


def drain(stage: Stage, copy: Copy, skip: float = 0.05, limit: float = 120.0) -> Span:
    """Feed a copy to an idle system and wait until all is done.

    The first jobs are not counted, as the system wakes up; unless all are done before there was a second look.
    """
    cpu, server_cpu, watch = stage.processes.cpu(), stage.server.cpu(), Watch()
    begin = Look(stage.feed(copy), copy.jobs)
    look = stage.wait(lambda look: look.left <= copy.jobs * (1 - skip), limit)
    if look.left:
        begin, cpu, server_cpu, watch = look, stage.processes.cpu(), stage.server.cpu(), Watch()
        look = stage.wait(lambda look: look.left == 0, limit)
    used, server_used = stage.processes.cpu() - cpu, stage.server.cpu() - server_cpu
    return Span(begin.left, look.time - begin.time, used, server_used, watch.others())
