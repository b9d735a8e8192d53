"""How fast one thread pushes jobs, beside redis-py's pipeline doing the same.

The floor builds an equal payload with `json.dumps`, a random id and the time, and sends SADD and LPUSH in one packet;
in bulk one LPUSH of a thousand. All are measured in turn on one server; compare ratios of one run only. The CPU
time is that of the pushing process and, by its own account, that of the server.

    python bench/push.py [--pushes N] [--bulk N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

import jobd
from jobd.supervisor.store import Store

QUEUE = "bench"
FLOOR, BULK_FLOOR = "redis-py", "redis-py bulk"


@jobd.job(queue=QUEUE, name="Bench")
def nothing(name: str, number: int) -> None:
    """Does nothing."""


def payload(name: str, number: int) -> str:
    """The same job as jobd writes it."""
    now = time.time()
    return json.dumps(
        {
            "retry": True,
            "queue": QUEUE,
            "args": [name, number],
            "class": "Bench",
            "jid": secrets.token_hex(12),
            "created_at": now,
            "enqueued_at": now,
        }
    )


@dataclass(frozen=True)
class Way:
    """A way to push so many jobs."""

    push: Callable[[redis.Redis, int], None]
    is_bulk: bool


def push_by_pipeline(client: redis.Redis, jobs: int) -> None:
    """One packet a job."""
    for number in range(jobs):
        with client.pipeline(transaction=False) as pipeline:
            pipeline.sadd("queues", QUEUE)
            pipeline.lpush(f"queue:{QUEUE}", payload("bob", number))
            pipeline.execute()


def push_by_client(client: redis.Redis, jobs: int) -> None:
    """Dictionaries, one at a time."""
    jobd_client = jobd.Client()
    for number in range(jobs):
        jobd_client.push({"class": "Bench", "args": ["bob", number], "queue": QUEUE})
    jobd_client.close()


def push_by_perform_async(client: redis.Redis, jobs: int) -> None:
    """The whole typed interface, one at a time."""
    for number in range(jobs):
        nothing.perform_async("bob", number)


def bulk_by_pipeline(client: redis.Redis, jobs: int) -> None:
    """One packet for each thousand."""
    for first in range(0, jobs, 1_000):
        with client.pipeline(transaction=False) as pipeline:
            pipeline.sadd("queues", QUEUE)
            pipeline.lpush(f"queue:{QUEUE}", *[payload("bob", number) for number in range(first, first + 1_000)])
            pipeline.execute()


def bulk_by_client(client: redis.Redis, jobs: int) -> None:
    """One dictionary for all."""
    jobd_client = jobd.Client()
    jobd_client.push_bulk({"class": "Bench", "args": (("bob", number) for number in range(jobs)), "queue": QUEUE})
    jobd_client.close()


def bulk_by_perform_bulk(client: redis.Redis, jobs: int) -> None:
    """The typed interface."""
    nothing.perform_bulk(("bob", number) for number in range(jobs))


WAYS: dict[str, Way] = {
    FLOOR: Way(push_by_pipeline, is_bulk=False),
    "Client.push": Way(push_by_client, is_bulk=False),
    "perform_async": Way(push_by_perform_async, is_bulk=False),
    BULK_FLOOR: Way(bulk_by_pipeline, is_bulk=True),
    "Client.push_bulk": Way(bulk_by_client, is_bulk=True),
    "perform_bulk": Way(bulk_by_perform_bulk, is_bulk=True),
}


@dataclass(frozen=True)
class Round:
    """One measurement: jobs a second, and microseconds of CPU a job."""

    rate: float
    client_us: float
    server_us: float


def server_seconds(client: redis.Redis) -> float:
    """CPU time that the server has used, in seconds."""
    info: dict[str, Any] = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def measure(client: redis.Redis, way: Way, jobs: int) -> Round:
    """Push so many jobs into an empty database. Jobs are pushed to the address that jobd is configured with."""
    client.flushall()
    way.push(client, 1_000)  # connects, and loads what is loaded once
    client.flushall()
    server, own, started = server_seconds(client), time.process_time(), time.perf_counter()
    way.push(client, jobs)
    seconds, own = time.perf_counter() - started, time.process_time() - own
    server = server_seconds(client) - server
    if client.llen(f"queue:{QUEUE}") != jobs:
        raise SystemExit(f"{way} pushed {client.llen(f'queue:{QUEUE}')} of {jobs} jobs")
    return Round(jobs / seconds, own / jobs * 1e6, server / jobs * 1e6)


def summary(rounds: dict[str, list[Round]]) -> dict[str, dict[str, list[float]]]:
    """Minimum, median and maximum of each figure, and of the ratio to the floor of the same round."""
    found = {}
    for name, own in rounds.items():
        floor = rounds[BULK_FLOOR if WAYS[name].is_bulk else FLOOR]
        figures = {
            "jobs a second": [r.rate for r in own],
            "v. redis-py": [r.rate / f.rate for r, f in zip(own, floor, strict=True)],
            "client CPU us": [r.client_us for r in own],
            "server CPU us": [r.server_us for r in own],
        }
        found[name] = {k: [round(f(v), 2) for f in (min, statistics.median, max)] for k, v in figures.items()}
    return found


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pushes", type=int, default=10_000)
    parser.add_argument("--bulk", type=int, default=100_000, help="a multiple of 1,000")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds: dict[str, list[Round]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "store")
        store.start()
        jobd.configure(redis_url=f"embedded:{store.directory}")
        client = redis.Redis(unix_socket_path=str(store.address.socket), protocol=2)
        server = client.info("server")
        try:
            for _ in range(options.rounds):
                for name, way in WAYS.items():
                    rounds[name].append(measure(client, way, options.bulk if way.is_bulk else options.pushes))
        finally:
            client.close()
            store.stop()
    result = {
        "machine": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("redis", "hiredis", "msgspec")},
        "server": server.get("valkey_version") or server["redis_version"],
        "rounds": options.rounds,
        "min, median, max": summary(rounds),
    }
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
