"""What Redis says of itself: what `INFO` tells, in the terms of a page, and what of it somebody should look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobd.client.processes import number

MEMORY_SHARE = 0.8
"""Share of its memory limit from which on Redis is pointed out."""
SECTIONS = ("memory", "persistence")
"""Of INFO, that tell what needs attention; two commands, since Redis 6.2 takes one section at a time."""
MAX_AGE, REFUSED_AGE = 10.0, 60.0
"""Seconds for which their answers serve all pages, and for which a refusal does."""


@dataclass(frozen=True, slots=True)
class Server:
    """Memory in bytes, a limit of 0 being none; what INFO did not tell is taken to be well."""

    used: int = 0
    limit: int = 0
    policy: str = "noeviction"
    saved: bool = True
    written: bool = True

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Server:
        """Read it out of INFO."""
        return cls(
            used=int(number(info.get("used_memory"))),
            limit=int(number(info.get("maxmemory"))),
            policy=str(info.get("maxmemory_policy") or "noeviction"),
            saved=info.get("rdb_last_bgsave_status", "ok") == "ok",
            written=all(
                info.get(name, "ok") == "ok" for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
            ),
        )

    @property
    def share(self) -> float | None:
        """Of its memory limit, how much it uses; None without a limit."""
        return self.used / self.limit if self.limit else None

    def warnings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What needs attention: a sentence, and the values in it."""
        if self.share is not None and self.share > MEMORY_SHARE:
            values = {"percent": self.share}
            if self.policy == "noeviction":
                yield "Redis uses {percent} of its memory: when it is full, jobs cannot be pushed.", values
            else:
                yield "Redis uses {percent} of its memory.", values
        if self.policy != "noeviction":
            yield (
                "Redis is set to delete keys when its memory is full ({policy}): jobs may be lost. Set noeviction.",
                {"policy": self.policy},
            )
        if not self.saved:
            yield "Redis could not save to its disk: what it holds may be lost when it stops.", {}
        if not self.written:
            yield "Redis cannot write its append-only file: what it holds may be lost when it stops.", {}


class Watch:
    """Remembers for all pages of a process what Redis said last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock()
        self.server: Server | None = None

    @property
    def is_due(self) -> bool:
        """Whether Redis should be asked again."""
        return self._clock() >= self._until

    @staticmethod
    def ask(pipeline: Any) -> None:
        """Put the commands into a pipeline."""
        for section in SECTIONS:
            pipeline.info(section)

    def note(self, answers: Sequence[Any]) -> None:
        """Remember the answers; exceptions among them are refusals."""
        told: dict[str, Any] = {}
        for answer in answers:
            if isinstance(answer, dict):
                told |= answer
        self.server = Server.of(told) if told else None
        self._until = self._clock() + (MAX_AGE if told else REFUSED_AGE)


def document(info: Mapping[str, Any]) -> dict[str, Any]:
    """INFO in the terms of a page: bytes, seconds, epoch seconds, counts. What is not told is 0 or empty."""
    valkey = str(info.get("valkey_version") or "")
    return {
        "software": "Valkey" if valkey else "Redis",
        "version": valkey or str(info.get("redis_version", "")),
        "mode": str(info.get("server_mode") or info.get("redis_mode") or ""),
        "uptime": _count(info, "uptime_in_seconds"),
        "role": str(info.get("role", "")),
        "memory": _memory(info),
        "disk": _disk(info),
        "clients": {
            "connected": _count(info, "connected_clients"),
            "most": _count(info, "maxclients"),
            "blocked": _count(info, "blocked_clients"),
            "rejected": _count(info, "rejected_connections"),
        },
        "commands": _commands(info),
        "replicas": list(_replicas(info)),
        "master": _master(info),
        "keyspace": list(_keyspace(info)),
    }


def _count(info: Mapping[str, Any], name: str) -> int:
    return int(number(info.get(name)))


def _memory(info: Mapping[str, Any]) -> dict[str, Any]:
    server = Server.of(info)
    return {
        "used": server.used,
        "limit": server.limit,
        "share": server.share,
        "policy": server.policy,
        "peak": _count(info, "used_memory_peak"),
        "rss": _count(info, "used_memory_rss"),
        "machine": _count(info, "total_system_memory"),
        "fragmentation": number(info.get("mem_fragmentation_ratio")),
    }


def _disk(info: Mapping[str, Any]) -> dict[str, Any]:
    server = Server.of(info)
    return {
        "saved_at": _count(info, "rdb_last_save_time"),
        "changes": _count(info, "rdb_changes_since_last_save"),
        "saved": server.saved,
        "saving": bool(_count(info, "rdb_bgsave_in_progress")),
        "aof": bool(_count(info, "aof_enabled")),
        "written": server.written,
        "loading": bool(_count(info, "loading")),
    }


def _commands(info: Mapping[str, Any]) -> dict[str, Any]:
    hits, misses = _count(info, "keyspace_hits"), _count(info, "keyspace_misses")
    return {
        "per_second": _count(info, "instantaneous_ops_per_sec"),
        "total": _count(info, "total_commands_processed"),
        "hits": hits,
        "misses": misses,
        "hit_rate": hits / (hits + misses) if hits + misses else None,
        "evicted": _count(info, "evicted_keys"),
        "expired": _count(info, "expired_keys"),
    }


def _replicas(info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, told in info.items():
        if name.startswith("slave") and name[5:].isdigit() and isinstance(told, dict):
            behind = max(int(number(info.get("master_repl_offset")) - number(told.get("offset"))), 0)
            lag = told.get("lag")
            yield {
                "address": f"{told.get('ip', '')}:{told.get('port', '')}",
                "state": str(told.get("state", "")),
                "behind": behind,
                "lag": None if lag is None else number(lag),
            }


def _master(info: Mapping[str, Any]) -> dict[str, Any] | None:
    if "master_host" not in info:
        return None
    return {
        "address": f"{info['master_host']}:{info.get('master_port', '')}",
        "linked": info.get("master_link_status") == "up",
        "silent": number(info.get("master_last_io_seconds_ago")),
    }


def _keyspace(info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, told in info.items():
        if name.startswith("db") and name[2:].isdigit() and isinstance(told, dict):
            yield {
                "db": int(name[2:]),
                "keys": int(number(told.get("keys"))),
                "expiring": int(number(told.get("expires"))),
            }
