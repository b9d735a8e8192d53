"""What one process tells of the whole cluster: sizes, and how long the next job of each queue has been waiting."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from jobd.client.keys import Keys
from jobd.worker.cluster import latency, read_figures
from jobd.worker.config import Capsule, WorkerConfig
from jobd.worker.process import WorkerProcess
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw

NOW = 1_795_305_670.0


def figures(redis: Redis, *queues: str) -> dict[str, Any]:
    return read_figures(redis, Keys(), queues, NOW)


def test_an_empty_cluster_has_nothing(redis: Redis) -> None:
    nothing = {"queues": {"a": [0, 0.0]}, "schedule": 0, "retry": 0, "dead": 0}
    assert figures(redis, "a") == nothing


def test_sizes_and_the_wait_of_the_job_that_is_next(redis: Redis, push_raw: PushRaw) -> None:
    for age in (40, 30, 20):
        push_raw({"class": "j", "enqueued_at": NOW - age}, queue="a")
    push_raw({"class": "j", "enqueued_at": NOW - 5}, queue="b")
    redis.zadd("schedule", {"1": 1})
    redis.zadd("retry", {"1": 1, "2": 2})
    redis.zadd("dead", {"1": 1, "2": 2, "3": 3})
    expected = {"queues": {"a": [3, 40.0], "b": [1, 5.0]}, "schedule": 1, "retry": 2, "dead": 3}
    assert figures(redis, "a", "b") == expected


def test_it_changes_nothing_and_asks_once(redis: Redis, push_raw: PushRaw) -> None:
    push_raw({"class": "j"}, queue="a")
    redis.config_resetstat()
    figures(redis, "a", "b")
    stats: Any = redis.info("commandstats")
    assert set(stats) <= {"cmdstat_llen", "cmdstat_lindex", "cmdstat_zcard", "cmdstat_config|resetstat"}
    assert redis.llen("queue:a") == 1


def test_keys_of_a_wrong_type_count_as_empty(redis: Redis, push_raw: PushRaw) -> None:
    redis.set("queue:a", "text")
    redis.set("retry", "text")
    push_raw({"class": "j", "enqueued_at": NOW - 5}, queue="b")
    assert figures(redis, "a", "b") == {"queues": {"a": [0, 0.0], "b": [1, 5.0]}, "schedule": 0, "retry": 0, "dead": 0}


@pytest.mark.parametrize(
    ("job", "seconds"),
    [
        (None, 0.0),
        (b"{bad json", 0.0),
        (b"[1]", 0.0),
        (b'{"class":"j"}', 0.0),
        (b'{"enqueued_at":"soon"}', 0.0),
        (b'{"enqueued_at":1795305660.5}', 9.5),
        (b'{"enqueued_at":1795305660500}', 9.5),
        (b'{"enqueued_at":1795305680.0}', 0.0),
    ],
)
def test_a_wait_is_told_where_the_job_says_since_when(job: object, seconds: float) -> None:
    assert latency(job, NOW) == seconds


def test_a_process_that_is_asked_tells_them_with_each_beat(redis_url: str, redis: Redis, push_raw: PushRaw) -> None:
    told: list[dict[str, Any]] = []
    config = WorkerConfig(
        redis_url=redis_url, heartbeat_interval=0.02, capsules=(Capsule(name="c", queues=(("a", 0), ("default", 0))),)
    )
    worker = WorkerProcess(config, on_cluster=told.append)
    worker.quiet()
    worker.start()
    try:
        wait_until(lambda: told, "the first figures")
        push_raw({"class": "j"}, queue="a")
        wait_until(lambda: told[-1]["queues"]["a"][0] == 1, "the job in them")
    finally:
        worker.stop()
    assert list(told[0]["queues"]) == ["default", "a"]


def test_figures_that_cannot_be_read_never_fail_the_beat(redis: Redis, events: Events) -> None:
    """A user that may do everything but count."""
    with RedisServer() as server:
        told: list[dict[str, Any]] = []
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-zcard")
        worker = WorkerProcess(
            WorkerConfig(redis_url=server.url, heartbeat_interval=0.02, lease=60), on_cluster=told.append
        )
        worker.start()
        try:
            wait_until(lambda: len(told) > 3, "some beats")
        finally:
            worker.stop()
    assert told[0]["dead"] == 0
    assert "component.failed" not in events.names
    assert "redis.lost" not in events.names
