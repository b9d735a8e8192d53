"""How fast one process works off a queue of jobs that do nothing, beside a floor without any safety.

The floor is what a plain consumer does on the same server in the same run: BRPOP of redis-py, `json.loads` and INCR, in
as many threads. It loses what it holds when it is killed. Both are measured in turn; compare ratios of one run only.

    python bench/drain.py [--jobs N] [--rounds N] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import redis

import jobd
from jobd.supervisor.store import Store

QUEUE = "bench"


@jobd.job(queue=QUEUE, name="Bench")
def nothing(number: int) -> None:
    """Does nothing."""


def push(client: redis.Redis, jobs: int) -> None:
    """Fill the queue of an empty database."""
    client.flushall()
    nothing.perform_bulk((i,) for i in range(jobs))


def until_processed(client: redis.Redis, key: str, jobs: int) -> None:
    """Wait until so many jobs are counted."""
    pause = threading.Event()
    while int(client.get(key) or 0) < jobs:
        pause.wait(0.01)


def drain_with_jobd(client: redis.Redis, jobs: int, threads: int) -> float:
    """Jobs a second of one jobd process."""
    config = jobd.WorkerConfig(concurrency=threads, queues=((QUEUE, 0),))
    started = time.perf_counter()
    with jobd.run(config):
        until_processed(client, "stat:processed", jobs)
        return jobs / (time.perf_counter() - started)


def drain_with_floor(client: redis.Redis, jobs: int, threads: int) -> float:
    """Jobs a second of the plain consumer."""

    def consume() -> None:
        while True:
            found = client.brpop([f"queue:{QUEUE}"], timeout=1)
            if found is None:
                return
            payload = json.loads(found[1])
            nothing(*payload["args"])
            client.incr("floor:processed")

    workers = [threading.Thread(target=consume) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    until_processed(client, "floor:processed", jobs)
    rate = jobs / (time.perf_counter() - started)
    for worker in workers:
        worker.join()
    return rate


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=10)
    options = parser.parse_args()
    logging.getLogger("jobd").setLevel(logging.WARNING)
    drains: dict[str, Callable[[redis.Redis, int, int], float]] = {"jobd": drain_with_jobd, "floor": drain_with_floor}
    rates: dict[str, list[float]] = {name: [] for name in drains}
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "store")
        store.start()
        jobd.configure(redis_url=f"embedded:{store.directory}")
        client = redis.Redis(unix_socket_path=str(store.address.socket), protocol=2)
        try:
            for _ in range(options.rounds):
                for name, drain in drains.items():
                    push(client, options.jobs)
                    rates[name].append(drain(client, options.jobs, options.threads))
        finally:
            client.close()
            store.stop()
    ratios = [a / b for a, b in zip(rates["jobd"], rates["floor"], strict=True)]
    figures = {**rates, "jobd/floor": ratios}
    result = {
        "jobs": options.jobs,
        "threads": options.threads,
        "machine": platform.platform(),
        "python": platform.python_version(),
        "redis-py": version("redis"),
        "min, median, max": {k: [round(f(v), 2) for f in (min, statistics.median, max)] for k, v in figures.items()},
    }
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
