"""Facts about the Redis server, and what is wrong with them for a queue."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys

OLDEST_REDIS = (6, 2)
MAX_SKEW = 5.0
"""Seconds by which this machine's clock may differ from the server's before it is worth a warning."""


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself. `skew` is its clock minus ours, in seconds."""

    name: str
    version: str
    run_id: str
    role: str
    policy: str
    skew: float
    cluster: bool = False


def read_facts(client: Any) -> ServerFacts:
    """Ask the server (a client of redis-py). Raises redis-py's errors."""
    info: Mapping[str, Any] = client.info()
    sent = time.time()
    seconds, micros = client.time()
    skew = seconds + micros / 1e6 - (sent + time.time()) / 2
    name = "Valkey" if "valkey_version" in info else "Redis"
    return ServerFacts(
        name=name,
        version=str(info.get("valkey_version") or info.get("redis_version", "0")),
        run_id=str(info.get("run_id", "")),
        role=str(info.get("role", "")),
        policy=str(info.get("maxmemory_policy", "")),
        skew=skew,
        cluster=info.get("redis_mode", info.get("server_mode")) == "cluster",
    )


def refuse_too_old(facts: ServerFacts) -> None:
    """Raise RedisUnavailable when the server lacks commands that jobd needs."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", facts.version)[:2])
    if facts.name == "Redis" and numbers < OLDEST_REDIS:
        oldest = ".".join(map(str, OLDEST_REDIS))
        raise RedisUnavailable(f"Redis {facts.version} is too old: jobd needs Redis {oldest} or newer, or Valkey")


def needed_rights(keys: Keys, queues: Iterable[str]) -> dict[str, str]:
    """The commands that a worker's scripts move jobs by, for each of its keys, with spaces between them. Pure.

    Scripts are not rolled back: one that is refused its second command has lost what the first one took.
    """
    owner = "some-host:1:jobd"
    return {
        **{keys.queue(name): "TYPE LPUSH RPUSH RPOP" for name in queues},
        keys.jobs(owner): "EXISTS HGET HMGET HGETALL HKEYS HEXISTS HSET HSETNX HDEL DEL",
        keys.batch(owner): "EXISTS LRANGE RPUSH RPOP DEL",
        keys.owners: "ZSCORE ZADD ZREM",
        keys.schedule: "TYPE ZSCORE ZRANGE ZADD ZREM",
        keys.retry: "TYPE ZSCORE ZRANGE ZADD ZREM",
        keys.dead: "TYPE ZADD ZREMRANGEBYRANK ZREMRANGEBYSCORE",
        keys.queues: "SADD",
        keys.paused: "SMISMEMBER",
        keys.suspects: "EXISTS SADD SREM",
        keys.crashes("some-jid"): "INCR EXPIRE DEL",
        keys.stat_processed: "INCRBY EXPIRE",
        keys.stat_failed: "INCRBY EXPIRE",
    }


def refuse_without_rights(connector: Connector, keys: Keys, queues: Iterable[str]) -> None:
    """Raise RedisUnavailable when this user of Redis may not do what keeps jobs. Raises redis-py's errors as well."""
    with connector.connection() as connection:
        lacks = scripts.send(connection, scripts.lacking(needed_rights(keys, queues)))
    if lacks:
        shown = ", ".join(lacks[:5]) + (f" and {len(lacks) - 5} more" if len(lacks) > 5 else "")
        raise RedisUnavailable(
            f"the user of redis_url may not run {shown}: jobs would be lost between two commands; "
            "give it these commands and keys with ACL SETUSER"
        )


def warnings(facts: ServerFacts) -> list[str]:
    """What should be mended, each with the command that does it."""
    found = []
    if facts.policy and facts.policy != "noeviction":
        found.append(
            f"{facts.name} may delete jobs when its memory is full (maxmemory-policy is {facts.policy}); "
            "mend it with: redis-cli CONFIG SET maxmemory-policy noeviction, and in the server's configuration file"
        )
    if facts.role not in ("", "master"):
        found.append(f"{facts.name} is a {facts.role}, not a master: it refuses writes; check redis_url")
    if facts.cluster:
        found.append(
            f"{facts.name} is part of a cluster, of which jobd uses one server: have it hold all keys by a namespace "
            "with a hash tag, such as {jobd}:, here and in every client, or take a server that is no cluster"
        )
    if abs(facts.skew) > MAX_SKEW:
        found.append(
            f"the clock of this machine differs by {-facts.skew:+.1f} s from the server's; "
            "jobd uses the server's, but logs do not: synchronise both (chrony, systemd-timesyncd)"
        )
    return found
