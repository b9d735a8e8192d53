"""What tests of the API share: jobs put into Redis without jobd, and replies counted by the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis

from jobd.client.push import Client

NOW = 1_795_305_670.0


def payload(jid: str, **fields: Any) -> bytes:
    """A job as Sidekiq writes it, with other fields as given."""
    known = {"retry": True, "queue": "default", "args": [1], "class": "HardJob", "jid": jid, "created_at": NOW}
    return json.dumps({**known, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def fill_set(redis: Redis, key: str, count: int, *, score: float | None = None, **fields: Any) -> None:
    """Put entries j0, j1 … into a set, a second apart from 1.0 on, or all at one score."""
    for start in range(0, count, 5_000):
        entries = {
            payload(f"j{i}", **fields): (1.0 + i if score is None else score)
            for i in range(start, min(start + 5_000, count))
        }
        redis.zadd(key, entries)


def fill_queue(redis: Redis, count: int, queue: str = "default", **fields: Any) -> None:
    """Push jobs j0, j1 … into a queue, the first one next to be taken."""
    redis.sadd("queues", queue)
    for start in range(0, count, 5_000):
        redis.lpush(f"queue:{queue}", *(payload(f"j{i}", **fields) for i in range(start, min(start + 5_000, count))))


def jids(entries: Any) -> list[str]:
    """The ids of entries, in their order."""
    return [entry.jid for entry in entries]


def queued(redis: Redis, queue: str = "default") -> list[dict[str, Any]]:
    """The payloads of a queue, the one to be taken first in front."""
    raw: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(each) for each in reversed(raw)]


@contextmanager
def user_without(redis: Redis, redis_url: str, command: str) -> Iterator[Client]:
    """A client of a user who may do all but this command."""
    redis.execute_command("ACL", "SETUSER", "halfway", "on", ">word", "~*", "+@all", f"-{command}")
    client = Client(redis_url.replace("://", "://halfway:word@"))
    try:
        yield client
    finally:
        client.close()
        redis.execute_command("ACL", "DELUSER", "halfway")
