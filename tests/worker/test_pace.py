"""How many jobs are fetched ahead, by how fast the last ones were worked off."""

from __future__ import annotations

import pytest

from jobd.worker.pace import Pace, jobs_begun


@pytest.mark.parametrize(
    ("mean", "rate", "threads", "jobs"),
    [
        (0.0, 0.0, 10, 2_000),  # the clock does not show it
        (1e-6, 0.0, 10, 2_000),  # too little to do: as fast as one thread can
        (1e-6, 300_000, 10, 2_000),
        (20e-6, 40_000, 10, 100),
        (100e-6, 10_000, 1, 20),
        (200e-6, 48_000, 10, 96),  # one in fifty sleeps for 10 ms
        (200e-6, 900_000, 10, 100),  # no faster than all threads can be
        (0.010, 990, 10, 2),
        (0.300, 33, 10, 0),
        (60.0, 0.1, 10, 0),
    ],
)
def test_as_many_as_begin_in_two_milliseconds(mean: float, rate: float, threads: int, jobs: int) -> None:
    assert jobs_begun(mean, rate, threads) == jobs


def note(pace: Pace, jobs: int, seconds: float) -> None:
    pace.jobs += jobs
    pace.seconds += jobs * seconds


def test_nothing_is_fetched_ahead_before_anything_was_measured() -> None:
    pace = Pace(10, 0.0)
    assert pace.ahead(1.0) == 0
    assert pace.busy == 0.0


def test_it_goes_by_the_last_jobs() -> None:
    pace = Pace(10, 0.0)
    note(pace, 2_000, 5e-6)
    assert pace.ahead(0.010) == 400
    for step in range(1, 31):  # a third of a second of jobs of 10 ms
        note(pace, 10, 0.010)
        ahead = pace.ahead(0.010 + step * 0.010)
    assert ahead == 2
    assert pace.busy == pytest.approx(10, abs=0.1)


def test_a_pause_says_nothing_about_how_long_jobs_take() -> None:
    pace = Pace(10, 0.0)
    note(pace, 200, 10e-6)
    assert pace.ahead(0.002) == 200
    for hour in range(1, 50):
        assert pace.ahead(hour * 3600.0) == 200
    assert pace.busy < 0.1
    for step in range(1, 11):
        note(pace, 10, 0.010)
        pace.ahead(49 * 3600.0 + step * 0.010)
    assert pace.busy > 5


def test_jobs_that_take_no_time_at_all_are_no_trouble() -> None:
    pace = Pace(10, 0.0)
    note(pace, 100, 0.010)
    pace.ahead(0.1)
    for step in range(1, 60_000):
        note(pace, 10, 0.0)
        assert pace.ahead(0.1 + step * 0.001) >= 0


def test_after_jobs_that_took_longer_than_foreseen_it_starts_anew() -> None:
    pace = Pace(10, 0.0)
    note(pace, 20_000, 5e-6)
    assert pace.ahead(0.1) == 400
    pace.restart(0.010)
    assert pace.ahead(0.101) == 0
    note(pace, 200, 5e-6)
    assert pace.ahead(0.102) > 16
