"""Changes of a whole set through a dashboard, and what they cost the workers that fetch meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from redis import Redis

from bench import crowd
from bench.dashboard import Sites
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.stage import Jobs, Look, Stage, Theatre
from bench.systems import Setup, System, jobd

SLOW_CALL = 0.0005
"""Seconds from which the server notes a command as slow."""
MOST_SECONDS = 120.0
BESIDE = {True: 0.5, False: 3.0}
"""Seconds before and after the change in which the workers are watched without it, in a quick run and else."""
NAP = 0.001
BESIDES = {True: (100_000, 500_000), False: (600_000, 1_500_000)}
"""Jobs for the worker, of NAP seconds and empty ones; it must not run out of them."""


def retried(theatre: Theatre, sites: Sites, name: str, worker: System, jobs_beside: Jobs) -> Figures:
    """Have a dashboard retry all, while a worker has other jobs."""
    client = theatre.server.client
    copy = theatre.producers.copy(worker, jobs_beside)
    with theatre.run(worker, Setup()) as stage:
        crowd.fill_retries(client, crowd.QUICK if theatre.quick else crowd.FULL)
        jobs, served = int(client.zcard("retry")), sites(name)
        stage.feed(copy)
        beside = partial(_rate, stage, seconds=BESIDE[theatre.quick], over=lambda: False)
        before = beside()
        _note_calls(client)
        watch, cpu, started = Watch(), served.cpu(), time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(served.retry_all)
            during = _rate(stage, lambda: not client.exists("retry"), MOST_SECONDS)
            seconds, used, others = time.monotonic() - started, served.cpu() - cpu, watch.others()
            answer.result(MOST_SECONDS)
        longest, after = _longest_call(client), beside()
        if not stage.look().left or client.exists("retry"):
            raise RuntimeError("the worker had no jobs left, or the change has not ended")
    return {
        "seconds": seconds,
        "jobs/s": jobs / seconds,
        "worker slower %": (1 - during * 2 / (before + after)) * 100,
        "longest call ms": longest,
        "CPU s": used,
        "others": others,
    }


def _rate(stage: Stage, over: Callable[[], bool], seconds: float) -> float:
    """Jobs a second that the worker does until it is over, at most for so many seconds."""
    first, deadline = stage.look(), time.monotonic() + seconds

    def is_over(_: Look) -> bool:
        return over() or time.monotonic() > deadline

    last = stage.wait(is_over, seconds * 2)
    return (first.left - last.left) / (last.time - first.time)


def _note_calls(client: Redis) -> None:
    client.config_set("slowlog-log-slower-than", round(SLOW_CALL * 1e6))
    client.config_set("slowlog-max-len", 1_000_000)
    client.slowlog_reset()


def _longest_call(client: Redis) -> float:
    """Milliseconds of the slowest command since `_note_calls`; 0 if none was slow."""
    return max((float(entry["duration"]) for entry in client.slowlog_get(1_000_000)), default=0.0) / 1_000


def retries(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """jobd's dashboard and Sidekiq's Web UI, each beside two kinds of work."""
    sites, names = Sites(theatre), {system.name for system in systems if system.is_plain}
    short, empty = BESIDES[theatre.quick]
    workers: list[tuple[str, System, Jobs]] = [
        (f"jobs of {NAP * 1_000:g} ms", jobd(), [(short, "nap", [NAP])]),
        ("a call for each job", jobd(prefetch=1), [(empty, "nothing", [1])]),
    ]
    return {
        f"{name}, {what}": partial(retried, theatre, sites, name, worker, jobs)
        for name in ("jobd", "Sidekiq")
        for what, worker, jobs in (workers if name in names else ())
    }


RETRY_ALL = Measure(
    "dashboard-retry-all",
    "Retry of a whole set",
    f"{crowd.FULL.retries:,} retries are put back into their {crowd.FULL.queues} queues by the button for all of them, "
    "on a Redis that holds nothing else. Meanwhile a worker process of jobd with ten threads works on other jobs: on "
    "jobs that sleep, with its settings as they come; on empty jobs with `prefetch: 1`, so that each is a call of "
    "Redis. By how much it is slower than before and afterwards. The longest call is how long Redis at most answered "
    "nobody else; CPU time of the web process.",
    retries,
    ("seconds", "jobs/s", "worker slower %", "longest call ms", "CPU s"),
    wanted={"seconds": 10.0, "worker slower %": 5.0, "longest call ms": 5.0},
    rows="dashboard, worker",
    most_rounds=3,
    once_from=60.0,
    fixed=40.0,
    lengths=0.0,
)
