"""What a system takes from the machine when there is nothing to do: CPU time and memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Stage, Theatre
from bench.systems import Setup, System

SETTLE = 1.0
JOBS = 1_000
"""Jobs that each system runs before: memory is that of a process that has worked."""


def rest(theatre: Theatre, stage: Stage, processes: int) -> Figures:
    """Do nothing for a while; shares of one core, in per cent."""
    time.sleep(SETTLE)
    cpu, server_cpu, started, watch = stage.processes.cpu(), theatre.server.cpu(), time.monotonic(), Watch()
    time.sleep(max(3.0, theatre.seconds * 5))
    seconds = time.monotonic() - started
    return {
        "CPU %/process": (stage.processes.cpu() - cpu) / seconds * 100 / processes,
        "Redis %": (theatre.server.cpu() - server_cpu) / seconds * 100,
        "PSS MB": stage.processes.memory(),
        "PSS MB/process": stage.processes.memory() / processes,
        "others": watch.others(),
    }


def cases(theatre: Theatre, systems: Sequence[System], processes: int) -> Cases:
    """Every system that does not merely log."""

    def take(system: System) -> Figures:
        copy = theatre.producers.copy(system, [(JOBS, "nothing", [1])])
        with theatre.run(system, Setup(processes=processes)) as stage:
            stage.feed(copy)
            stage.wait(lambda look: look.left == 0, 60)
            return rest(theatre, stage, processes)

    return {system.name: partial(take, system) for system in systems if not system.job_log}


ONE = Measure(
    "idle-1",
    "Idle, one process",
    f"After {JOBS:,} jobs, with nothing to do: CPU time as a share of one core, and memory as PSS, in which pages that "
    "processes share are divided among them. Masters are included.",
    lambda theatre, systems: cases(theatre, systems, 1),
    ("CPU %/process", "Redis %", "PSS MB"),
    most_rounds=3,
)
TWO = replace(
    ONE,
    name="idle-2",
    title="Idle, two processes",
    text="The same with two worker processes.",
    cases=lambda theatre, systems: cases(theatre, systems, 2),
    figures=("CPU %/process", "Redis %", "PSS MB", "PSS MB/process"),
)
