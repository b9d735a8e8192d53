"""How fast one thread pushes jobs, by each system's own client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jobd
from bench import push
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.sizing import Sized
from bench.stage import Theatre
from bench.systems import System


def sample(theatre: Theatre, system: System, jobs: int, *, bulk: bool) -> Figures:
    """Push into an empty database."""
    server = theatre.server
    server.client.flushall()
    cpu, watch = server.cpu(), Watch()
    took = theatre.producers.push(system, [(jobs, "nothing", [1])], bulk=bulk)
    return {
        "jobs/s": jobs / took["seconds"],
        "CPU µs/job": took["cpu"] / jobs * 1e6,
        "Redis µs/job": (server.cpu() - cpu) / jobs * 1e6,
        "others": watch.others(),
    }


def calls(theatre: Theatre, systems: Sequence[System], *, bulk: bool) -> Cases:
    """One job a call, or a thousand where that exists."""
    chosen = [system for system in _distinct(systems) if system.has_bulk or not bulk]
    return {s.name: Sized(partial(sample, theatre, s, bulk=bulk), theatre.seconds) for s in chosen}


def ways(theatre: Theatre, systems: Sequence[System], *, bulk: bool) -> Cases:
    """jobd's calls, and redis-py's pipeline."""
    chosen = {name: way for name, way in push.WAYS.items() if way.is_bulk == bulk}
    return {name: Sized(partial(_way, theatre, way), theatre.seconds) for name, way in chosen.items()}


def _way(theatre: Theatre, way: push.Way, jobs: int) -> Figures:
    jobd.configure(redis_url=theatre.server.url)
    watch = Watch()
    return {**push.measure(theatre.server.client, way, jobs), "others": watch.others()}


def _distinct(systems: Sequence[System]) -> list[System]:
    """One of each family: how the worker runs makes no difference."""
    return list(
        {(system.family, system.environment.get("PYTHONPATH")): system for system in reversed(systems)}.values()
    )[::-1]


COLUMNS = ("jobs/s", "CPU µs/job", "Redis µs/job")
SINGLE = Measure(
    "push-single",
    "Pushing one job after the other",
    "perform_async, delay, send, enqueue: whatever the system's own call is, one job a call, from one thread.",
    partial(calls, bulk=False),
    COLUMNS,
    base="jobd",
    compare="jobd is × as fast",
    most_rounds=3,
    fixed=1.5,
)
WAYS = replace(
    SINGLE,
    name="push-ways-single",
    title="Pushing, beside redis-py alone",
    text="jobd's calls beside redis-py's pipeline with SADD and LPUSH in one packet and a payload made by "
    "`json.dumps`. The bare socket shows how much of it is the way to Redis and back, which no client can save. Redis' "
    "own account of its CPU time.",
    cases=partial(ways, bulk=False),
    base=push.FLOOR,
    rows="call",
    compare="× redis-py",
    most_rounds=5,
    fixed=0.2,
)
MEASURES = (
    SINGLE,
    replace(
        SINGLE,
        name="push-bulk",
        title="Pushing many jobs at once",
        text="A thousand jobs a call, for systems that have such a call.",
        cases=partial(calls, bulk=True),
    ),
    WAYS,
    replace(
        WAYS,
        name="push-ways-bulk",
        title="Pushing many, beside redis-py alone",
        text="The same with one LPUSH for each thousand jobs.",
        cases=partial(ways, bulk=True),
        base=push.BULK_FLOOR,
    ),
)
