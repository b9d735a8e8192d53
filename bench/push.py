"""How one thread pushes jobs in this process: jobd's calls, and redis-py's pipeline doing the same.

The floor builds an equal payload with `json.dumps`, a random id and the time, and sends SADD and LPUSH in one packet;
in bulk one LPUSH of a thousand. The CPU time is that of this process and, by its own account, that of the server.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from hiredis import pack_command

import jobd
from bench.results import Figures

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


def push_by_socket(client: redis.Redis, jobs: int) -> None:
    """One packet, made beforehand, again and again: what is left without any client."""
    address = client.connection_pool.connection_kwargs
    commands: list[Any] = [("SADD", "queues", QUEUE), ("LPUSH", f"queue:{QUEUE}", payload("bob", 1))]
    packet = b"".join(pack_command(command) for command in commands)
    with socket.create_connection((address["host"], address["port"])) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(jobs):
            connection.sendall(packet)
            replies = 0
            while replies < len(commands):
                replies += connection.recv(4_096).count(b"\r\n")


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
    "bare socket, packet made beforehand": Way(push_by_socket, is_bulk=False),
    BULK_FLOOR: Way(bulk_by_pipeline, is_bulk=True),
    "Client.push_bulk": Way(bulk_by_client, is_bulk=True),
    "perform_bulk": Way(bulk_by_perform_bulk, is_bulk=True),
}


def server_seconds(client: redis.Redis) -> float:
    """CPU time that the server has used, in seconds."""
    info: dict[str, Any] = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def measure(client: redis.Redis, way: Way, jobs: int) -> Figures:
    """Push so many jobs into an empty database. Jobs are pushed to the address that jobd is configured with."""
    client.flushall()
    way.push(client, 1_000)  # connects, and loads what is loaded once
    client.flushall()
    server, own, started = server_seconds(client), time.process_time(), time.perf_counter()
    way.push(client, jobs)
    seconds, own = time.perf_counter() - started, time.process_time() - own
    server = server_seconds(client) - server
    if client.llen(f"queue:{QUEUE}") != jobs:
        raise RuntimeError(f"{way} pushed {client.llen(f'queue:{QUEUE}')} of {jobs} jobs")
    return {"jobs/s": jobs / seconds, "CPU µs/job": own / jobs * 1e6, "Redis µs/job": server / jobs * 1e6}
