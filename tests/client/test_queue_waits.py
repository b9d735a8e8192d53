"""How long jobs had waited: counted in buckets, told in percentiles that are off by a quarter at most."""

from __future__ import annotations

import random
import struct

import pytest
from redis import Redis

from jobd.client.keys import Keys
from jobd.client.queue_waits import COARSE, FINE, QueueWaits, grids_of, sources_of, waited
from jobd.client.waits import BUCKETS, LONGEST, buckets_of, percentile, range_of

NOW = 1_790_000_000.0
WEEK = 7 * 24 * 3600.0


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("middle", [0.01, 1.0, 90.0, 5_000.0])
def test_a_percentile_is_off_by_a_quarter_at_most(middle: float, share: float) -> None:
    chance = random.Random(7)
    waits = sorted(chance.lognormvariate(0, 1) * middle for _ in range(1_000))
    counts = [buckets_of(waits).get(bucket, 0) for bucket in range(BUCKETS)]
    found = percentile(counts, share)
    assert found is not None
    assert abs(found / waits[round(share * 1_000) - 1] - 1) <= 0.25


def test_the_ends_of_the_buckets_and_waits_before_their_time() -> None:
    assert buckets_of([-5.1, -5.0, 0.0, 0.001, 0.0011, 1e9]) == {0: 3, 1: 1, BUCKETS - 1: 1}
    assert buckets_of([]) == buckets_of([-6.0]) == {}
    assert percentile([0] * BUCKETS, 0.5) is None
    assert (range_of(0), range_of(BUCKETS - 1)) == ((0.0, 0.001), (LONGEST, None))


def test_a_week_is_told_as_it_is_and_what_is_longer_than_the_last_bound_as_more() -> None:
    [bucket] = buckets_of([WEEK])
    found = percentile([0] * bucket + [1], 0.5)
    assert found is not None
    assert abs(found / WEEK - 1) <= 0.25
    assert WEEK < LONGEST < 8 * 24 * 3600
    assert percentile([0] * (BUCKETS - 1) + [9], 0.5) == LONGEST
    assert all(percentile([0] * bucket + [1], 0.5) != LONGEST for bucket in range(BUCKETS - 1))


def test_counts_are_put_together_between_the_edges() -> None:
    number, stretch = FINE.place(NOW)
    start = FINE.first_of(number) + stretch * 60
    slots = [[0] * BUCKETS for _ in range(stretch + 2)]
    slots[stretch][10], slots[stretch + 1][20] = 3, 5
    raw = b"".join(struct.pack(f">{BUCKETS}I", *slot) for slot in slots).rstrip(b"\0")
    edges = [start - 60, start, start + 60, start + 120]
    read = sources_of(Keys(), "default", edges, start)
    raws = [raw if each.key == f"jobd:queue-waits:{number}:default" else None for each in read]
    first, second, third = waited(read, raws, edges)
    assert [first.count, second.count, third.count] == [0, 3, 5]
    assert (first.p50, second.p50 == second.p99) == (None, True)
    [both] = waited(read, raws, [start, start + 120])
    assert both.count == 8
    assert both.p50 == both.p99 == third.p50


@pytest.mark.parametrize(("back", "key", "slots"), [(60, "jobd:waits", 60), (7200, "jobd:long-waits", 48)])
def test_counts_of_an_older_layout_are_told_with_those_of_today(
    back: int, key: str, slots: int, redis: Redis, configured: str
) -> None:
    now = float(redis.time()[0]) // 1800 * 1800
    grid = FINE if back == 60 else COARSE
    number, stretch = grid.place(now)
    old, new = [0] * 48 * slots, [0] * BUCKETS * slots
    old[48 * stretch + 10], old[48 * stretch + 47], new[BUCKETS * stretch + 10] = 95, 4, 1
    redis.set(f"{key}:{number}:default", struct.pack(f">{len(old)}I", *old))
    redis.set(grid.key(Keys(), "default", number), struct.pack(f">{len(new)}I", *new))
    [_, found] = QueueWaits().read("default", [now - back, now, now + 1800])
    assert found.count == 100
    assert found.p95 == percentile([0] * 10 + [1], 0.5)
    assert found.p99 is not None
    assert 35 * 3600 <= found.p99 <= 53 * 3600


def test_minutes_tell_of_the_last_hour_and_half_hours_of_what_was_before() -> None:
    assert grids_of([NOW - 3600, NOW], NOW)[0] is FINE
    assert grids_of([NOW - 4000, NOW], NOW)[0] is COARSE
    assert grids_of([], NOW)[0] is COARSE
    assert QueueWaits().read("default", [NOW]) == []
