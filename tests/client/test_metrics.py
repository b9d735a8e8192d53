"""The figures of each class of jobs, read from what jobd and Sidekiq 7 and 8 write."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.errors import InvalidArguments
from jobd.client.metrics import Estimate, estimate

NOW = 1_795_305_907.25
"""2026-11-22, 00:05:07 UTC."""


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def histogram(**counts: int) -> bytes:
    values = [0] * 26
    for bucket, count in counts.items():
        values[int(bucket[1:])] = count
    return struct.pack(">26H", *values)


def test_the_classes_that_took_most_time_come_first(redis: Redis) -> None:
    redis.hset("j|261122|0:05", mapping={"A|p": 3, "A|f": 1, "A|ms": 500, "B::C|p": 1, "B::C|ms": 900, "odd": 1})
    redis.hset("j|261122|0:04", mapping={"A|p": 1, "A|ms": 100})
    redis.hset("j|261121|23:06", mapping={"A|p": 10, "A|ms": 1_000})
    redis.hset("j|261121|23:05", mapping={"A|p": 99})
    result = jobd.Metrics().top("1h", until=NOW)
    assert list(result.jobs) == ["A", "B::C"]
    assert (result.width, len(result.starts), result.starts[-1]) == (60, 60, NOW // 60 * 60)
    job = result.jobs["A"]
    assert (list(job.executed)[-2:], job.executed[0]) == ([1, 3], 10)
    assert (job.total_executed, job.total_failed, job.total_milliseconds) == (14, 1, 1_600)
    assert job.average_milliseconds == 1_600 / 13
    assert list(jobd.Metrics().top("1h", match="::", until=NOW).jobs) == ["B::C"]


def test_the_names_of_sidekiq_7_are_read_too(redis: Redis) -> None:
    redis.hset("j|20261122|0:4", mapping={"FailJob|f": 1, "FailJob|p": 1, "HardJob|ms": 7, "HardJob|p": 1})
    redis.set("HardJob-22-00:4", histogram(b0=1))
    redis.hset("j|261122|0:04", mapping={"HardJob|ms": 5, "HardJob|p": 2})
    redis.set("h|HardJob-22-0:4", b"\0\2")
    result = jobd.Metrics().top("2h", until=NOW)
    assert (result.jobs["HardJob"].total_executed, result.jobs["FailJob"].total_failed) == (3, 1)
    job = jobd.Metrics().of("HardJob", "2h", until=NOW).jobs["HardJob"]
    assert (job.total_executed, job.total_milliseconds, job.executed[-2]) == (3, 12, 3)
    assert job.histogram == [3, *([0] * 25)]


def test_days_are_read_by_ten_minutes_and_by_hours(redis: Redis) -> None:
    redis.hset("j|261122|0:0", mapping={"A|p": 3})
    redis.hset("jobd:metrics:26112200", mapping={"A|p": 4})
    redis.hset("jobd:metrics:26082500", mapping={"A|p": 5})
    metrics = jobd.Metrics()
    found = {period: metrics.of("A", period, until=NOW) for period in ("24h", "72h", "7d", "90d")}
    assert [(result.width, len(result.starts)) for result in found.values()] == [
        (600, 144),
        (600, 432),
        (3600, 168),
        (3600, 2_160),
    ]
    assert [result.jobs["A"].total_executed for result in found.values()] == [3, 3, 4, 9]
    assert not found["7d"].jobs["A"].histograms


def test_a_class_that_did_not_run_has_zeroes() -> None:
    job = jobd.Metrics().of("A", until=NOW).jobs["A"]
    assert (job.total_executed, job.average_milliseconds, sum(job.histogram)) == (0, 0.0, 0)
    assert job.percentile(50) == Estimate(0.0, 0.0, 0.0)


def test_a_percentile_is_estimated_within_its_bucket(redis: Redis) -> None:
    counts = [50, 40, *([0] * 22), 9, 1]
    assert estimate(counts, 50) == Estimate(20.0, 0.0, 20)
    assert estimate(counts, 70) == Estimate(25.0, 20, 30)
    assert estimate(counts, 99) == Estimate(335_000.0, 225_000, 335_000)
    assert estimate(counts, 100) == Estimate(335_000.0, 335_000, float("inf"))
    with pytest.raises(InvalidArguments, match="from 0 to 100"):
        estimate(counts, 101)


def test_damaged_figures_raise_nothing(redis: Redis) -> None:
    redis.hset("j|261122|0:05", mapping={b"\xff|p": 1, "A|p": "x", "|p": 3, "A|f": 2})
    redis.set("j|261122|0:04", "text")
    redis.set("h|A-22-0:5", b"\0\1\2" * 30)
    assert jobd.Metrics().top("1h", until=NOW).jobs["A"].total_failed == 2
    assert len(jobd.Metrics().of("A", until=NOW).jobs["A"].histogram) == 26


@pytest.mark.parametrize("period", ["1y", "", 60, "3h"])
def test_a_period_that_is_not_kept_is_refused(period: Any) -> None:
    with pytest.raises(InvalidArguments, match="give one of 1h, 2h, 4h, 8h, 24h"):
        jobd.Metrics().top(period)


def test_the_longest_period_takes_a_dozen_round_trips(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[str] = []
    read = jobd.client.access.Access.read
    monkeypatch.setattr("jobd.client.access.Access.read", lambda self, ask: (trips.append(""), read(self, ask))[1])
    jobd.Metrics().top("90d", until=NOW)
    assert len(trips) == 11
