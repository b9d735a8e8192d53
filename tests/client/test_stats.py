"""The totals of now and of each day."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.errors import InvalidArguments, RedisRefused
from tests.client.api import fill_queue, fill_set

NOON = 1_795_305_600.0


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def test_nothing_at_all_is_zeroes() -> None:
    stats = jobd.Stats()
    assert (stats.processed, stats.failed, stats.enqueued, stats.scheduled, stats.retries, stats.dead) == (0,) * 6
    assert (stats.processes, stats.busy, stats.default_latency, stats.queues) == (0, 0, 0.0, ())


def test_the_totals_of_now(redis: Redis) -> None:
    now = time.time()
    redis.mset({"stat:processed": 7, "stat:failed": 2})
    fill_queue(redis, 3, enqueued_at=now - 60)
    fill_queue(redis, 5, "mail", enqueued_at=now - 5)
    redis.sadd("paused", "mail")
    for key, count in (("schedule", 2), ("retry", 3), ("dead", 4)):
        fill_set(redis, key, count)
    for name in ("a", "b"):
        redis.sadd("processes", name)
        redis.hset(name, mapping={"info": json.dumps({"hostname": name}), "busy": 2})
    redis.sadd("processes", "gone")
    stats = jobd.Stats()
    assert (stats.processed, stats.failed, stats.enqueued) == (7, 2, 8)
    assert (stats.scheduled, stats.retries, stats.dead, stats.processes, stats.busy) == (2, 3, 4, 2, 4)
    assert [(queue.name, queue.size, queue.paused) for queue in stats.queues] == [
        ("mail", 5, True),
        ("default", 3, False),
    ]
    assert 60 <= stats.default_latency < 70
    assert stats.default_latency == stats.queues[1].latency


def test_keys_of_wrong_types_count_as_nothing(redis: Redis) -> None:
    redis.set("retry", "text")
    redis.set("queue:a", "text")
    redis.sadd("queues", "a")
    redis.set("stat:processed", "text")
    stats = jobd.Stats()
    assert (stats.retries, stats.enqueued, stats.processed, [queue.name for queue in stats.queues]) == (0, 0, 0, ["a"])


def test_three_round_trips_whatever_there_is(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(300):
        fill_queue(redis, 1, f"q{i}")
        redis.sadd("processes", f"p{i}")
    trips: list[str] = []
    read = jobd.client.access.Access.read
    monkeypatch.setattr("jobd.client.access.Access.read", lambda self, ask: (trips.append(""), read(self, ask))[1])
    assert jobd.Stats().enqueued == 300
    assert len(trips) == 3


def test_a_reset_leaves_the_days(redis: Redis) -> None:
    redis.mset({"stat:processed": 7, "stat:failed": 2, "stat:processed:2026-11-22": 7})
    stats = jobd.Stats()
    stats.reset()
    assert (stats.processed, jobd.Stats().processed, jobd.Stats().failed) == (0, 0, 0)
    assert redis.get("stat:processed:2026-11-22") == b"7"


def test_history_has_the_last_day_first(redis: Redis) -> None:
    redis.mset({"stat:processed:2026-11-22": 7, "stat:processed:2026-11-20": 5, "stat:failed:2026-11-21": 1})
    history = jobd.History(3, until=NOON)
    assert list(history.processed.items()) == [("2026-11-22", 7), ("2026-11-21", 0), ("2026-11-20", 5)]
    assert list(history.failed.values()) == [0, 1, 0]
    assert len(jobd.History(1_825).processed) == 1_825


@pytest.mark.parametrize("days", [0, 1_826, True, "7"])
def test_history_is_kept_for_five_years(days: Any) -> None:
    with pytest.raises(InvalidArguments, match="give a number from 1 to 1,825"):
        jobd.History(days)


@pytest.fixture
def without_rights(redis: Redis, configured: str) -> Iterator[None]:
    """The jobs of this process push as a user who may read no size and no heartbeat."""
    refused = ("-zcard", "-zcount", "-hmget")
    redis.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", *refused)
    jobd.configure(redis_url=f"{configured}&username=narrow&password=secret")
    yield
    redis.execute_command("ACL", "DELUSER", "narrow")


@pytest.mark.parametrize(
    "ask", [jobd.Stats, lambda: jobd.DeadSet().room(), lambda: list(jobd.ProcessSet())], ids=["stats", "room", "all"]
)
@pytest.mark.usefixtures("without_rights")
def test_what_may_not_be_read_is_refused_and_not_shown_as_nothing(redis: Redis, ask: Callable[[], object]) -> None:
    fill_set(redis, "dead", 7)
    redis.sadd("processes", "one")
    with pytest.raises(RedisRefused, match="no permissions"):
        ask()


@pytest.mark.parametrize("until", [float("nan"), 1e20, "today"])
def test_a_last_day_that_cannot_be_meant_is_refused(until: Any) -> None:
    with pytest.raises(InvalidArguments, match="until is"):
        jobd.History(2, until=until)
