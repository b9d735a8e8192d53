"""How long jobs had waited: counted in buckets, told in percentiles that are off by a quarter at most."""

from __future__ import annotations

import random
import struct

import pytest

from jobd.client.queue_waits import BUCKETS, COARSE, FINE, buckets_of, grid_of, percentile, waited

NOW = 1_790_000_000.0


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
    assert buckets_of([]) == {}
    assert percentile([0] * BUCKETS, 0.5) is None
    assert percentile([0] * (BUCKETS - 1) + [9], 0.5) == pytest.approx(0.001 * 1.5 ** (BUCKETS - 2))


def test_counts_are_put_together_between_the_edges() -> None:
    number, stretch = FINE.place(NOW)
    start = FINE.first_of(number) + stretch * 60
    slots = [[0] * BUCKETS for _ in range(stretch + 2)]
    slots[stretch][10], slots[stretch + 1][20] = 3, 5
    raw = b"".join(struct.pack(f">{BUCKETS}I", *slot) for slot in slots).rstrip(b"\0")
    first, second, third = waited(FINE, {number: raw, number - 1: None}, [start - 60, start, start + 60, start + 120])
    assert [first.count, second.count, third.count] == [0, 3, 5]
    assert (first.p50, second.p50 == second.p99) == (None, True)
    [both] = waited(FINE, {number: raw}, [start, start + 120])
    assert both.count == 8
    assert both.p50 == both.p99 == third.p50


def test_minutes_tell_of_the_last_hour_and_half_hours_of_what_was_before() -> None:
    assert grid_of([NOW - 3600, NOW], NOW) is FINE
    assert grid_of([NOW - 4000, NOW], NOW) is COARSE
    assert grid_of([], NOW) is COARSE
