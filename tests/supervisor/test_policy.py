"""What the master decides, case by case."""

from __future__ import annotations

import pytest

from jobd.supervisor import policy
from jobd.supervisor.config import Config
from jobd.supervisor.reload import plan


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(0, 0.0, 0.0), (1, 0.375, 0.625), (2, 0.75, 1.25), (3, 1.5, 2.5), (7, 22.5, 37.5), (100, 22.5, 37.5)],
)
def test_pauses_double_up_to_half_a_minute_and_a_quarter_of_chance(
    failures: int, shortest: float, longest: float
) -> None:
    assert policy.restart_delay(failures, 0.0) == shortest
    assert policy.restart_delay(failures, 1.0) == longest


def test_a_series_of_deaths_ends_with_a_minute_of_health() -> None:
    assert [policy.failures_after(5, lived) for lived in (0.0, 59.9, 60.0)] == [6, 6, 1]


@pytest.mark.parametrize(
    ("ever_ready", "failed_boots", "gives_up"),
    [
        (False, [1], True),
        (False, [1, 3], True),
        (False, [1, 0], False),  # one may still come up
        (True, [1, 1], False),  # it has worked: stay, and try again
        (False, [0, 0], False),
    ],
)
def test_a_start_is_given_up_only_if_nothing_ever_worked(
    ever_ready: bool, failed_boots: list[int], gives_up: bool
) -> None:
    assert policy.gives_up(ever_ready, failed_boots) is gives_up


@pytest.mark.parametrize(("chance", "limit"), [(0.0, 1000), (0.5, 1050), (0.999, 1099)])
def test_children_are_due_after_max_jobs_and_up_to_a_tenth_more(chance: float, limit: int) -> None:
    assert policy.job_limit(1000, chance) == limit
    assert policy.job_limit(None, chance) is None


@pytest.mark.parametrize(
    ("silence", "life"), [(0.0, "fine"), (22.4, "fine"), (22.5, "silent"), (44.9, "silent"), (45.0, "hung")]
)
def test_silence_is_told_at_half_the_limit_and_ended_at_the_limit(silence: float, life: str) -> None:
    assert policy.life_of(silence, 45.0) == life


def test_a_late_turn_shows_that_the_master_slept() -> None:
    assert [policy.was_asleep(turn, 45.0) for turn in (0.1, 1.5, 5.0, 5.1)] == [False, False, False, True]
    assert [policy.was_asleep(turn, 3.0) for turn in (1.1, 1.6)] == [False, True]


@pytest.mark.parametrize(
    ("changes", "waiting", "live", "rolling"),
    [
        ({}, (), (), ()),
        ({"processes": 5, "max_jobs": 7}, (), ("processes", "max_jobs"), ()),
        ({"concurrency": 5, "timeout": 3.0}, (), (), ("concurrency", "timeout")),
        ({"pidfile": "b.pid", "metrics": "127.0.0.1:1"}, ("pidfile", "metrics"), (), ()),
        ({"processes": 0}, ("processes",), (), ()),
        ({"redis_url": "redis://other:1/0"}, (), (), ("redis_url",)),
        ({"redis_url": "embedded:elsewhere"}, ("redis_url",), (), ()),
    ],
)
def test_what_a_reload_changes_now_later_or_by_new_processes(
    changes: dict[str, object], waiting: tuple[str, ...], live: tuple[str, ...], rolling: tuple[str, ...]
) -> None:
    old = Config(processes=2, pidfile="a.pid", max_jobs=9)
    change = plan(old, Config(**{"processes": 2, "pidfile": "a.pid", "max_jobs": 9, **changes}))
    assert (set(change.waiting), set(change.live), set(change.rolling)) == (set(waiting), set(live), set(rolling))
    for key, value in changes.items():
        assert getattr(change.config, key) == (getattr(old, key) if key in waiting else value)
