"""A Redis that answers slowly is told of, one that stumbles is not."""

from __future__ import annotations

import pytest

from jobd.worker.clock import ServerClock
from jobd.worker.round_trips import RoundTrips
from tests.worker.conftest import Events
from tests.worker.test_heartbeat import StubRecovery, make

SLOW, QUICK = 0.051, 0.05


def told(*readings: float) -> list[bool]:
    round_trips = RoundTrips()
    return [bool(round_trips.slow(seconds)) for seconds in readings]


def test_five_slow_ones_in_a_row_are_told_of() -> None:
    assert told(*[SLOW] * 5) == [False] * 4 + [True]


def test_a_quick_one_among_them_is_enough() -> None:
    assert not any(told(SLOW, SLOW, QUICK, SLOW, SLOW, SLOW, SLOW))


def test_they_are_told_of_again_after_five_more() -> None:
    assert told(*[SLOW] * 10) == [False] * 4 + [True] + [False] * 4 + [True]


def test_what_was_measured_is_told() -> None:
    round_trips = RoundTrips()
    for seconds in (0.06, 0.07, 0.08, 0.09):
        round_trips.slow(seconds)
    assert round_trips.slow(0.1) == (0.06, 0.07, 0.08, 0.09, 0.1)


def test_the_heartbeat_warns_with_the_measured_times(
    redis_url: str, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerClock, "measure", lambda clock, client: 0.0605)
    heartbeat = make(redis_url, StubRecovery())
    for _ in range(5):
        heartbeat.tick()
    [warning] = events.named("redis.slow")
    assert warning["milliseconds"] == [60.5] * 5
