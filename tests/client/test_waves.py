"""Retries in waves: each job has its time at once, and whatever is cut or killed, every job is in one place."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults
from jobd.client.bulk import BulkResult
from jobd.client.errors import ChangeOutcomeUnknown, InvalidArguments
from jobd.client.waves import Waves
from tests.client.api import fill_set, jids, payload
from tests.proxy import Proxy
from tests.servers import RedisServer

KILLED = """
import os, signal, sys
import jobd
from jobd.client import access, defaults

defaults.API_MOVES = 3
jobd.configure(redis_url=sys.argv[1])
change, calls = access.Access.change, []


def changing(self, call):
    calls.append(call)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return change(self, call)


access.Access.change = changing
jobd.DeadSet().retry_in_waves(2, 60, start=5000.0)
"""


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def times(redis: Redis) -> dict[str, float]:
    """When each of the retries runs."""
    found: Any = redis.zrange("retry", 0, -1, withscores=True)
    return {json.loads(raw)["jid"]: score for raw, score in found}


def test_each_wave_has_its_size_and_follows_the_last_by_the_same_time() -> None:
    waves = Waves(50, 30.0, 1000.0)
    assert [waves.time(place) for place in (0, 49, 50, 99, 100)] == [1000.0, 1000.0, 1030.0, 1030.0, 1060.0]
    assert (waves.count(0), waves.count(50), waves.count(51)) == (0, 1, 2)
    assert (waves.lasts(0), waves.lasts(50), waves.lasts(2_101)) == (0.0, 0.0, 42 * 30.0)
    assert waves.after(49).time(1) == 1030.0


@pytest.mark.parametrize(
    ("size", "every"), [(0, 30), (-1, 30), (True, 30), (2.5, 30), (1, 0), (1, math.inf), (1, -1), (1, 90_000), (1, "x")]
)
def test_waves_that_cannot_be_are_refused(size: Any, every: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"size is|every is"):
        Waves.of(size, every, 0.0)


def test_waves_that_would_last_too_long_are_refused_before_anything_is_moved(redis: Redis) -> None:
    fill_set(redis, "dead", 50)
    with pytest.raises(InvalidArguments, match="take larger waves"):
        jobd.DeadSet().retry_in_waves(1, 86_400)
    assert (redis.zcard("dead"), redis.zcard("retry")) == (50, 0)


def test_retries_get_the_times_of_their_waves_and_keep_their_count(redis: Redis) -> None:
    fill_set(redis, "retry", 7, retry_count=3, expires_in=5)
    assert jobd.RetrySet().retry_in_waves(3, timedelta(minutes=1), start=1e9) == BulkResult(moved=7)
    waves = {0: 1e9, 1: 1e9 + 60, 2: 1e9 + 120}
    assert times(redis) == {f"j{i}": waves[i // 3] for i in range(7)}
    assert {(entry.retry_count, "expires_in" in entry.payload) for entry in jobd.RetrySet()} == {(3, False)}


def test_dead_jobs_wait_among_the_retries_and_have_the_attempt_back(redis: Redis) -> None:
    fill_set(redis, "dead", 3, retry_count=25)
    redis.zadd("dead", {b"{bad": 9.0})
    done = jobd.DeadSet().retry_in_waves(2, 10, start=100.0, placed=1)
    assert done == BulkResult(moved=3, malformed=1)
    assert times(redis) == {"j0": 100.0, "j1": 110.0, "j2": 110.0}
    assert {entry.retry_count for entry in jobd.RetrySet()} == {24}
    assert [entry.raw for entry in jobd.DeadSet()] == [b"{bad"]


def test_the_first_wave_is_now_unless_it_is_said(redis: Redis) -> None:
    fill_set(redis, "dead", 1)
    before = float(jobd.DeadSet().access.server_now())
    jobd.DeadSet().retry_in_waves(1, 1)
    assert before <= times(redis)["j0"] <= jobd.DeadSet().access.server_now()


@pytest.mark.parametrize("text", [None, "HardJob"])
def test_who_meets_its_own_waves_again_leaves_them_alone(
    redis: Redis, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "API_MOVES", 10)
    fill_set(redis, "retry", 100)
    redis.zadd("retry", {payload("last"): 1e9})
    assert jobd.RetrySet().retry_in_waves(7, 2.5, text=text, start=50.3).moved == 101
    assert sorted(times(redis).values()) == [50.3 + place // 7 * 2.5 for place in range(101)]


@pytest.mark.parametrize("text", [None, "HardJob"])
def test_the_same_waves_again_take_all_that_is_there(
    redis: Redis, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "API_MOVES", 4)
    fill_set(redis, "retry", 20, score=1e9)
    for _ in range(2):
        assert jobd.RetrySet().retry_in_waves(3, 60, text=text, start=1e9) == BulkResult(moved=20)
        assert sorted(times(redis).values()) == [1e9 + place // 3 * 60 for place in range(20)]


def test_an_entry_itself_is_taken_with_exactly_its_bytes(redis: Redis) -> None:
    fill_set(redis, "dead", 2)
    entries = list(jobd.DeadSet())
    redis.zrem("dead", entries[0].raw)
    redis.zadd("dead", {payload("j0", args=["changed"]): entries[0].score})
    assert jobd.DeadSet().retry_in_waves(1, 1, only=entries) == BulkResult(moved=1, gone=1)
    assert jids(jobd.DeadSet()) == ["j0"]
    assert jobd.DeadSet().retry_all(only=entries) == BulkResult(gone=2)


@pytest.mark.parametrize("loss", ["request", "reply"])
@pytest.mark.parametrize("source", ["retry", "dead"])
def test_a_connection_that_is_cut_loses_and_doubles_nothing(
    redis: Redis, redis_server: RedisServer, source: str, loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "API_MOVES", 3)
    fill_set(redis, source, 10)
    with Proxy(redis_server.socket) as proxy:
        proxy.lose(loss, second_of(b"EVALSHA"))
        client = jobd.Client(proxy.url)
        owner = {"retry": jobd.RetrySet, "dead": jobd.DeadSet}[source](client)
        with pytest.raises(ChangeOutcomeUnknown, match="make it again"):
            owner.retry_in_waves(2, 60, start=5000.0)
        assert sorted([*jids(jobd.RetrySet()), *jids(jobd.DeadSet())]) == [f"j{i}" for i in range(10)]
        moved = 3 if loss == "request" else 6
        assert [time for time in sorted(times(redis).values()) if time >= 5000.0] == [
            5000.0 + place // 2 * 60 for place in range(moved)
        ]
        owner.retry_in_waves(2, 60, start=9000.0)
        assert sorted(times(redis)) == [f"j{i}" for i in range(10)]
        client.close()


def second_of(word: bytes) -> Callable[[bytes], bool]:
    """Whether a request is the second that holds `word`."""
    seen: list[bytes] = []

    def matches(request: bytes) -> bool:
        if word in request:
            seen.append(request)
        return word in request and len(seen) == 2

    return matches


def test_a_process_that_is_killed_half_way_leaves_each_job_in_one_place(redis: Redis, redis_url: str) -> None:
    fill_set(redis, "dead", 10)
    done = subprocess.run([sys.executable, "-c", KILLED, redis_url], check=False)
    assert done.returncode == -signal.SIGKILL
    assert times(redis) == {f"j{i}": 5000.0 + i // 2 * 60 for i in range(6)}
    assert jids(jobd.DeadSet()) == ["j6", "j7", "j8", "j9"]
