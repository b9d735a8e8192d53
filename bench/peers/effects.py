"""What the jobs of every Python system do. Only redis-py is needed, which they all have."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

import redis

QUEUE = "bench"


@functools.cache
def server() -> redis.Redis:
    """This process' own client, for jobs that leave a mark."""
    return redis.Redis.from_url(os.environ["BENCH_URL"])


def nothing(number: int | str) -> None:
    """Does nothing."""


def nap(seconds: float) -> None:
    """Sleeps."""
    time.sleep(seconds)


def hello() -> None:
    """Says which process runs jobs, and leaves the next one to another thread."""
    server().sadd("bench:pids", os.getpid())
    time.sleep(0.05)


def stamp(pushed_at: float) -> None:
    """Notes how long ago it was pushed, on the clock that all processes of a machine share."""
    waited = time.monotonic() - pushed_at
    server().rpush("bench:waits", waited)


def mark(seconds: float) -> None:
    """Sleeps, and counts that it is done."""
    time.sleep(seconds)
    server().incr("bench:done")


def record(number: int, seconds: float) -> None:
    """Notes when it starts, sleeps, and notes that it is done."""
    server().hset("bench:begun", number, time.monotonic())
    time.sleep(seconds)
    server().sadd("bench:finished", number)


EFFECTS: dict[str, Callable[..., None]] = {
    effect.__name__: effect for effect in (nothing, nap, hello, stamp, mark, record)
}
