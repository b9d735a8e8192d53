"""Marks of deploys, as Sidekiq keeps them: set once, read back, and refused where they would be lost or wrong."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import clock
from jobd.client.deploys import DeployMark, parse_stamp
from jobd.client.errors import InvalidArguments, RedisRefused

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def travel(monkeypatch: pytest.MonkeyPatch, to: datetime, redis: Redis) -> None:
    """Have it be another time for jobd."""
    seconds, micros = redis.time()
    monkeypatch.setattr(clock, "ahead", to.timestamp() - seconds - micros / 1e6)


def test_a_mark_is_written_as_sidekiq_reads_it(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    travel(monkeypatch, datetime(2026, 11, 22, 0, 5, 1, tzinfo=UTC), redis)
    mark = jobd.mark_deploy(" 9f3c1ab\nFaster  mails — “now” ")
    assert mark == DeployMark(
        datetime(2026, 11, 22, 0, 5, tzinfo=UTC).timestamp(), "9f3c1ab Faster mails — “now”", True
    )
    assert redis.hgetall("20261122-marks") == {b"2026-11-22T00:05:00Z": mark.label.encode()}
    assert 90 * DAY - 60 < redis.ttl("20261122-marks") <= 90 * DAY
    lock = f"deploylock-{mark.label}"
    assert (redis.get(lock), 0 < redis.ttl(lock) <= 60) == (b"2026-11-22T00:05:00Z", True)
    assert sorted(redis.keys()) == sorted([b"20261122-marks", lock.encode()])


def test_each_process_of_a_deploy_may_mark_it(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    travel(monkeypatch, datetime(2026, 11, 22, 23, 59, 1, tzinfo=UTC), redis)
    first = jobd.mark_deploy("v2")
    travel(monkeypatch, datetime(2026, 11, 23, 0, 0, 20, tzinfo=UTC), redis)
    again = jobd.mark_deploy("v2")
    assert (first.new, again.new, again.at) == (True, False, first.at)
    assert redis.keys("*-marks") == [b"20261122-marks"]


def test_a_call_that_broke_off_before_the_mark_is_made_good_by_the_next(redis: Redis) -> None:
    at = jobd.mark_deploy("v2").at
    day = f"{datetime.fromtimestamp(at, UTC):%Y%m%d}-marks"
    redis.delete(day)
    assert jobd.mark_deploy("v2") == DeployMark(at, "v2", True)


def test_a_minute_has_one_mark_and_the_call_tells_which(redis: Redis) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    assert jobd.mark_deploy("a", at=at).new
    assert jobd.mark_deploy("b", at=at) == DeployMark(at.timestamp() // 60 * 60, "a", False)
    assert redis.keys("deploylock-*") == []


def test_marks_are_read_newest_first_with_those_of_sidekiq(redis: Redis) -> None:
    now = datetime.now(UTC)
    days = [now - timedelta(days=back) for back in (0, 3, 12)]
    for day in days:
        redis.hset(f"{day:%Y%m%d}-marks", f"{day:%Y-%m-%d}T00:00:00Z", f"day {day.day}")
    redis.hset(
        f"{now:%Y%m%d}-marks", mapping={"no time": "x", b"\xff": "x", f"{now:%Y-%m-%d}T00:01:00Z": b"\xff" * 500}
    )
    redis.set(f"{now - timedelta(days=1):%Y%m%d}-marks", "no hash")
    labels = [mark.label for mark in jobd.deploy_marks(7)]
    assert labels == ["�" * 199 + "…", f"day {now.day}", f"day {days[1].day}"]
    assert jobd.deploy_marks()[-1] == DeployMark(
        days[2].replace(hour=0, minute=0, second=0, microsecond=0).timestamp(), f"day {days[2].day}"
    )


@pytest.mark.parametrize("text", [b"2026-11-22T00:05:00Z", b"2026-11-22T00:05:00+00:00", b"2026-11-22T07:05:00+07:00"])
def test_times_are_read_however_they_are_spelt(text: bytes) -> None:
    assert parse_stamp(text) == datetime(2026, 11, 22, 0, 5, tzinfo=UTC).timestamp()


def test_a_label_is_the_last_commit_where_none_is_given(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidArguments, match=f"no label is given, and git knows no commit in {tmp_path} .*; give a"):
        jobd.mark_deploy()
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "Gửi thư nhanh hơn\n\nBody"], check=True)
    short = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    assert jobd.mark_deploy().label == f"{short.stdout.strip()} Gửi thư nhanh hơn"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidArguments, match="give a label"):
        jobd.mark_deploy()


@pytest.mark.parametrize(
    ("label", "at", "problem"),
    [
        ("", None, "the label of a deploy is ''; give a text, such as the version"),
        (" \n", None, "give a text"),
        (7, None, "the label of a deploy is 7"),
        ("\ud800", None, "is no Unicode"),
        ("v1", "2026-11-22", "at is '2026-11-22'; give an aware datetime or epoch seconds"),
        ("v1", datetime(2026, 1, 1), "without a time zone"),
        ("v1", datetime(2020, 1, 1, tzinfo=UTC), "at is 2020-01-01T00:00:00Z; give a time of the last 90 days"),
        ("v1", datetime(2200, 1, 1, tzinfo=UTC), "at is 2200-01-01T00:00:00Z"),
    ],
)
def test_what_makes_no_mark_is_refused_with_the_remedy(redis: Redis, label: Any, at: Any, problem: str) -> None:
    with pytest.raises(InvalidArguments, match=problem):
        jobd.mark_deploy(label, at=at)
    assert redis.keys() == []


def test_so_many_days_are_read_as_are_kept() -> None:
    for wrong in (0, 91, True, "7"):
        with pytest.raises(InvalidArguments, match="give a whole number from 1 to 90"):
            jobd.deploy_marks(wrong)  # type: ignore[arg-type]


def test_a_key_of_another_type_is_not_overwritten(redis: Redis) -> None:
    redis.set(f"{datetime.now(UTC) - timedelta(days=1):%Y%m%d}-marks", "mine")
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        jobd.mark_deploy("v1", at=datetime.now(UTC) - timedelta(days=1))
