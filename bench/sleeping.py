"""Jobs that wait for something: how near to all threads being busy a system comes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from bench.drain import drained
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Jobs, Theatre
from bench.systems import PEERS, Setup, System

NAP = 0.01
NAPS: Jobs = [(1, "nap", [NAP])]
MIXED: Jobs = [(49, "nothing", [1]), (1, "nap", [NAP])]
BEFORE, LONG, LONG_SECONDS, PROCESSES = 2_000, 100, 0.3, 2
LENGTHS = 2.0
"""Longer than other samples: one moment in which the end was not seen yet must not count for a per cent."""
SLEEP_LOOP, IDEAL = "bare sleep loop", "ideal: bare sleep loop × 50"


def sleep_loop(theatre: Theatre, times: int = 1) -> Figures:
    """Naps a second of ten threads without any queue, times the jobs for each nap."""
    watch = Watch()
    command = [sys.executable, str(PEERS / "floor_app.py"), "sleep", "10", str(theatre.seconds), str(NAP)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"jobs/s": float(done.stdout) * times, "others": watch.others()}


def naps(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Jobs of 10 ms."""
    takes = {s.name: drained(theatre, s, Setup(), NAPS, LENGTHS) for s in _threaded(systems)}
    return {SLEEP_LOOP: lambda: sleep_loop(theatre), **takes}


def mixed(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """One job of 10 ms after 49 that do nothing."""
    takes = {s.name: drained(theatre, s, Setup(), MIXED, LENGTHS) for s in _threaded(systems)}
    return {IDEAL: lambda: sleep_loop(theatre, 50), **takes}


def surprise(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Long jobs after many short ones, by which a system that fetches ahead is deceived."""
    return {s.name: partial(makespan, theatre, s) for s in _threaded(systems)}


def makespan(theatre: Theatre, system: System, long: int = LONG, seconds: float = LONG_SECONDS) -> Figures:
    """From the moment when all are there to the end of the last one."""
    copy = theatre.producers.copy(system, [(BEFORE, "nothing", [1]), (long, "mark", [seconds])])
    setup = Setup(processes=PROCESSES)
    client = theatre.server.client
    with theatre.run(system, setup) as stage:
        watch, fed = Watch(), stage.feed(copy)
        stage.until(lambda: int(client.get("bench:done") or 0) >= long, 120, look=0.002)
        now, microseconds = client.time()
        took = now + microseconds / 1e6 - fed
    ideal = long * seconds / (setup.threads * setup.processes)
    return {"seconds": took, "of ideal": took / ideal, "others": watch.others()}


def _threaded(systems: Sequence[System]) -> list[System]:
    return [system for system in systems if system.threads is None and not system.job_log]


MEASURES = (
    Measure(
        "naps",
        "Jobs of 10 ms",
        "Jobs that sleep for 10 ms, one process with ten threads, beside as many that sleep in a loop without any.",
        naps,
        ("jobs/s", "CPU µs/job", "Redis µs/job"),
        base=SLEEP_LOOP,
        compare="of the sleep loop",
        most_rounds=3,
    ),
    Measure(
        "mixed",
        "One slow job in fifty",
        "49 jobs that do nothing, one that sleeps for 10 ms, and so on; one process with ten threads. Ideal is that "
        "every thread always sleeps: fifty times the sleep loop.",
        mixed,
        ("jobs/s", "CPU µs/job", "Redis µs/job"),
        base=IDEAL,
        compare="of ideal",
        most_rounds=3,
    ),
    Measure(
        "surprise",
        "Long jobs after short ones",
        f"{BEFORE:,} jobs that do nothing and then {LONG} that take 300 ms, in one queue, with {PROCESSES} processes "
        f"of ten threads: until the last one is done. Ideal: {LONG * LONG_SECONDS / 20:g} s.",
        surprise,
        ("seconds", "of ideal"),
        most_rounds=3,
        fixed=5.0,
        lengths=0.0,
    ),
)
