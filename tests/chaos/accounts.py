"""What became of the jobs of a round: none lost, each counted once, and how many ran twice.

Each job that is in Redis has in the end noted its end in the ledger, or is in the dead set. Whatever was killed, Redis
has counted as processed but not failed exactly the jobs that are not dead; as failed it has counted the dead ones, and
no more of the others than have noted that they fail. No process has left a record.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from jobd.client.embedded import EmbeddedAddress, is_embedded
from jobd.client.errors import PushOutcomeUnknown, PushRefused, RedisUnavailable
from jobd.client.push import Client
from jobd.supervisor.store import Store
from tests.chaos.daemon import Daemon
from tests.waiting import wait_until

KINDS = ("chaos_quick", "chaos_quick", "chaos_quick", "chaos_slow", "chaos_flaky")
DRAIN_SECONDS = 40.0


class Load:
    """Pushes numbered jobs; remembers which are in Redis and which may be."""

    def __init__(self, redis_url: str) -> None:
        self._client = Client(redis_url)
        self._next = 0
        self.pushed: set[int] = set()
        self.unsure: set[int] = set()

    def push(self, kind: str, count: int, args: Callable[[], Sequence[Any]] = tuple, **options: Any) -> None:
        """Push so many jobs of a kind. The arguments of each are its number and what `args` returns."""
        numbers = range(self._next, self._next + count)
        self._next += count
        try:
            self._client.push_bulk({"class": kind, "args": [[number, *args()] for number in numbers], **options})
        except PushOutcomeUnknown:
            self.unsure |= set(numbers)
        except (RedisUnavailable, PushRefused):
            return
        else:
            self.pushed |= set(numbers)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()


@dataclass(frozen=True, slots=True)
class Balance:
    """Jobs of one round: how many, what became of them, and what is wrong."""

    jobs: int
    ended: int
    failed: int
    dead: int
    repeated: int
    problems: list[str] = field(default_factory=list)


def settle(daemon: Daemon, load: Load, *, orderly: bool) -> Balance:
    """Have one more jobd run whatever the daemon left, and compare Redis with the ledger.

    `orderly`: nothing was killed, so nothing may be in progress before that.
    """
    with _redis(daemon) as (url, redis):
        left = [*_stray_records(redis), *map(str, redis.smembers("processes"))] if orderly else []
        try:
            _drain(daemon, url, redis, load)
            unfinished = ""
        except AssertionError as error:
            unfinished = str(error)
        return _balance(daemon, redis, load, [*left, *filter(None, [unfinished])])


def _balance(daemon: Daemon, redis: Any, load: Load, problems: list[str]) -> Balance:
    notes = _ledger(daemon)
    dead = {_number(entry) for entry in redis.zrange("dead", 0, -1)}
    known = load.pushed | (load.unsure & (set(notes["began"]) | dead))
    lost = known - set(notes["ended"]) - dead
    processed, failed = (int(value or 0) for value in redis.mget("stat:processed", "stat:failed"))
    if lost:
        problems.append(f"{len(lost)} jobs lost: {sorted(lost)[:10]}")
    if processed - failed != len(known) - len(dead):
        problems.append(f"processed {processed} - failed {failed} != {len(known)} jobs - {len(dead)} dead")
    if not len(dead) <= failed <= len(dead) + sum(notes["failed"].values()):
        problems.append(f"{failed} failures counted, {len(dead)} dead, {sum(notes['failed'].values())} in the ledger")
    problems += _stray_records(redis)
    repeated = sum(count - 1 - notes["failed"][number] for number, count in notes["began"].items())
    return Balance(len(known), len(notes["ended"]), failed, len(dead), repeated, problems)


def _drain(daemon: Daemon, url: str, redis: Any, load: Load) -> None:
    config = {**daemon.settings, "redis_url": url, "processes": 0, "concurrency": 40, "logfile": "drain.log"}
    for key in ("metrics", "max_jobs"):
        config.pop(key, None)
    path = daemon.directory / "drain.yml"
    path.write_text(json.dumps({**config, "pidfile": "drain.pid"}))
    with daemon.popen("-C", path.name) as process:
        try:
            log = daemon.directory / "drain.log"
            wait_until(
                lambda: log.exists() and "process.ready" in log.read_text(), "a jobd for the rest", DRAIN_SECONDS
            )
            wait_until(lambda: _is_drained(daemon, redis, load), "every job has ended", DRAIN_SECONDS)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _is_drained(daemon: Daemon, redis: Any, load: Load) -> bool:
    for name in ("retry", "schedule"):
        waiting = redis.zrange(name, 0, -1)
        if waiting:
            redis.zadd(name, dict.fromkeys(waiting, 0.0), xx=True)
            return False
    if redis.llen("queue:default"):
        return False
    dead = {_number(entry) for entry in redis.zrange("dead", 0, -1)}
    return load.pushed <= set(_ledger(daemon)["ended"]) | dead


def _ledger(daemon: Daemon) -> dict[str, Counter[int]]:
    notes: dict[str, Counter[int]] = {"began": Counter(), "ended": Counter(), "failed": Counter()}
    for line in daemon.ledger.read_text().splitlines():
        what, number, _ = line.split()
        notes[what][int(number)] += 1
    return notes


def _number(entry: bytes) -> int:
    return int(json.loads(entry)["args"][0])


def _stray_records(redis: Any) -> list[str]:
    """What ended processes have left in Redis. Their names in the views of Sidekiq are left to others after a kill."""
    names = [*redis.scan_iter("jobd:*:jobs"), *redis.zrange("jobd:procs", 0, -1)]
    return [f"left in Redis: {name.decode()}" for name in names]


@contextlib.contextmanager
def _redis(daemon: Daemon) -> Iterator[tuple[str, Any]]:
    """The server of the daemon after its end, and its address; an embedded store is started for it."""
    store: Store | None = None
    url = daemon.redis_url
    if is_embedded(url):
        store = Store(EmbeddedAddress.of(url).directory)
        store.start()
        url = EmbeddedAddress.of(url).url
    try:
        with Redis.from_url(url) as client:
            yield url, client
    finally:
        if store:
            store.stop()
