"""How fast one thread pushes jobs, by each system's own client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jobd
from bench import push
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Theatre
from bench.systems import System

FEW = 2_000
SINGLE = "perform_async, delay, send, enqueue: whatever the system's own call is, one job a call, from one thread."


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


def single(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """One job a call."""
    jobs = round(FEW * theatre.seconds)
    return {s.name: partial(sample, theatre, s, jobs, bulk=False) for s in _distinct(systems)}


def bulk(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """A thousand jobs a call, where that exists."""
    jobs = round(FEW * 20 * theatre.seconds)
    chosen = [system for system in _distinct(systems) if system.has_bulk]
    return {s.name: partial(sample, theatre, s, jobs, bulk=True) for s in chosen}


def ways(theatre: Theatre, systems: Sequence[System], *, is_bulk: bool) -> Cases:
    """jobd's calls, and redis-py's pipeline."""
    jobs = round(FEW * theatre.seconds) * (20 if is_bulk else 1)
    return {name: _way(theatre, way, jobs) for name, way in push.WAYS.items() if way.is_bulk == is_bulk}


def _way(theatre: Theatre, way: push.Way, jobs: int) -> Callable[[], Figures]:
    def take() -> Figures:
        jobd.configure(redis_url=theatre.server.url)
        watch = Watch()
        found = push.measure(theatre.server.client, way, max(1_000, jobs // 1_000 * 1_000))
        return {
            "jobs/s": found.rate,
            "CPU µs/job": found.client_us,
            "Redis µs/job": found.server_us,
            "others": watch.others(),
        }

    return take


def _distinct(systems: Sequence[System]) -> list[System]:
    """One of each family: how the worker runs makes no difference."""
    return list(
        {(system.family, system.environment.get("PYTHONPATH")): system for system in reversed(systems)}.values()
    )[::-1]


COLUMNS = ("jobs/s", "CPU µs/job", "Redis µs/job")
MEASURES = (
    Measure(
        "push-single", "Pushing one job after the other", SINGLE, single, COLUMNS, "jobd", compare="jobd is × as fast"
    ),
    Measure(
        "push-bulk",
        "Pushing many jobs at once",
        "A thousand jobs a call, for systems that have such a call.",
        bulk,
        COLUMNS,
        "jobd",
        compare="jobd is × as fast",
    ),
    Measure(
        "push-ways-single",
        "Pushing, beside redis-py alone",
        "jobd's calls beside redis-py's pipeline with SADD and LPUSH in one packet and a payload made by `json.dumps`. "
        "Redis' own account of its CPU time.",
        partial(ways, is_bulk=False),
        COLUMNS,
        push.FLOOR,
        "call",
        "× redis-py",
    ),
    Measure(
        "push-ways-bulk",
        "Pushing many, beside redis-py alone",
        "The same with one LPUSH for each thousand jobs.",
        partial(ways, is_bulk=True),
        COLUMNS,
        push.BULK_FLOOR,
        "call",
        "× redis-py",
    ),
)
