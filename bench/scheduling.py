"""Jobs that are due later: how late they start, and how many of them a system can move when all are due."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial

from redis import Redis

from bench.latency import stamps
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Theatre
from bench.systems import QUEUE, Setup, System

RATE = 50
DELAY = 2.0
PATIENCE = 60.0
LENGTHS = 3.0
PROCESSES = (1, 4, 16)
DUE = {True: 20_000, False: 1_000_000}
"""Jobs that are due at one moment, in a quick run and else."""
MOVING = 30.0
SLOW_CALL = 0.0005
"""Seconds from which the server notes a command as slow."""


def late(theatre: Theatre, system: System, processes: int) -> Figures:
    """Have a system that has nothing else to do start jobs at their time."""
    with theatre.run(system, Setup(processes=processes, scheduled=True)) as stage:
        return stamps(theatre, stage, RATE, DELAY, PATIENCE)


def lateness(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Every system that can run a job later, and jobd with more processes."""
    chosen = [system for system in systems if system.is_plain and not system.name.startswith("redis-py")]
    return {
        system.name if count == 1 else f"{system.name}, {count} processes": partial(late, theatre, system, count)
        for system in chosen
        for count in (PROCESSES if system.name.startswith("jobd") else PROCESSES[:1])
    }


def fill(client: Redis, key: str, name: str, jobs: int) -> None:
    """Put so many jobs into a sorted set, all due, in the data model that jobd and Sidekiq share."""
    now = time.time()
    fields = {"retry": True, "queue": QUEUE, "class": name, "args": [1], "created_at": now}
    for first in range(0, jobs, 1_000):
        members = {json.dumps({**fields, "jid": f"{number:024x}"}): now - 1 for number in range(first, first + 1_000)}
        client.zadd(key, members)


def promoted(theatre: Theatre, system: System) -> Figures:
    """Have a working process find all of them due at one moment; it runs them at the same time."""
    client, jobs = theatre.server.client, DUE[theatre.quick]
    name = "Nothing" if system.name == "Sidekiq" else "nothing"
    with theatre.run(system, Setup()) as stage:
        fill(client, "waiting", name, jobs)
        client.config_set("slowlog-log-slower-than", round(SLOW_CALL * 1e6))
        client.config_set("slowlog-max-len", 1_000_000)
        client.slowlog_reset()
        watch, started = Watch(), time.monotonic()
        client.rename("waiting", "schedule")
        stage.until(lambda: not client.exists("schedule") or time.monotonic() > started + MOVING, 2 * MOVING)
        moved, seconds = jobs - client.zcard("schedule"), time.monotonic() - started
        calls = [float(entry["duration"]) for entry in client.slowlog_get(1_000_000)]
        return {"jobs/s": moved / seconds, "longest call ms": max(calls, default=0.0) / 1_000, "others": watch.others()}


def promotion(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """The systems that keep such jobs in Sidekiq's sorted set."""
    chosen = [system for system in systems if system.is_plain and system.name.startswith(("jobd", "Sidekiq"))]
    return {system.name: partial(promoted, theatre, system) for system in chosen}


MEASURES = (
    Measure(
        "late",
        "Jobs that are due later",
        f"One idle process, or so many; a job about every {1_000 / RATE:g} ms that is to run {DELAY:g} s later. From "
        "the moment when it is due to the first line of the job. RQ runs its scheduler beside the worker.",
        lateness,
        ("p50 ms", "p99 ms", "max ms"),
        most_rounds=3,
        once_from=25.0,
        fixed=6.0,
        lengths=LENGTHS,
    ),
    Measure(
        "promotion",
        "A million jobs due at one moment",
        "One process, which moves them from the set of scheduled jobs into their queue and runs them meanwhile: until "
        f"the set is empty, or for {MOVING:g} s. The longest call is how long Redis at most answered nobody else.",
        promotion,
        ("jobs/s", "longest call ms"),
        most_rounds=2,
        once_from=25.0,
        fixed=60.0,
    ),
)
