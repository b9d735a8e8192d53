"""How long a job waits from the call that pushes it to its first line, when the processes have nothing else to do."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from functools import partial

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Stage, Theatre
from bench.systems import Setup, System

LENGTHS = 3.0
"""Longer than other samples: the slowest of a hundred is to be one of several."""


def stamps(theatre: Theatre, stage: Stage, rate: float, delay: float = 0.0, patience: float = 30.0) -> Figures:
    """Push so many jobs a second, due in so many seconds, that note how late they are."""
    count = max(10, round(rate * theatre.seconds * LENGTHS))
    waits = stage.processes.directory / "waits"
    waits.write_text("")
    cpu, server_cpu, watch = stage.processes.cpu(), theatre.server.cpu(), Watch()
    command = theatre.producers.command(stage.system, "stamps", {"count": count, "gap": 1 / rate, "delay": delay})
    environment = stage.system.environ(theatre.server.url)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    stage.until(lambda: waits.read_bytes().count(b"\n") == count, delay + patience)
    found = sorted(float(line) * 1_000 for line in waits.read_text().split())
    return {
        "pushes/s": count / json.loads(done.stdout.splitlines()[-1])["seconds"],
        "p50 ms": statistics.median(found),
        "p99 ms": found[int(len(found) * 0.99)],
        "max ms": found[-1],
        "CPU µs/push": (stage.processes.cpu() - cpu) / count * 1e6,
        "Redis µs/push": (theatre.server.cpu() - server_cpu) / count * 1e6,
        "others": watch.others(),
    }


def waiting(theatre: Theatre, system: System, setup: Setup, rate: float) -> Figures:
    """One sample of a system that has nothing else to do."""
    with theatre.run(system, setup) as stage:
        return stamps(theatre, stage, rate)


def cases(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """One idle process."""
    chosen = [system for system in systems if system.is_plain]
    return {system.name: partial(waiting, theatre, system, Setup(), 100) for system in chosen}


START = Measure(
    "start",
    "From push to start",
    "One idle process with ten threads; a job about every 10 ms. From before the call that pushes, which is part of "
    "it, to the first line of the job. CPU time of the whole system and of Redis for each job.",
    cases,
    ("p50 ms", "p99 ms", "max ms", "CPU µs/push", "Redis µs/push"),
    base="redis-py BRPOP loop",
    compare="× the floor",
    most_rounds=3,
    lengths=LENGTHS,
)
