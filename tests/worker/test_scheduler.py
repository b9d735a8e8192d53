"""Due jobs enter their queues: soon, once, unharmed, and whatever lies beside them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.moves import as_queued
from jobd.client.payload import Timestamps
from jobd.client.scripts import DeadLimits
from jobd.worker import scheduler as module
from jobd.worker.clock import ServerClock
from jobd.worker.outage import Outage
from jobd.worker.scheduler import Scheduler, promote_limit
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

started: list[float] = []


@jobd.job(name="scheduler.note")
def note() -> None:
    started.append(time.time())


def make(connector: Connector, identity: str = "a") -> Scheduler:
    return Scheduler(
        connector,
        Keys(),
        ServerClock(),
        Outage(),
        identity=lambda: identity,
        limits=DeadLimits(),
        timestamps="s",
    )


@pytest.fixture
def connector(redis_url: str) -> Iterator[Connector]:
    made = Connector(redis_url)
    yield made
    made.close()


@pytest.fixture
def scheduler(connector: Connector) -> Scheduler:
    return make(connector)


def job(jid: str, **given: Any) -> bytes:
    fields = {"retry": True, "queue": "default", "class": "A", "args": [1], "jid": jid, "created_at": 5.5, **given}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def queued(redis: Redis, queue: str = "default") -> list[dict[str, Any]]:
    """The payloads of a queue, the one to be taken first in front."""
    raw: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(payload) for payload in reversed(raw)]


@pytest.mark.parametrize("source", ["schedule", "retry"])
def test_what_is_due_enters_its_queue_oldest_first_and_the_rest_stays(
    source: str, scheduler: Scheduler, redis: Redis
) -> None:
    now = time.time()
    redis.zadd(source, {job("late", queue="q"): now - 1, job("early", queue="q"): now - 2, job("future"): now + 60})
    scheduler.tick()
    assert [payload["jid"] for payload in queued(redis, "q")] == ["early", "late"]
    assert redis.zrange(source, 0, -1) == [job("future")]
    assert redis.smembers("queues") == {b"q"}


def test_a_due_job_is_stamped_anew_and_otherwise_as_it_was(scheduler: Scheduler, redis: Redis) -> None:
    before = time.time()
    redis.zadd("retry", {job("a", enqueued_at=7.5, retry_count=2, custom={"é": [1.0, 2]}, args=[10**30]): 1.0})
    scheduler.tick()
    [payload] = queued(redis)
    assert before - 1 < payload.pop("enqueued_at") < time.time() + 1
    assert payload == json.loads(job("a", retry_count=2, custom={"é": [1.0, 2]}, args=[10**30]))


@pytest.mark.parametrize(("timestamps", "stamp"), [("s", 9.25), ("ms", 9250)])
def test_what_was_never_created_is_created_when_due(timestamps: Timestamps, stamp: float) -> None:
    queue, raw = as_queued({"class": "A", "args": [], "at": 3.0}, 9.25, timestamps)
    assert (queue, json.loads(raw)) == (
        "default",
        {"class": "A", "args": [], "created_at": stamp, "enqueued_at": stamp},
    )


@pytest.mark.parametrize(
    "malformed", [b"{bad json", b"[1]", b"\xff", b"", job("a", queue=""), job("a", queue=5), job("a", queue=None)]
)
def test_a_member_that_is_no_job_goes_to_the_dead_set_as_it_is_and_holds_nobody_up(
    malformed: bytes, scheduler: Scheduler, redis: Redis, events: Events
) -> None:
    redis.zadd("schedule", {malformed: 1.0, job("good"): 2.0})
    scheduler.tick()
    assert [payload["jid"] for payload in queued(redis)] == ["good"]
    assert redis.zrange("dead", 0, -1) == [malformed]
    assert not redis.exists("schedule")
    assert len(events.named("job.buried")) == 1


def test_a_member_that_can_be_read_and_not_written_holds_nobody_up(
    scheduler: Scheduler, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(payload: dict[str, Any], now: float, timestamps: Timestamps) -> tuple[str, bytes]:
        if payload["jid"] == "deep":
            raise RecursionError("maximum recursion depth exceeded")
        return as_queued(payload, now, timestamps)

    monkeypatch.setattr(module, "as_queued", picky)
    redis.zadd("schedule", {job("deep"): 1.0, job("good"): 2.0})
    scheduler.tick()
    assert [payload["jid"] for payload in queued(redis)] == ["good"]
    assert redis.zrange("dead", 0, -1) == [job("deep")]


def test_a_thousand_due_at_once_are_all_promoted_without_a_pause(scheduler: Scheduler, redis: Redis) -> None:
    redis.zadd("schedule", {job(f"{i:04}"): 1.0 + i for i in range(1_000)})
    pauses = [scheduler.tick() for _ in range(5)]
    assert pauses[:4] == [0, 0, 0, 0]
    assert pauses[4] > 0
    assert [payload["jid"] for payload in queued(redis)] == [f"{i:04}" for i in range(1_000)]
    assert not redis.exists("schedule")


def test_large_jobs_are_moved_fewer_at_a_time() -> None:
    small, large = [b"x" * 300] * 300, [b"x" * 100_000] * 300
    assert promote_limit([]) == promote_limit(small) == defaults.PROMOTE_LIMIT
    assert promote_limit(large) == 10
    assert promote_limit([b"x" * 10_000_000]) == 1


def test_a_flood_of_retries_does_not_hold_up_what_is_scheduled(scheduler: Scheduler, redis: Redis) -> None:
    redis.zadd("retry", {job(f"{i:04}"): 1.0 for i in range(defaults.PROMOTE_LIMIT + 1)})
    redis.zadd("schedule", {job("scheduled", queue="other"): 1.0})
    scheduler.tick()
    assert len(queued(redis, "other")) == 1


def test_it_sleeps_until_the_next_is_due_and_long_enough_to_keep_its_lease(scheduler: Scheduler, redis: Redis) -> None:
    assert scheduler.tick() == 0.0, "it has just come to lead, and has not looked since it listens"
    assert scheduler.tick() == defaults.SCHEDULER_LEASE / 2
    redis.zadd("retry", {job("a"): time.time() + 60})
    assert scheduler.tick() == defaults.SCHEDULER_LEASE / 2
    redis.zadd("schedule", {job("b"): time.time() + 0.1})
    assert 0 <= scheduler.tick() <= 0.1


@pytest.mark.parametrize("source", ["schedule", "retry"])
def test_a_change_of_a_set_ends_the_wait(source: str, scheduler: Scheduler, redis: Redis) -> None:
    for member in ("a", "b", "c"):
        scheduler.tick()
        scheduler.tick()
        changing = threading.Timer(0.1, redis.zadd, [source, {job(member): time.time() + 60}])
        changing.start()
        scheduler.bell.wait(60)
        changing.join()
    assert scheduler.tick() == defaults.SCHEDULER_LEASE / 2


def test_it_can_be_woken(scheduler: Scheduler) -> None:
    for _ in range(2):
        scheduler.tick()
    waking = threading.Timer(0.1, scheduler.bell.set)
    waking.start()
    scheduler.bell.wait(60)
    waking.join()


def test_a_set_that_changes_all_the_time_is_looked_at_twenty_times_a_second(scheduler: Scheduler, redis: Redis) -> None:
    begun, looks, over = time.monotonic(), 0, threading.Event()

    def change() -> None:
        while not over.wait(0.001):
            redis.zadd("schedule", {job("x"): time.time() + 60 + time.monotonic()})

    changing = threading.Thread(target=change)
    changing.start()
    while looks < 20:
        scheduler.bell.wait(scheduler.tick())
        looks += 1
    lasted = time.monotonic() - begun
    over.set()
    changing.join()
    assert lasted >= 18 * defaults.SCHEDULER_MIN_PAUSE


def test_a_cut_connection_ends_the_wait_and_is_made_anew(scheduler: Scheduler, redis: Redis, events: Events) -> None:
    for _ in range(2):
        scheduler.tick()
    redis.client_kill_filter(_type="normal", skipme=True)
    scheduler.bell.wait(60)
    assert len(events.named("redis.lost")) == 1
    scheduler.tick()
    changing = threading.Timer(0.1, redis.zadd, ["schedule", {job("a"): time.time() + 60}])
    changing.start()
    scheduler.bell.wait(60)
    changing.join()


def test_without_tracking_the_sets_are_polled(redis: Redis, redis_server: RedisServer, events: Events) -> None:
    redis.execute_command("ACL SETUSER plain on >secret ~* &* +@all -client|tracking")
    connector = Connector(redis_server.url.replace("unix://", "unix://plain:secret@"))
    try:
        scheduler = make(connector)
        assert [scheduler.tick() for _ in range(3)] == [0.0, defaults.SCHEDULER_POLL, defaults.SCHEDULER_POLL]
        scheduler.bell.wait(0.0)
        assert len(events.named("redis.no_tracking")) == 1
    finally:
        redis.execute_command("ACL DELUSER plain")
        connector.close()


def test_a_damaged_set_is_reported_and_the_other_goes_on(scheduler: Scheduler, redis: Redis, events: Events) -> None:
    redis.set("retry", "text")
    for number in range(3):
        redis.zadd("schedule", {job(str(number)): 1.0})
        assert scheduler.tick() == 1.0
    assert len(queued(redis)) == 3
    [damage] = events.named("redis.damaged")
    assert damage["note"].startswith("retry: WRONGTYPE")


def test_jobs_of_a_queue_that_is_no_list_end_in_the_dead_set(
    scheduler: Scheduler, redis: Redis, events: Events
) -> None:
    redis.set("queue:broken", "text")
    redis.zadd("schedule", {job("a", queue="broken"): 1.0, job("b"): 2.0})
    scheduler.tick()
    assert redis.zrange("dead", 0, -1) == [job("a", queue="broken")]
    assert [payload["jid"] for payload in queued(redis)] == ["b"]
    assert len(events.named("redis.damaged")) == 1


def test_without_a_dead_set_nothing_is_removed(scheduler: Scheduler, redis: Redis) -> None:
    redis.set("dead", "text")
    redis.zadd("schedule", {b"{bad json": 1.0, job("good"): 2.0})
    assert scheduler.tick() == 1.0
    assert redis.zcard("schedule") == 2
    redis.delete("dead")
    scheduler.tick()
    assert (redis.zcard("dead"), len(queued(redis))) == (1, 1)


def test_one_scheduler_at_a_time_promotes(connector: Connector, redis: Redis) -> None:
    first, second = make(connector, "a"), make(connector, "b")
    first.tick()
    redis.zadd("schedule", {job("x"): 1.0})
    assert 0 < second.tick() <= defaults.SCHEDULER_LEASE + 0.1
    assert queued(redis) == []
    assert redis.get("jobd:scheduler") == b"a"
    assert 0 < redis.pttl("jobd:scheduler") <= defaults.SCHEDULER_LEASE * 1000
    redis.delete("jobd:scheduler")
    second.tick()
    assert len(queued(redis)) == 1
    assert redis.get("jobd:scheduler") == b"b"


def test_another_process_takes_over_when_the_scheduler_stops(
    run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "SCHEDULER_LEASE", 0.4)
    with run_worker() as second:
        with run_worker() as first:
            redis.set("jobd:scheduler", first.identity, px=400)
            wait_until(lambda: redis.pttl("jobd:scheduler") > 100, "the first leads")
        redis.zadd("schedule", {job("x", **{"class": "scheduler.note"}): 1.0})
        wait_until(lambda: redis.get("jobd:scheduler") == second.identity.encode(), "the second leads")
        wait_until(lambda: redis.get("stat:processed") == b"1", "the due job run")


def test_due_jobs_start_at_their_time(run_worker: RunWorker, redis: Redis) -> None:
    started.clear()
    with run_worker():
        due = time.time() + 0.5
        for _ in range(5):
            note.perform_at(due)
        assert redis.zcard("schedule") == 5
        wait_until(lambda: len(started) == 5, "all run")
    # 2 ms at the median on a quiet machine: `make bench` has the figures.
    assert due <= min(started) < due + 0.25
