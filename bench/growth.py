"""How jobd's figures change with what there is more of: jobs, queues, threads, bytes, processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bench.drain import NOTHING, copied, drained
from bench.idle import resting
from bench.latency import waiting
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Jobs, Look, Span, Theatre
from bench.systems import QUEUE, Setup, System

QUEUED = (1_000, 10_000, 100_000, 1_000_000)
QUEUES = (1, 10, 50, 200)
THREADS = (1, 5, 10, 25, 50)
KILOBYTES = (0.2, 1, 10, 100)
PROCESSES = (1, 2, 4, 8, 16)
BUSY_PROCESSES = (1, 2, 4)
RATES = (100, 1_000)

Take = Callable[[], Figures]


def _rows(theatre: Theatre, values: Sequence[Any]) -> Sequence[Any]:
    """All, or for a quick run the first and the last."""
    return (values[0], values[-1]) if theatre.quick else values


def _labelled(systems: Sequence[System], what: str) -> list[tuple[str, System]]:
    """The checkouts of jobd that are compared, with the label of their row."""
    chosen = [each for each in systems if each.name.startswith("jobd") and each.is_plain]
    return [(what if len(chosen) == 1 else f"{system.name}, {what}", system) for system in chosen]


def _waiting(systems: Sequence[System]) -> list[System]:
    """jobd, and the floor as what is the least that waiting costs."""
    return [each for each in systems if each.name.startswith(("jobd", "redis-py")) and each.is_plain]


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def first_jobs(theatre: Theatre, system: System, queued: int) -> Figures:
    """Feed so many again and again until the time is over; the rest of a long queue is not waited for."""
    copy = copied(theatre, system, NOTHING, queued)
    jobs, seconds, cpu, server_cpu = 0, 0.0, 0.0, 0.0
    with theatre.run(system, Setup()) as stage:
        watch = Watch()
        while seconds < theatre.seconds:
            before, fed = stage.processes.cpu(), stage.feed(copy)
            server_before = theatre.server.cpu()  # after a million jobs were put there, which is no work of the system

            def is_over(look: Look, over: float = fed + theatre.seconds) -> bool:
                return look.left == 0 or look.time > over

            end = stage.wait(is_over, 120)
            jobs, seconds = jobs + copy.jobs - end.left, seconds + end.time - fed
            cpu, server_cpu = cpu + stage.processes.cpu() - before, server_cpu + theatre.server.cpu() - server_before
        return Span(jobs, seconds, cpu, server_cpu, watch.others()).figures()


def queued(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Jobs in the queue when the system starts on them."""
    found: dict[str, Take] = {}
    for count in _rows(theatre, QUEUED):
        for label, system in _labelled(systems, f"{count:,}"):
            found[label] = partial(first_jobs, theatre, system, count)
    return found


def queues(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Queues that are asked, of which only the last has jobs."""
    found: dict[str, Take] = {}
    for count in _rows(theatre, QUEUES):
        setup = Setup(queues=(*(f"empty{number}" for number in range(count - 1)), QUEUE))
        for label, system in _labelled(systems, str(count)):
            found[label] = drained(theatre, system, setup)
    return found


def threads(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Threads of the one process."""
    found: dict[str, Take] = {}
    for count in _rows(theatre, THREADS):
        for label, system in _labelled(systems, str(count)):
            found[label] = drained(theatre, system, Setup(threads=count))
    return found


def arguments(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Bytes that a job carries."""
    found: dict[str, Take] = {}
    for size in _rows(theatre, KILOBYTES):
        jobs: Jobs = [(1, "nothing", ["x" * round(size * 1_000)])]
        for label, system in _labelled(systems, f"{size:g}"):
            found[label] = drained(theatre, system, Setup(), jobs)
    return found


def processes(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Processes that work off one queue."""
    found: dict[str, Take] = {}
    for count in _rows(theatre, BUSY_PROCESSES):
        for label, system in _labelled(systems, str(count)):
            found[label] = drained(theatre, system, Setup(processes=count))
    return found


def idle(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Processes that wait for one queue, of the floor only one and the most."""
    return {
        f"{system.name}, {_counted(count)}": partial(resting, theatre, system, count)
        for system in _waiting(systems)
        for count in _rows(theatre, PROCESSES)
        if system.name.startswith("jobd") or count in (PROCESSES[0], PROCESSES[-1])
    }


def pushes(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Jobs that come while one process waits for them, and while the most do."""
    return {
        f"{system.name}, {_counted(count)}, {rate:,}/s": partial(waiting, theatre, system, Setup(processes=count), rate)
        for rate in RATES
        for count in (PROCESSES[0], PROCESSES[-1])
        for system in _waiting(systems)
    }


QUEUED_MEASURE = Measure(
    "growth-queued",
    "More jobs in the queue",
    "Empty jobs, one process. From the moment when they are there, the waking of the process included, which weighs "
    "most on the shortest queue.",
    queued,
    ("jobs/s", "CPU µs/job", "Redis µs/job"),
    rows="jobs in the queue",
    most_rounds=3,
)
PUSHES_MEASURE = Measure(
    "growth-pushes",
    "A push among idle processes",
    "One process, and sixteen, that wait for one queue into which jobs come one at a time, so many a second. CPU time "
    "of all processes, and of Redis, for each job.",
    pushes,
    ("pushes/s", "p50 ms", "p99 ms", "CPU µs/push", "Redis µs/push"),
    most_rounds=2,
    fixed=5.0,
    lengths=3.0,
)
MEASURES = (
    QUEUED_MEASURE,
    replace(
        QUEUED_MEASURE,
        name="growth-queues",
        title="More queues",
        text="Only the last queue in strict order has jobs.",
        cases=queues,
        rows="queues",
    ),
    replace(
        QUEUED_MEASURE,
        name="growth-threads",
        title="More threads",
        text="Empty jobs, one process.",
        cases=threads,
        rows="threads",
    ),
    replace(
        QUEUED_MEASURE,
        name="growth-arguments",
        title="Larger arguments",
        text="Jobs with one text of so many kB, one process.",
        cases=arguments,
        rows="kB",
    ),
    replace(
        QUEUED_MEASURE,
        name="growth-processes",
        title="More processes",
        text="Empty jobs, worked off by so many processes, which share the machine's cores with Redis.",
        cases=processes,
        base="1",
        compare="× one process",
        rows="processes",
    ),
    replace(
        PUSHES_MEASURE,
        name="growth-idle",
        title="More idle processes",
        text="As the tables of idle processes above, with so many that wait for one queue.",
        cases=idle,
        figures=("CPU %/process", "Redis %", "PSS MB/process"),
        lengths=5.0,
    ),
    PUSHES_MEASURE,
)
