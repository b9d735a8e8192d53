"""Each queue is recorded: what waits in it, what came, what was taken and what failed, within a bound."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence

import pytest
from redis import Redis

import jobd
from jobd.client.class_waits import ClassWaits
from jobd.client.connection import Connector
from jobd.client.errors import InvalidArguments
from jobd.client.history import increases
from jobd.client.keys import Keys
from jobd.client.queue_history import BINS, Course, QueueSample, QueueSamples, pack, parsed, read, unpack
from jobd.client.queue_waits import QueueWaits
from jobd.worker import history
from jobd.worker.clock import ServerClock
from jobd.worker.history import Sampler
from jobd.worker.page import Counted, Ran
from jobd.worker.queue_counts import QueueCounts
from jobd.worker.queue_history import Reading, advanced, chosen
from tests.client.api import fill_queue
from tests.waiting import wait_until
from tests.worker.conftest import PushRaw, RunWorker

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process records from its first beat on."""
    monkeypatch.setattr(history, "SETTLED", 0.0)


def sampler(url: str) -> Sampler:
    return Sampler(Connector(url), Keys(), ServerClock(), leads=lambda: True)


def tick(sampler: Sampler, now: float) -> None:
    sampler._clock.now = lambda: now  # type: ignore[method-assign]
    sampler.tick()


def course_of(*readings: tuple[int, float]) -> list[Course]:
    """The courses of a queue, whose size and what was taken of it are read each ten seconds."""
    recent, found = None, []
    for nth, (size, taken) in enumerate(readings):
        recent = advanced(recent, Reading(size, 0.0, taken, taken), NOW + 10 * nth)
        found.append(recent.course)
    return found


def came(courses: Sequence[Course]) -> list[float]:
    return [course.sample.added for course in courses]


def test_what_came_is_what_was_taken_and_what_the_queue_grew_by() -> None:
    courses = course_of((0, 0), (100, 0), (100, 50), (20, 130), (0, 150))
    assert came(courses) == [0, 100, 150, 150, 150]
    assert (courses[-1].added, courses[-1].taken, courses[-1].grown) == (150 / 40, 150 / 40, 0)


def test_jobs_that_are_counted_as_taken_only_later_did_not_come_anew() -> None:
    assert came(course_of((1000, 0), (0, 0), (0, 400), (0, 1000), (5, 1000))) == [0, 0, 0, 0, 5]


def test_after_a_queue_was_cleared_what_comes_is_counted_again() -> None:
    courses = course_of((1000, 0), (0, 0), (0, 0), (0, 0), (0, 0), (10, 0), (30, 0))
    assert came(courses)[-3:] == [0, 10, 30]
    assert courses[-1].grown < 0


def test_the_rates_are_those_of_the_last_minute() -> None:
    courses = course_of(*((0, 100.0 * nth) for nth in range(30)), *((0, 2900.0) for _ in range(8)))
    assert courses[29].taken == pytest.approx(10)
    assert courses[29].span == pytest.approx(60, abs=10)
    assert courses[-1].taken == 0
    assert not courses[0].is_fresh(NOW)
    assert courses[1].is_fresh(NOW + 10)
    assert not courses[1].is_fresh(NOW + 100)


def test_the_hour_is_told_in_stretches_and_where_nobody_recorded_is_a_gap() -> None:
    recent = None
    for nth in range(400):
        if not 200 <= nth < 260:
            recent = advanced(recent, Reading(0, 0.0, 10.0 * nth, 10.0 * nth, 1.0 * nth), NOW + 10 * nth)
    assert recent
    now = NOW + 10 * 399
    taken, failed = recent.course.series(1, now), recent.course.series(3, now)
    assert len(taken) == BINS - 1
    assert sum(value is None for value in taken) >= 2
    assert max(value for value in taken if value is not None) == pytest.approx(180)
    assert max(value for value in failed if value is not None) == pytest.approx(18)
    assert recent.course.failure_rate == pytest.approx(0.1)
    assert recent.course.series(1, now + 7200) == [None] * (BINS - 1)
    assert Course(QueueSample(NOW)).failure_rate is None


def test_a_course_is_read_as_it_was_written_and_whatever_is_damaged_is_none() -> None:
    course = course_of((7, 0), (9, 30))[-1]
    read_again = unpack(course.pack())
    assert read_again
    assert (read_again.sample, read_again.span) == (course.sample, course.span)
    assert read_again.taken == pytest.approx(course.taken)
    assert read_again.series(0, NOW + 10)[:3] == [None] * 3
    assert read_again.bins[-1] == course.bins[-1]
    assert unpack(b"x") is unpack(None) is None
    assert unpack(b"\xff" * len(course.pack())) is None
    assert parsed({b"a": b"no", b"b\xff": course.pack()}).keys() == {"b\udcff"}


def test_a_large_queue_is_recorded_and_a_damaged_sample_is_not_read() -> None:
    good = QueueSample(NOW, 2**40, 3.0, 4.0, 5.0, 6.0, 7.0)
    [found] = read("10s", pack(good) + pack(QueueSample(NOW + 1, 1, math.nan)) + b"x", NOW)
    assert found == good._replace(size=2**32 - 1)


def test_a_queue_that_is_recorded_stays_until_another_is_twice_as_full() -> None:
    weights = {b"a": 10.0, b"b": 15.0, b"c": 1.0, b"d": 0.0}
    assert set(chosen([], weights, 2)) == {b"a", b"b"}
    assert set(chosen([b"a", b"c"], weights, 2)) == {b"a", b"b"}
    assert set(chosen([b"a", b"c"], {**weights, b"b": 1.5}, 2)) == {b"a", b"c"}
    assert set(chosen([b"c"], weights, 9)) == set(weights)


def test_two_ticks_tell_sizes_waits_and_what_was_taken(redis: Redis, redis_url: str) -> None:
    jobd.configure(redis_url=redis_url)
    fill_queue(redis, 4)
    redis.sadd("queues", b"raw\xff")
    now = float(redis.time()[0])
    mine = sampler(redis_url)
    tick(mine, now - 10)
    counts = QueueCounts()
    counts.took([("default", 30), ("default", -2)])
    ran: Ran = {
        ("default", "A", "ok"): ([0.1] * 20, []),
        ("default", "A", "retried"): ([1.0] * 5, []),
        ("x", "A", "requeued"): ([1.0], []),
    }
    counts.ended(Counted(ran, {}))
    with redis.pipeline() as pipeline:
        counts.put(pipeline, Keys(), now)
        pipeline.execute()
    assert not counts
    assert 0 < redis.ttl("jobd:queue-counts") <= 4 * 24 * 3600
    assert b"e|x" not in redis.hgetall("jobd:queue-counts")
    tick(mine, now)
    before, after = QueueSamples().read("default")
    assert (before.size, after.size, after.added, after.taken, after.ended, after.failed) == (4, 4, 28, 28, 25, 5)
    assert increases([before, after], "added", [before.at, after.at], 60) == [28]
    assert QueueSamples().read("default", "5m")[-1] == after
    courses = QueueSamples().courses()
    assert courses.keys() == {"default", "raw\udcff"}
    assert courses["default"].failure_rate == 0.2
    for key in ("jobd:queue-courses", "jobd:history:10s:default", "jobd:history:5m:default"):
        assert redis.ttl(key) > 0
    with pytest.raises(InvalidArguments):
        QueueSamples().read("default", "1h")  # type: ignore[arg-type]


def test_who_records_next_goes_on_where_the_last_one_ended(redis: Redis, redis_url: str) -> None:
    jobd.configure(redis_url=redis_url)
    fill_queue(redis, 4)
    now = float(redis.time()[0])
    tick(sampler(redis_url), now - 10)
    fill_queue(redis, 6)
    tick(sampler(redis_url), now)
    course = QueueSamples().courses()["default"]
    assert (course.sample.added, course.grown * course.span) == (6, pytest.approx(6))


def test_a_queue_that_is_gone_takes_its_history_with_it(redis: Redis, redis_url: str) -> None:
    fill_queue(redis, 1)
    now, mine = float(redis.time()[0]), sampler(redis_url)
    tick(mine, now - 10)
    redis.delete("queues", "queue:default")
    tick(mine, now)
    assert not redis.exists("jobd:queue-courses", "jobd:history:10s:default", "jobd:history:5m:default")


def test_a_queue_that_is_gone_takes_its_counts_with_it_and_no_others(redis: Redis, redis_url: str) -> None:
    redis.sadd("queues", "a", "b")
    redis.hset("jobd:queue-counts", mapping=dict.fromkeys(("t|a", "e|a", "f|a", "t|b", "e|b", "f|b"), 5))
    now, mine = float(redis.time()[0]), sampler(redis_url)
    tick(mine, now - 10)
    redis.srem("queues", "a")
    tick(mine, now)
    assert set(redis.hgetall("jobd:queue-counts")) == {b"t|b", b"e|b", b"f|b"}


def test_where_redis_does_not_say_which_queues_there_are_all_keep_their_history(redis: Redis, redis_url: str) -> None:
    fill_queue(redis, 1)
    jobd.configure(redis_url=redis_url)
    now, mine = float(redis.time()[0]), sampler(redis_url)
    tick(mine, now - 20)
    redis.rename("queues", "kept")
    redis.set("queues", "x")
    tick(mine, now - 10)
    assert redis.exists("jobd:queue-courses", "jobd:history:10s:default", "jobd:history:5m:default") == 3
    redis.rename("kept", "queues")
    tick(mine, now)
    assert len(QueueSamples().read("default")) == 2


def test_no_more_than_200_queues_are_recorded(redis: Redis, redis_url: str) -> None:
    redis.sadd("queues", *(f"q{nth}" for nth in range(250)))
    redis.lpush("queue:q249", *range(5))
    tick(sampler(redis_url), float(redis.time()[0]))
    assert redis.hlen("jobd:queue-courses") == 200
    assert redis.hexists("jobd:queue-courses", "q249")
    assert len(redis.keys("jobd:history:10s:*")) == 200


def test_a_key_of_a_wrong_type_leaves_the_rest_as_it_is(redis: Redis, redis_url: str) -> None:
    fill_queue(redis, 3)
    redis.set("jobd:queue-counts", "x")
    redis.set("jobd:queue-courses", "x")
    redis.lpush("jobd:history:10s:default", "x")
    tick(sampler(redis_url), float(redis.time()[0]))
    assert redis.exists("jobd:history:10s", "jobd:history:5m:default") == 2


def test_a_worker_counts_what_it_takes_of_each_queue_and_what_fails(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis
) -> None:
    @jobd.job(name="Fine")
    def fine() -> None: ...

    @jobd.job(name="Fails", retry=False)
    def fails() -> None:
        raise ValueError("no")

    for nth in range(5):
        push_raw({"class": "Fine", "args": [], "jid": f"fine{nth}", "retry": False})
    for nth in range(3):
        push_raw({"class": "Fails", "args": [], "jid": f"fails{nth}", "retry": False})
    with run_worker(heartbeat_interval=0.02, lease=60):
        expected = {b"t|default": b"8", b"e|default": b"8", b"f|default": b"3"}
        wait_until(lambda: redis.hgetall("jobd:queue-counts") == expected, "the counts")


def test_a_worker_tells_how_long_its_jobs_had_waited_by_queue_and_by_class(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis, redis_url: str
) -> None:
    now = time.time()
    for at in (now - 10, int(now * 1000) - 10_000, now + 3600, "never", None, [], 1e300, float("-1e300")):
        push_raw({"class": "Waited", "args": [], "jid": secrets.token_hex(12), "queue": "default", "enqueued_at": at})

    @jobd.job(name="Waited")
    def waits() -> None: ...

    with run_worker(concurrency=1):
        wait_until(lambda: int(redis.get("stat:processed") or 0) == 8, "all ran")
    end = now // 60 * 60 + 120
    for edges in ([end - 180, end], [end // 1800 * 1800 - 7200, end]):
        [found] = QueueWaits().read("default", edges)
        assert found.count == 2
        assert found.p50 is not None
        assert abs(found.p50 / 10 - 1) < 0.5
    for period in ("1h", "8h", "72h", "90d"):
        of_class = ClassWaits().of("Waited", period)
        assert of_class.total == found.count
        assert of_class.p50 == found.p50
    keys = redis.keys("jobd:*-waits:*")
    assert len(keys) == 5
    assert all(0 < redis.ttl(key) <= 90 * 24 * 3600 and redis.strlen(key) <= 30_000 for key in keys)
