"""That the books of `conservation.py` tell each kind of error, so that its rounds can fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.chaos.books import Audit, Contents, Runs, audit

KILLED, UNSURE = 7, 99
"""A pid, and the number of a job that nobody knows to be in Redis."""


def books(redis: Redis, ledger: Path, text: str, *, pushed: int = 1, threads: int = 1, batch: int = 1) -> Audit:
    """Of jobs 1 to `pushed`, with what Redis holds and a ledger of these lines, parted by commas."""
    ledger.write_text("".join(f"{line.strip()} .\n" for line in text.split(",") if line))
    numbers = set(range(1, pushed + 1))
    found = Contents.read(redis)
    return audit(
        found, Runs.read(ledger), pushed=numbers, unsure={UNSURE}, killed={KILLED}, threads=threads, batch=batch
    )


def entry(number: int = 1, **fields: Any) -> str:
    """A job as it stands in Redis."""
    return json.dumps({"args": [number], "retry": 2, **fields})


def count(redis: Redis, processed: int, failed: int) -> None:
    """Set the statistics."""
    for name, value in (("processed", processed), ("failed", failed)):
        redis.mset({f"stat:{name}": value, f"stat:{name}:2026-01-01": value})


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def test_a_failure_a_repeated_run_and_a_success_are_in_order(redis: Redis, ledger: Path) -> None:
    count(redis, 2, 1)
    found = books(redis, ledger, "began 1 1 7, began 1 1 8, failed 1 1 8, ran 1 2 8")
    assert (found.problems, found.processed, found.failed, found.again) == ([], 2, 1, 1)
    assert found.places == {"done": 1}


@pytest.mark.parametrize(
    ("payload", "ledger_text", "processed", "failed"),
    [
        ({}, "", 0, 0),
        ({}, "began 1 1 7", 0, 0),
        ({"retry_count": 0}, "began 1 1 8, failed 1 1 8", 1, 1),
        ({"retry_count": 1, "error_class": "jobd.Crashed"}, "began 1 1 8, failed 1 1 8, began 1 2 7", 2, 2),
    ],
)
def test_a_job_in_redis_counts_what_its_payload_says(
    redis: Redis, ledger: Path, payload: Mapping[str, Any], ledger_text: str, processed: int, failed: int
) -> None:
    redis.zadd("dead" if "error_class" in payload else "retry", {entry(**payload): 1.0})
    count(redis, processed, failed)
    assert not books(redis, ledger, ledger_text).problems


@pytest.mark.parametrize(
    ("ledger_text", "processed", "problem"),
    [
        ("began 1 1 7", 0, "1 jobs lost: [1]"),
        ("began 1 1 7, failed 1 1 7", 0, "1 jobs lost: [1]"),
        ("ran 1 1 8", 2, "stat:processed is 2, the books say 1"),
        ("ran 1 1 8, ran 5 1 8", 2, "1 jobs there, though their push has failed: [5]"),
        ("ran 1 1 8, ran 1 1 8", 1, "1 jobs interrupted by process 8, which was not killed: [(1, 1)]"),
        ("ran 1 2 8", 2, "job 1 is done, but its attempts [1] did not fail"),
    ],
)
def test_a_job_that_is_gone_has_to_have_ended_once(
    redis: Redis, ledger: Path, ledger_text: str, processed: int, problem: str
) -> None:
    count(redis, processed, 0)
    assert problem in books(redis, ledger, ledger_text).problems


def test_a_line_that_was_cut_off_is_none(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("ran 1 1 8 .\nran 2 1 7\nran 3 1 8 .\n")
    assert Runs.read(tmp_path / "ledger").numbers == {1, 3}


def test_a_push_of_unknown_outcome_may_have_been_one(redis: Redis, ledger: Path) -> None:
    count(redis, 2, 0)
    assert books(redis, ledger, "ran 1 1 8, ran 99 1 8").places == {"done": 2}


def test_a_job_may_be_in_one_place_only(redis: Redis, ledger: Path) -> None:
    redis.lpush("queue:low", entry())
    redis.zadd("schedule", {entry(): 1.0})
    assert (
        "1 jobs in several places: [\"1 in ['schedule', 'queue:low']\"]" in books(redis, ledger, "began 1 1 7").problems
    )


def test_nothing_may_be_in_progress(redis: Redis, ledger: Path) -> None:
    redis.hset("jobd:host:7:nonce:jobs", "token", "1")
    assert "left in progress: jobd:host:7:nonce:jobs" in books(redis, ledger, "ran 1 1 8").problems


def test_a_job_may_not_be_dead_before_its_attempts_are_used_up(redis: Redis, ledger: Path) -> None:
    redis.zadd("dead", {entry(retry_count=1): 1.0})
    assert "1 jobs dead too early or too late: ['1 after 2 failures']" in books(redis, ledger, "began 1 1 7").problems


def test_a_kill_explains_as_many_runs_as_there_are_threads_and_members_of_a_batch(redis: Redis, ledger: Path) -> None:
    count(redis, 3, 0)
    twice = "ran 1 1 7, ran 2 1 7, ran 1 1 8, ran 2 1 8, ran 3 1 8"
    assert not books(redis, ledger, twice, pushed=3).problems
    told = books(redis, ledger, f"ran 3 1 7, {twice}", pushed=3).problems
    assert told == ["3 jobs interrupted by process 7, 0 of them at work and 1 not its last: [(1, 1), (2, 1), (3, 1)]"]


def test_a_kill_explains_one_run_for_each_thread_that_had_not_ended(redis: Redis, ledger: Path) -> None:
    count(redis, 3, 0)
    ends = "ran 1 1 8, ran 2 1 8, ran 3 1 8"
    assert not books(redis, ledger, f"ran 1 1 7, ran 2 1 7, began 3 1 7, {ends}", pushed=3).problems
    told = books(redis, ledger, f"ran 1 1 7, began 2 1 7, began 3 1 7, {ends}", pushed=3).problems
    assert told == ["3 jobs interrupted by process 7, 2 of them at work and 0 not its last: [(1, 1), (2, 1), (3, 1)]"]


def test_a_kill_explains_one_older_run_for_each_thread(redis: Redis, ledger: Path) -> None:
    count(redis, 4, 0)
    found = "ran 3 1 7, ran 4 1 7, ran 1 1 7, ran 2 1 7, ran 3 1 8"
    assert not books(redis, ledger, found, pushed=4).problems
    told = books(redis, ledger, f"{found}, ran 4 1 8", pushed=4).problems
    assert told == ["2 jobs interrupted by process 7, 0 of them at work and 2 not its last: [(3, 1), (4, 1)]"]
