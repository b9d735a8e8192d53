"""How jobd's figures change with what there is more of: jobs, queues, threads, bytes, processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bench.drain import Drain
from bench.idle import rest
from bench.latency import stamps
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Jobs, Look, Span, Theatre
from bench.systems import QUEUE, Setup, System

QUEUED = (1_000, 10_000, 100_000, 1_000_000)
QUEUES = (1, 10, 50, 200)
THREADS = (1, 5, 10, 25, 50)
KILOBYTES = (0.2, 1, 10, 100)
PROCESSES = (1, 2, 4, 8, 16)


def _grown(systems: Sequence[System]) -> list[System]:
    return [system for system in systems if system.name.startswith("jobd") and not system.job_log]


def _labelled(systems: Sequence[System], what: str) -> list[tuple[str, System]]:
    """The checkouts of jobd that are compared, with the label of their row."""
    chosen = _grown(systems)
    return [(what if len(chosen) == 1 else f"{system.name}, {what}", system) for system in chosen]


def first_jobs(theatre: Theatre, system: System, queued: int) -> Figures:
    """Feed so many again and again until the time is over; the rest of a long queue is not waited for."""
    copy = Drain(theatre, system, Setup()).copy(queued)
    jobs, seconds = 0, 0.0
    with theatre.run(system, Setup()) as stage:
        cpu, server_cpu, watch = stage.processes.cpu(), theatre.server.cpu(), Watch()
        while seconds < theatre.seconds:
            fed = stage.feed(copy)
            over = fed + theatre.seconds

            def is_over(look: Look, over: float = over) -> bool:
                return look.left == 0 or look.time > over

            end = stage.wait(is_over, 120)
            jobs, seconds = jobs + copy.jobs - end.left, seconds + end.time - fed
        used, server_used = stage.processes.cpu() - cpu, theatre.server.cpu() - server_cpu
        return Span(jobs, seconds, used, server_used, watch.others()).figures()


def queued(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Jobs in the queue when the system starts on them."""
    found: dict[str, Callable[[], Figures]] = {}
    for count in QUEUED[:-1] if theatre.quick else QUEUED:
        for label, system in _labelled(systems, f"{count:,}"):
            found[label] = partial(first_jobs, theatre, system, count)
    return found


def queues(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Queues that are asked, of which only the last has jobs."""
    found: dict[str, Callable[[], Figures]] = {}
    for count in QUEUES:
        setup = Setup(queues=(*(f"empty{number}" for number in range(count - 1)), QUEUE))
        for label, system in _labelled(systems, str(count)):
            found[label] = Drain(theatre, system, setup)
    return found


def threads(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Threads of the one process."""
    found: dict[str, Callable[[], Figures]] = {}
    for count in THREADS:
        for label, system in _labelled(systems, str(count)):
            found[label] = Drain(theatre, system, Setup(threads=count))
    return found


def arguments(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Bytes that a job carries."""
    found: dict[str, Callable[[], Figures]] = {}
    for size in KILOBYTES:
        jobs: Jobs = [(1, "nothing", ["x" * round(size * 1_000)])]
        for label, system in _labelled(systems, f"{size:g}"):
            found[label] = Drain(theatre, system, Setup(), jobs)
    return found


def processes(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Processes that wait for the same queue."""

    def take(system: System, count: int) -> Figures:
        with theatre.run(system, Setup(processes=count)) as stage:
            resting = rest(theatre, stage, count)
            pushed = stamps(theatre, stage, round(100 * theatre.seconds))
            return {**pushed, **resting, "others": max(resting["others"], pushed["others"])}

    found: dict[str, Callable[[], Figures]] = {}
    for count in PROCESSES[:-1] if theatre.quick else PROCESSES:
        for label, system in _labelled(systems, str(count)):
            found[label] = partial(take, system, count)
    return found


COLUMNS = ("jobs/s", "CPU µs/job", "Redis µs/job")
MEASURES = (
    Measure(
        "growth-queued",
        "More jobs in the queue",
        "Empty jobs, one process. From the moment when they are there, the waking of the process included, which "
        "weighs most on the shortest queue.",
        queued,
        COLUMNS,
        rows="jobs in the queue",
    ),
    Measure(
        "growth-queues", "More queues", "Only the last queue in strict order has jobs.", queues, COLUMNS, rows="queues"
    ),
    Measure("growth-threads", "More threads", "Empty jobs, one process.", threads, COLUMNS, rows="threads"),
    Measure(
        "growth-arguments",
        "Larger arguments",
        "Jobs with one text of so many kB, one process.",
        arguments,
        COLUMNS,
        rows="kB",
    ),
    Measure(
        "growth-processes",
        "More idle processes",
        "Processes that wait for one queue: at rest, and when a job comes about every 10 ms.",
        processes,
        ("CPU %/process", "Redis %", "p50 ms", "p99 ms", "CPU µs/push", "Redis µs/push"),
        rows="processes",
    ),
)
