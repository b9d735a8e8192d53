"""What a system takes from the machine when there is nothing to do: CPU time and memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Theatre
from bench.systems import Setup, System

SETTLE = 1.0
LENGTHS = 5.0
"""Longer than other samples: heartbeats come every ten seconds."""
JOBS = 1_000
"""Jobs that each system runs before: memory is that of a process that has worked."""


def resting(theatre: Theatre, system: System, processes: int) -> Figures:
    """Work, then do nothing for a while; shares of one core, in per cent."""
    copy = theatre.producers.copy(system, [(JOBS, "nothing", [1])])
    with theatre.run(system, Setup(processes=processes)) as stage:
        stage.feed(copy)
        stage.wait(lambda look: look.left == 0, 60)
        time.sleep(SETTLE)
        cpu, server_cpu, started, watch = stage.processes.cpu(), theatre.server.cpu(), time.monotonic(), Watch()
        time.sleep(theatre.seconds * LENGTHS)
        seconds, memory = time.monotonic() - started, stage.processes.memory()
        return {
            "CPU %/process": (stage.processes.cpu() - cpu) / seconds * 100 / processes,
            "Redis %": (theatre.server.cpu() - server_cpu) / seconds * 100,
            "PSS MB": memory,
            "PSS MB/process": memory / processes,
            "others": watch.others(),
        }


def cases(theatre: Theatre, systems: Sequence[System], processes: int) -> Cases:
    """Every system as its users start it."""
    chosen = [system for system in systems if system.is_plain]
    return {system.name: partial(resting, theatre, system, processes) for system in chosen}


ONE = Measure(
    "idle-1",
    "Idle, one process",
    f"After {JOBS:,} jobs, with nothing to do: CPU time as a share of one core, and memory as PSS, in which pages that "
    "processes share are divided among them. Masters are included.",
    lambda theatre, systems: cases(theatre, systems, 1),
    ("CPU %/process", "Redis %", "PSS MB"),
    most_rounds=2,
    fixed=3.5,
    lengths=LENGTHS,
)
TWO = replace(
    ONE,
    name="idle-2",
    title="Idle, two processes",
    text="The same with two worker processes; figures of a process are half of what the whole system takes.",
    cases=lambda theatre, systems: cases(theatre, systems, 2),
    most_rounds=1,
    figures=("CPU %/process", "Redis %", "PSS MB", "PSS MB/process"),
)
