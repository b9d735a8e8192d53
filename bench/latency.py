"""How long a job waits from the call that pushes it to its first line, when the process has nothing else to do."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Sequence
from functools import partial

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Stage, Theatre
from bench.systems import Setup, System

GAP = 0.01


def stamps(theatre: Theatre, stage: Stage, count: int, gap: float = GAP) -> Figures:
    """Push so many jobs that note how old they are, `gap` seconds apart."""
    client = theatre.server.client
    client.delete("bench:waits")
    cpu, server_cpu, watch = stage.processes.cpu(), theatre.server.cpu(), Watch()
    command = theatre.producers.command(stage.system, "stamps", {"count": count, "gap": gap})
    subprocess.run(command, env=stage.system.environ(theatre.server.url), capture_output=True, check=True)
    stage.wait(lambda look: client.llen("bench:waits") == count, 30)
    waits = sorted(float(each) * 1_000 for each in client.lrange("bench:waits", 0, -1))
    return {
        "p50 ms": statistics.median(waits),
        "p99 ms": waits[int(len(waits) * 0.99)],
        "max ms": waits[-1],
        "CPU µs/push": (stage.processes.cpu() - cpu) / count * 1e6,
        "Redis µs/push": (theatre.server.cpu() - server_cpu) / count * 1e6,
        "others": watch.others(),
    }


def cases(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Every system, one idle process."""

    def take(system: System) -> Figures:
        with theatre.run(system, Setup()) as stage:
            return stamps(theatre, stage, round(200 * theatre.seconds))

    return {system.name: partial(take, system) for system in systems}


START = Measure(
    "start",
    "From push to start",
    "One idle process with ten threads; a job about every 10 ms. From before the call that pushes, which is part of "
    "it, to the first line of the job. CPU time of the whole system and of Redis for each job.",
    cases,
    ("p50 ms", "p99 ms", "max ms", "CPU µs/push", "Redis µs/push"),
    base="redis-py BRPOP loop",
    compare="× the floor",
)
