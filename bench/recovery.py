"""What becomes of running jobs when all processes of a system are killed and it is started again at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Theatre, start
from bench.systems import Setup, System

JOBS, SECONDS = 50, 1.0
PATIENCE = {True: 12.0, False: 60.0}
"""Seconds after the new start that are waited for, in a quick run and else."""


def crash(theatre: Theatre, system: System) -> Figures:
    """Kill while all threads work, start again, and see which jobs are done in the end, and when those came back."""
    copy = theatre.producers.copy(system, [(1, "record", [number, SECONDS]) for number in range(JOBS)])
    client, setup, watch = theatre.server.client, Setup(), Watch()
    with theatre.run(system, setup) as stage:
        stage.feed(copy)
        stage.wait(lambda look: client.hlen("bench:begun") >= (system.threads or setup.threads), 30)
        stage.processes.kill()
    running = set(client.hkeys("bench:begun")) - client.smembers("bench:finished")
    client.hdel("bench:begun", *running)
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as directory:
        started = time.monotonic()
        processes = start(system, setup, theatre.server, Path(directory))
        try:
            while client.scard("bench:finished") < JOBS and time.monotonic() < started + PATIENCE[theatre.quick]:
                time.sleep(0.05)
            took = time.monotonic() - started
        finally:
            processes.kill()
    begun = {number: float(at) - started for number, at in client.hgetall("bench:begun").items()}
    finished = int(client.scard("bench:finished"))
    back = [begun[number] for number in running if number in begun]
    figures = {"running": float(len(running)), "left undone": float(JOBS - finished), "others": watch.others()}
    if len(back) == len(running):
        figures["running again s"] = max(back)
    if finished == JOBS:
        figures["all done s"] = took
    return figures


def cases(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Every system that does not merely log."""
    return {s.name: partial(crash, theatre, s) for s in systems if not s.job_log}


RECOVERY = Measure(
    "recovery",
    "After kill -9",
    f"{JOBS} jobs of {SECONDS:g} s; all processes are killed while jobs run, and the system is started again at once, "
    f"with its defaults. How many are not done {PATIENCE[False]:g} s later (quick run: {PATIENCE[True]:g} s), and "
    "when the last of those that had been running ran again, the start of the program included.",
    cases,
    ("running", "left undone", "running again s", "all done s"),
    most_rounds=2,
)
