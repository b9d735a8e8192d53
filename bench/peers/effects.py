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
    """This process' own client, which waits for a reply as long as it takes: BRPOP's comes when a job does."""
    return redis.Redis.from_url(os.environ["BENCH_URL"], socket_timeout=None)


@functools.cache
def waits() -> int:
    """The file of waiting times: a line in it costs less than a command of Redis would add to what is measured."""
    return os.open("waits", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


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
    os.write(waits(), f"{waited}\n".encode())


def mark(seconds: float) -> None:
    """Sleeps, and counts that it is done."""
    time.sleep(seconds)
    server().incr("bench:done")


def record(number: int, seconds: float) -> None:
    """Notes when it starts and where, sleeps, and notes that it is done."""
    server().hset("bench:begun", number, f"{time.monotonic()} {os.getpid()}")
    time.sleep(seconds)
    server().sadd("bench:finished", number)


EFFECTS: dict[str, Callable[..., None]] = {
    effect.__name__: effect for effect in (nothing, nap, hello, stamp, mark, record)
}
