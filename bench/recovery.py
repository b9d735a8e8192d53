"""What becomes of running jobs when processes of a system are killed, and what has ended is started again at once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from redis import Redis

from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Stage, Theatre
from bench.systems import Setup, System

SECONDS = 1.0
SHIFTS = 3
"""How many jobs one thread has to run."""
PATIENCE = {True: 5.0, False: 30.0}
"""Seconds from the kill for which the end is waited for, in a quick run and else."""

Kill = Callable[[Stage], set[int]]
"""Kills, and returns whom."""


def kill_all(stage: Stage) -> set[int]:
    """Masters and worker processes at one moment."""
    pids = {process.pid for process in stage.processes.family()}
    stage.processes.kill()
    return pids


def kill_one(stage: Stage) -> set[int]:
    """The process that runs most jobs."""
    ((pid, _),) = Counter(pid for _, pid in begun(stage.server.client).values()).most_common(1)
    os.kill(pid, signal.SIGKILL)
    return {pid}


def begun(client: Redis) -> dict[Any, tuple[float, int]]:
    """When each job began the last time, and in which process."""
    found = {number: text.split() for number, text in client.hgetall("bench:begun").items()}
    return {number: (float(at), int(pid)) for number, (at, pid) in found.items()}


def crash(theatre: Theatre, system: System, setup: Setup, kill: Kill) -> Figures:
    """Kill while all threads work, and see which jobs are done in the end, and when those that ran came back."""
    client, at_a_time = theatre.server.client, (system.threads or setup.threads) * setup.processes
    jobs = SHIFTS * at_a_time
    copy = theatre.producers.copy(system, [(1, "record", [number, SECONDS]) for number in range(jobs)])
    with theatre.run(system, setup) as stage:
        stage.feed(copy)
        stage.until(lambda: client.hlen("bench:begun") >= at_a_time, 30)
        killed, watch, started = kill(stage), Watch(), time.monotonic()
        ran = {number for number, (_, pid) in begun(client).items() if pid in killed}
        ran -= client.smembers("bench:finished")
        while client.scard("bench:finished") < jobs and time.monotonic() < started + PATIENCE[theatre.quick]:
            stage.processes.revive()
            time.sleep(0.05)
        took, undone = time.monotonic() - started, jobs - client.scard("bench:finished")
        back = [at - started for number, (at, _) in begun(client).items() if number in ran and at > started]
        figures = {"running": float(len(ran)), "left undone": float(undone), "others": watch.others()}
        figures |= {"running again s": max(back)} if ran and len(back) == len(ran) else {}
        return figures if undone else {**figures, "all done s": took}


def cases(theatre: Theatre, systems: Sequence[System], setup: Setup, kill: Kill) -> Cases:
    """Every system as its users start it."""
    chosen = [system for system in systems if system.is_plain]
    return {system.name: partial(crash, theatre, system, setup, kill) for system in chosen}


ALL = Measure(
    "recovery-all",
    "After kill -9 of all processes",
    f"{SHIFTS} jobs of {SECONDS:g} s for each thread; all processes are killed while jobs run, and the system is "
    "started again at once, with its defaults. How many jobs ran; how many of all are not done "
    f"{PATIENCE[False]:g} s later (quick run: {PATIENCE[True]:g} s); and the seconds from the kill, the start of the "
    "program included, until the last of those that ran was running again and until all were done.",
    lambda theatre, systems: cases(theatre, systems, Setup(), kill_all),
    ("running", "left undone", "running again s", "all done s"),
    most_rounds=3,
    once_from=10.0,
    fixed=4.0,
    lengths=3.5,
)
ONE = replace(
    ALL,
    name="recovery-one",
    title="After kill -9 of one of two processes",
    text="The same with two worker processes, of which one is killed. A program that ends for that, or was the one, is "
    "started again at once.",
    cases=lambda theatre, systems: cases(theatre, systems, Setup(processes=2), kill_one),
)
