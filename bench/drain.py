"""How fast a queue of jobs that do nothing is worked off, and what CPU time each takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.sizing import MOST_JOBS, Sized
from bench.stage import Copy, Jobs, Theatre, drain
from bench.systems import Setup, System

NOTHING: Jobs = [(1, "nothing", [1])]
MOST_BYTES = 300_000_000
"""Of a copy: what Redis takes in one command is limited."""
RPOP = "redis-benchmark RPOP, 10 connections"
PAYLOAD_BYTES = 181
"""What redis-benchmark stores: as much as a job without much of an argument."""


def sample(theatre: Theatre, system: System, setup: Setup, kinds: Jobs, jobs: int) -> Figures:
    """Work off about so many jobs of such kinds."""
    copy = copied(theatre, system, kinds, jobs)
    with theatre.run(system, setup) as stage:
        return drain(stage, copy).figures()


def copied(theatre: Theatre, system: System, kinds: Jobs, jobs: int) -> Copy:
    """About so many jobs; a single kind is pushed at once where the system can."""
    repeat = max(1, jobs // sum(count for count, _, _ in kinds))
    if len(kinds) > 1:
        return theatre.producers.copy(system, kinds, repeat)
    ((count, name, arguments),) = kinds
    return theatre.producers.copy(system, [(count * repeat, name, arguments)])


def drained(theatre: Theatre, system: System, setup: Setup, kinds: Jobs = NOTHING, lengths: float = 1.0) -> Sized:
    """Takes samples of one system, `lengths` times as long as others."""
    most = min(MOST_JOBS, MOST_BYTES // len(json.dumps(kinds)))
    return Sized(partial(sample, theatre, system, setup, kinds), theatre.seconds * lengths, most)


def redis_benchmark(theatre: Theatre, jobs: int) -> Figures:
    """RPOP by ten connections, one command at a time: a queue without anybody who works."""
    if not shutil.which("redis-benchmark"):
        raise RuntimeError("PATH holds no redis-benchmark: apt-get install redis-tools")
    theatre.server.client.flushall()
    watch = Watch()
    server = ["redis-benchmark", "-p", str(theatre.server.port), "-c", "10"]
    command = [*server, "-d", str(PAYLOAD_BYTES), "-n", str(jobs), "-t", "lpush,rpop", "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rates = dict(line.replace('"', "").split(",")[:2] for line in done.stdout.splitlines()[1:])
    return {"jobs/s": float(rates["RPOP"]), "others": watch.others()}


def cases(theatre: Theatre, systems: Sequence[System], processes: int) -> Cases:
    """Every system with so many processes, each as fast as it can."""
    takes = {system.name: drained(theatre, system, Setup(processes=processes)) for system in systems}
    if processes == 1:
        takes[RPOP] = Sized(partial(redis_benchmark, theatre), theatre.seconds)
    return takes


ONE = Measure(
    "drain-1",
    "Empty jobs, one process",
    "Jobs that do nothing, one worker process with ten threads (RQ has none). They are written by the system's own "
    "client and put before it at one moment; the first 5 % are not counted. Where Redis does not show what runs, a job "
    "counts as done once it is taken. CPU time is that of all processes of the system and, apart, that of Redis. "
    "Systems that log each job are compared with jobd doing so too. The two floors, BRPOP and RPOP, have no safety: "
    "what they hold when they are killed is lost.",
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
