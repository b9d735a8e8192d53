"""Values are put into buckets many at once: a value at a bound as Prometheus means it, or as Sidekiq does."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobd.client.buckets import below, up_to

BOUNDS = (0.5, 1.0, 2.5)


def test_a_value_at_a_bound_is_at_most_it_for_prometheus_and_above_it_for_sidekiq() -> None:
    values = [0.0, 0.5, 0.6, 1.0, 2.5, 2.6]
    assert up_to(BOUNDS, values) == {0: 2, 1: 2, 2: 1, 3: 1}
    assert below(BOUNDS, values) == {0: 1, 1: 2, 2: 1, 3: 2}
    assert up_to(BOUNDS, values, 2) == {1: 2, 2: 1, 3: 1}
    assert up_to(BOUNDS, []) == below(BOUNDS, []) == {}


@given(values=st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 2.5, 3.0]), max_size=30).map(sorted))
def test_many_are_counted_as_each_would_be(values: list[float]) -> None:
    assert up_to(BOUNDS, values) == Counter(sum(bound < value for bound in BOUNDS) for value in values)
    assert below(BOUNDS, values) == Counter(sum(bound <= value for bound in BOUNDS) for value in values)
