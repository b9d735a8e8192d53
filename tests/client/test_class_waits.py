"""How long jobs of a class had waited: by the period, in percentiles, in a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis

from jobd.client.class_waits import GRIDS, ClassWaits, WaitRange, grid_of
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.metrics import Period
from jobd.client.waits import BUCKETS, LONGEST, range_of
from jobd.worker.wait_counts import WaitCounts

NOW = 1_795_305_907.25
"""2026-11-22, 00:05:07 UTC."""
HOUR = 3600.0


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def write(redis: Redis, at: float, waits: Mapping[str, list[float]]) -> None:
    """As a worker does at a heartbeat."""
    counts = WaitCounts()
    for name, seconds in waits.items():
        counts.add(name, sorted(seconds))
    with redis.pipeline() as pipeline:
        counts.put(pipeline, Keys(), GRIDS, at)
        pipeline.execute()


@pytest.mark.parametrize("period", ["1h", "2h", "4h", "8h", "24h", "48h", "72h", "7d", "30d", "90d"])
def test_each_period_tells_what_began_in_it_and_nothing_before(period: Period, redis: Redis) -> None:
    width = grid_of(period).width
    length = int(period[:-1]) * (HOUR if period[-1] == "h" else 24 * HOUR)
    write(redis, NOW, {"A": [1.0] * 3, "B": [1.0]})
    write(redis, NOW - length + width, {"A": [100.0]})
    write(redis, NOW - length, {"A": [10_000.0] * 9})
    found = ClassWaits().of("A", period, until=NOW)
    assert (found.name, found.period, found.total) == ("A", period, 4)
    assert NOW - length < found.since <= NOW - length + width
    assert [
        (each.jobs, each.low < seconds <= (each.high or 0))
        for each, seconds in zip([each for each in found.histogram if each.jobs], (1.0, 100.0), strict=True)
    ] == [(3, True), (1, True)]
    told = [found.p50, found.p95, found.p99, found.percentile(50)]
    for seconds, wait in zip(told, (1.0, 100.0, 100.0, 1.0), strict=True):
        assert seconds is not None
        assert abs(seconds / wait - 1) <= 0.25


def test_a_class_that_never_ran_has_nothing(redis: Redis) -> None:
    found = ClassWaits().of("Never")
    assert (found.total, found.p50, found.percentile(99), found.histogram) == (0, None, None, [])
    assert len(found.counts) == BUCKETS


def test_what_is_longer_than_the_last_bound_is_told_as_more(redis: Redis) -> None:
    write(redis, NOW, {"A": [9 * 24 * HOUR]})
    found = ClassWaits().of("A", until=NOW)
    assert found.p50 == LONGEST
    assert found.histogram == [WaitRange(LONGEST, None, 1)]


def test_the_histogram_has_no_gaps(redis: Redis) -> None:
    write(redis, NOW, {"A": [0.01, 100.0]})
    ranges = ClassWaits().of("A", until=NOW).histogram
    assert [each.low for each in ranges[1:]] == [each.high for each in ranges[:-1]]
    assert sum(each.jobs for each in ranges) == ranges[0].jobs + ranges[-1].jobs == 2
    assert range_of(0) == (0.0, 0.001)


def test_damaged_counts_are_read_as_far_as_they_go(redis: Redis) -> None:
    write(redis, NOW, {"A": [1.0] * 3})
    number, _ = GRIDS[0].place(NOW)
    key = GRIDS[0].key(Keys(), "A", number)
    redis.append(key, b"\0\0\0")
    assert ClassWaits().of("A", until=NOW).total == 3
    redis.append(key, b"\xff" * 20_000)
    assert ClassWaits().of("A", until=NOW).total >= 3


@pytest.mark.parametrize("wrong", ["2y", "", "1H"])
def test_a_period_that_there_is_not_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArguments, match="give one of 1h"):
        ClassWaits().of("A", wrong)


@pytest.mark.parametrize("wrong", [-1, 101])
def test_a_percentile_that_there_is_not_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidArguments, match="from 0 to 100"):
        ClassWaits().of("A").percentile(wrong)
