"""The figures of each class that a worker writes: Sidekiq 8's keys byte for byte, and jobd's by the hour."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults, metric_keys
from jobd.client.class_waits import ClassWaits
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.worker.clock import ServerClock
from jobd.worker.page import Counted, Note, Page, Result
from jobd.worker.tally import Tally
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

MOMENT = 1_795_305_907.25
"""2026-11-22, 00:05:07 UTC."""
MINUTE, TEN_MINUTES, HOUR = "j|261122|0:05", "j|261122|0:0", "jobd:metrics:26112200"


class Clock(ServerClock):
    """Shows one moment."""

    def now(self) -> float:
        return MOMENT


@pytest.fixture
def tally(redis_url: str) -> Iterator[Tally]:
    connector = Connector(redis_url)
    yield Tally(connector, Keys(), Clock())
    connector.close()


def note(job: str = "HardJob", result: Result = "ok", seconds: float = 0.0, waited: float | None = None) -> Note:
    return ("default", job, result, seconds, waited)


def ran(*notes: Note | None) -> Counted:
    """What the page makes of these jobs."""
    page = Page(1)
    try:
        return page.count_all(notes)
    finally:
        page.close()


def counters(redis: Redis, key: str) -> dict[str, int]:
    fields: Any = redis.hgetall(key)
    return {name.decode(): int(value) for name, value in fields.items()}


def test_the_keys_are_those_that_sidekiq_8_writes(redis: Redis, tally: Tally) -> None:
    tally.add(ran(note(seconds=0.0), None, note("FailJob", "retried", 1.0), note("DeadJob", "dead", 1.0)))
    tally.flush()
    expected = {"HardJob|p": 1, "HardJob|ms": 0, "FailJob|p": 1, "FailJob|f": 1, "DeadJob|p": 1, "DeadJob|f": 1}
    assert counters(redis, MINUTE) == counters(redis, TEN_MINUTES) == counters(redis, HOUR) == expected
    assert redis.get("h|HardJob-22-0:5") == b"\0\1"
    assert len(set(redis.keys()) - {b"jobd:queue-counts"}) == 4


def test_all_of_them_expire(redis: Redis, tally: Tally) -> None:
    tally.add(ran(note()))
    tally.flush()
    lives = {key: redis.ttl(key) for key in (MINUTE, "h|HardJob-22-0:5", TEN_MINUTES, HOUR)}
    hours = {MINUTE: 8, "h|HardJob-22-0:5": 8, TEN_MINUTES: 72, HOUR: 90 * 24}
    assert {key: round(ttl / 3600) for key, ttl in lives.items()} == hours


def test_successes_are_timed_and_failures_counted(redis: Redis, tally: Tally) -> None:
    tally.add(ran(note(seconds=0.019), note(seconds=0.02), note(seconds=400.0)))
    tally.add(ran(note(result="failed", seconds=9.0), note(result="requeued", seconds=9.0)))
    tally.flush()
    assert counters(redis, MINUTE) == {"HardJob|p": 4, "HardJob|f": 1, "HardJob|ms": 400_039}
    raw: Any = redis.get("h|HardJob-22-0:5")
    assert struct.unpack(">26H", raw) == (1, 1, *([0] * 23), 1)


def test_what_is_shorter_than_a_millisecond_adds_up(redis: Redis, tally: Tally) -> None:
    for _ in range(10):
        tally.add(ran(note(seconds=0.00025)))
        tally.flush()
    assert counters(redis, MINUTE) == {"HardJob|p": 10, "HardJob|ms": 2}


def test_a_bucket_that_is_full_stays_full(redis: Redis, tally: Tally) -> None:
    for _ in range(3):
        tally.add(ran(*[note()] * 30_000))
        tally.flush()
    assert redis.get("h|HardJob-22-0:5") == b"\xff\xff"
    assert counters(redis, MINUTE)["HardJob|p"] == 90_000


def test_classes_beyond_the_limit_and_names_that_cannot_be_kept_are_counted_together(
    redis: Redis, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "METRICS_CLASSES", 2)
    tally.add(ran(note("A"), note("B"), note("C"), note("A"), note("x|p"), note("y" * 201), note("")))
    tally.flush()
    assert counters(redis, MINUTE) == {
        f"{name}|{kind}": count
        for name, count in (("A", 2), ("B", 1), ("OTHER", 4))
        for kind, count in (("p", count), ("ms", 0))
    }


def test_nothing_is_written_when_nothing_ran(redis: Redis, tally: Tally) -> None:
    tally.flush()
    assert redis.keys() == []


def test_a_key_of_a_wrong_type_is_told_of_once_and_hinders_no_other(redis: Redis, tally: Tally, events: Events) -> None:
    redis.set(MINUTE, "text")
    for _ in range(2):
        tally.add(ran(note()))
        tally.flush()
    assert counters(redis, HOUR)["HardJob|p"] == 2
    [told] = events.named("metrics.refused")
    assert told["error"].startswith("WRONGTYPE")


def test_without_a_connection_it_is_kept_for_the_next_time(events: Events) -> None:
    with RedisServer() as server:
        tally = Tally(Connector(server.url), Keys(), Clock())
        tally.add(ran(note()))
        server.stop()
        with pytest.raises(RedisUnavailable):
            tally.flush()
        server.start()
        tally.add(ran(note()))
        tally.flush()
        with server.client() as client:
            assert counters(client, MINUTE)["HardJob|p"] == 2


def test_a_time_is_counted_in_the_first_bucket_that_it_is_below(redis: Redis, tally: Tally) -> None:
    times = [0.0, 0.019999, 0.02, 0.0299, 0.03, 334.999, 335.0, 1e6]
    tally.add(ran(*(note(seconds=seconds) for seconds in reversed(times))))
    tally.flush()
    raw = redis.get("h|HardJob-22-0:5")
    assert isinstance(raw, bytes)
    assert struct.unpack(">26H", raw) == (2, 2, 1, *([0] * 21), 1, 2)
    assert metric_keys.BUCKETS == 26
    assert [metric_keys.range_of(bucket) for bucket in (0, 1, 24)] == [(0.0, 20), (20, 30), (225_000, 335_000)]


def test_waits_of_a_class_are_counted_whatever_became_of_its_jobs(redis: Redis, tally: Tally, redis_url: str) -> None:
    notes = [note(result=result, waited=60.0) for result in ("ok", "failed", "retried", "dead", "requeued")]
    tally.add(ran(*notes, ("other queue", "HardJob", "ok", 0.0, 1.0), note(), note("HardJob", waited=-6.0)))
    tally.add(ran(note("Later", "requeued", waited=1.0)))
    tally.flush()
    found = ClassWaits(Client(redis_url)).of("HardJob", until=MOMENT)
    assert [(each.jobs, each.low < 60 <= (each.high or 0)) for each in found.histogram if each.jobs] == [
        (1, False),
        (5, True),
    ]
    assert ClassWaits(Client(redis_url)).of("Later", until=MOMENT).total == 1
    assert "Later|p" not in counters(redis, MINUTE)
    tally.flush()
    assert ClassWaits(Client(redis_url)).of("HardJob", until=MOMENT).total == 6, "nothing is written twice"


def test_waits_expire_and_stand_in_no_key_of_sidekiqs(redis: Redis, tally: Tally) -> None:
    tally.add(ran(note(waited=1.0)))
    tally.flush()
    names = ("queue-waits", "long-queue-waits", "class-waits", "long-class-waits", "longest-class-waits")
    keys = {name: redis.keys(f"jobd:{name}:*") for name in names}
    assert [len(found) for found in keys.values()] == [1] * 5
    hours = [round(redis.ttl(key) / 3600) for [key] in keys.values()]
    assert hours == [2, 4 * 24, 2, 4 * 24, 90 * 24]
    assert [key for key in redis.keys("*") if redis.ttl(key) < 0] == []


def test_waits_are_written_of_so_many_classes_and_queues(
    redis: Redis, tally: Tally, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "METRICS_CLASSES", 2)
    monkeypatch.setattr(defaults, "WAITS_QUEUES", 2)
    for number in (0, 1, 2, 3, 0):
        tally.add(ran((f"q{number}", f"C{number}", "ok", 0.0, 1.0)))
    tally.flush()
    assert sorted(key.rpartition(b":")[2] for key in redis.keys("jobd:queue-waits:*")) == [b"q0", b"q1"]
    assert sorted(key.rpartition(b":")[2] for key in redis.keys("jobd:class-waits:*")) == [b"C0", b"C1", b"OTHER"]
    assert [ClassWaits(Client(redis_url)).of(name, until=MOMENT).total for name in ("C0", "C1", "OTHER")] == [2, 1, 2]


@jobd.job(name="tests.counted", retry=False)
def counted(fails: bool) -> None:
    if fails:
        raise ValueError("as asked")


def total(redis: Redis, field: str) -> int:
    return sum(counters(redis, key.decode()).get(field, 0) for key in redis.keys("jobd:metrics:*"))


def test_a_worker_writes_them_with_its_heartbeat(redis: Redis, run_worker: RunWorker) -> None:
    with run_worker(heartbeat_interval=0.05):
        counted.perform_bulk([(False,)] * 20 + [(True,)] * 5)
        wait_until(lambda: total(redis, "tests.counted|p") == 25, "all are counted")
    assert total(redis, "tests.counted|f") == 5


late_began = threading.Event()


@jobd.job(name="tests.late")
def late(redis_url: str) -> None:
    late_began.set()
    with Redis.from_url(redis_url) as redis:
        wait_until(lambda: total(redis, "tests.counted|p") == 1, "the last beat has written what ran before")


def test_a_worker_writes_the_rest_when_it_stops(redis: Redis, redis_url: str, run_worker: RunWorker) -> None:
    with run_worker(heartbeat_interval=20):
        counted.perform_async(False)
        wait_until(lambda: redis.get("stat:processed") == b"1", "it is acknowledged, and no beat comes soon")
        late_began.clear()
        late.perform_async(redis_url)
        assert late_began.wait(10)
    assert [total(redis, f"tests.{name}|p") for name in ("counted", "late")] == [1, 1]
    assert sorted(jobd.Metrics().top("7d").jobs) == ["tests.counted", "tests.late"]
