"""How fast a queue of jobs that do nothing is worked off, and what CPU time each takes."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Copy, Jobs, Theatre, drain
from bench.systems import Setup, System

NOTHING: Jobs = [(1, "nothing", [1])]
FIRST_GUESS = 1_000
MOST_JOBS = 2_000_000
PAYLOAD_BYTES = 181
"""What redis-benchmark stores: as much as a job without much of an argument."""


def round_number(value: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, … from `value` on, so that systems share copies."""
    power = 10 ** math.floor(math.log10(max(value, 1)))
    return int(next(step * power for step in (1, 2, 5, 10) if step * power >= value))


@dataclass
class Drain:
    """Takes samples of one system. The first one finds out how many jobs last long enough."""

    theatre: Theatre
    system: System
    setup: Setup
    jobs: Jobs = field(default_factory=lambda: NOTHING)
    _repeat: int = 0

    def __call__(self) -> Figures:
        """One sample."""
        return self._sample(self._repeat) if self._repeat else self._first()

    def copy(self, repeat: int) -> Copy:
        """The jobs so many times; a single kind is pushed at once where the system can."""
        jobs, times = self.jobs, repeat
        if len(jobs) == 1:
            ((count, name, arguments),) = jobs
            jobs, times = [(count * repeat, name, arguments)], 1
        return self.theatre.producers.copy(self.system, jobs, times)

    def _sample(self, repeat: int) -> Figures:
        copy = self.copy(repeat)
        with self.theatre.run(self.system, self.setup) as stage:
            return drain(stage, copy).figures()

    def _first(self) -> Figures:
        per_repeat = sum(count for count, _, _ in self.jobs)
        repeat = round_number(FIRST_GUESS / per_repeat)
        while True:
            figures = self._sample(repeat)
            rate = figures["jobs/s"] / per_repeat
            wanted = round_number(min(rate * self.theatre.seconds, MOST_JOBS / per_repeat))
            if wanted <= repeat * 2:
                self._repeat = repeat
                return figures
            repeat = min(wanted, repeat * 50)


def redis_benchmark(theatre: Theatre, jobs: int = 50_000) -> Figures:
    """RPOP by ten connections, one command at a time: a queue without anybody who works."""
    program = shutil.which("redis-benchmark")
    if program is None:
        raise RuntimeError("PATH holds no redis-benchmark: apt-get install redis-tools")
    theatre.server.client.flushall()
    watch = Watch()
    common = [program, "-p", str(theatre.server.port), "-c", "10", "-d", str(PAYLOAD_BYTES), "-n", str(jobs)]
    done = subprocess.run([*common, "-t", "lpush,rpop", "--csv"], capture_output=True, text=True, check=True)
    rates = {
        name.strip('"'): float(rate.strip('"'))
        for name, rate, *_ in (line.split(",") for line in done.stdout.splitlines()[1:])
    }
    return {"jobs/s": rates["RPOP"], "others": watch.others()}


def cases(theatre: Theatre, systems: Sequence[System], processes: int) -> Cases:
    """Every system with so many processes, each as fast as it can."""
    takes: dict[str, Drain | Benchmark] = {
        system.name: Drain(theatre, system, Setup(processes=processes)) for system in systems
    }
    if processes == 1 and shutil.which("redis-benchmark"):
        takes["redis-benchmark RPOP, 10 connections"] = Benchmark(theatre)
    return takes


@dataclass
class Benchmark:
    """Takes samples of the server alone."""

    theatre: Theatre

    def __call__(self) -> Figures:
        """One sample, of as many jobs as the server can do in the time."""
        return redis_benchmark(self.theatre, round_number(100_000 * self.theatre.seconds))


ONE = Measure(
    "drain-1",
    "Empty jobs, one process",
    "Jobs that do nothing, one worker process with ten threads (RQ has none). They are written by the system's own "
    "client and put before it at one moment; the first 5 % are not counted. CPU time is that of all processes of the "
    "system and, apart, that of Redis. The two floors have no safety: what they hold when they are killed is lost.",
    lambda theatre, systems: cases(theatre, systems, 1),
    ("jobs/s", "CPU µs/job", "Redis µs/job"),
    base="jobd",
    compare="jobd is × as fast",
)
TWO = replace(
    ONE,
    name="drain-2",
    title="Empty jobs, two processes",
    text="The same with two worker processes. The machine's cores are shared with Redis.",
    cases=lambda theatre, systems: cases(theatre, systems, 2),
)
