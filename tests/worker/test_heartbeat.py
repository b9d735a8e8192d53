"""What a process shows of itself, the signals it takes, and its beats without which it would count as dead."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as LostConnection

import jobd
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.processes import FIELDS
from jobd.client.scripts import Call
from jobd.client.trend import Trend, read_trend
from jobd.client.version import VERSION
from jobd.worker.clock import ServerClock
from jobd.worker.config import Capsule, WorkerConfig
from jobd.worker.heartbeat import Heartbeat, process_info
from jobd.worker.outage import Outage
from jobd.worker.process import WorkerProcess
from jobd.worker.recovery import Orphan
from jobd.worker.trend import Recent
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw, RunWorker

release = threading.Event()
at_work = threading.Event()
OFTEN = {"heartbeat_interval": 0.02, "lease": 60}


@jobd.job(name="heartbeat.block")
def block() -> None:
    at_work.set()
    assert release.wait(10)


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    release.clear()
    at_work.clear()
    yield
    release.set()


def beat_of(redis: Redis, name: str) -> dict[str, str]:
    fields: Any = redis.hgetall(name)
    return {field.decode(): value.decode() for field, value in fields.items()}


class StubLedger:
    """A ledger whose beat has the answer given."""

    fetched_at = 0.0

    def __init__(self, alive: bool) -> None:
        self.alive = alive

    def beat(self, client_call: Callable[[Call[bool]], bool]) -> bool:
        return self.alive


class StubRecovery:
    """Notes what the heartbeat asks of it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.error = error

    def expired(self) -> None:
        self.asked.append("expired")
        if self.error:
            raise self.error

    def forget(self) -> None:
        self.asked.append("forget")

    def named(self, orphans: Sequence[Orphan]) -> None:
        self.asked += [orphan.owner for orphan in orphans]
        if self.error:
            raise self.error


def make(url: str, recovery: Any, *, alive: bool = True, on_signal: Callable[[str], None] = print) -> Heartbeat:
    ledgers: Any = [StubLedger(alive)]
    return Heartbeat(
        WorkerConfig(),
        Connector(url),
        Keys(),
        ServerClock(),
        Outage(),
        identity="h:1:n",
        embedded=False,
        ledgers=ledgers,
        recovery=recovery,
        running=list,
        is_quiet=lambda: False,
        on_signal=on_signal,
    )


def test_a_process_shows_itself_in_sidekiqs_fields(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=3, **OFTEN) as worker:
        wait_until(lambda: redis.exists(worker.identity), "the first beat")
        shown = beat_of(redis, worker.identity)
        assert redis.smembers("processes") == {worker.identity.encode()}
        assert 58 <= redis.ttl(worker.identity) <= 60
    assert set(shown) == {*FIELDS, "trend", "held"}
    assert (shown["busy"], shown["quiet"], shown["concurrency"]) == ("0", "false", "3")
    assert abs(float(shown["beat"]) - time.time()) < 5
    assert "." in shown["beat"]
    assert 0 < int(shown["rss"]) < psutil.virtual_memory().total // 1024
    assert 0 <= int(shown["rtt_us"]) < 5_000_000
    assert 0 <= int(shown["cpu"]) < 100_000
    assert abs(int(shown["skew_ms"])) < 5_000


def test_its_info_is_the_union_of_what_all_versions_of_sidekiq_write() -> None:
    config = WorkerConfig(
        concurrency=4,
        queues=(("critical", 3), ("default", 2)),
        capsules=(Capsule(name="single", concurrency=1, queues=(("single", 0), ("default", 0))),),
        tag="myapp",
        labels=("eu",),
    )
    info = process_info(config, "vm:1:abc", 7.5, embedded=True)
    assert isinstance(info.pop("hostname"), str)
    assert info == {
        "started_at": 7.5,
        "pid": os.getpid(),
        "tag": "myapp",
        "dead_max_jobs": 10_000,
        "dead_timeout": 180 * 24 * 3600.0,
        "concurrency": 5,
        "capsules": {
            "default": {"concurrency": 4, "mode": "weighted", "weights": {"critical": 3, "default": 2}},
            "single": {"concurrency": 1, "mode": "strict", "weights": {"single": 0, "default": 0}},
        },
        "queues": ["critical", "default", "single"],
        "weights": [{"critical": 3, "default": 2}, {"single": 0, "default": 0}],
        "labels": ["eu"],
        "identity": "vm:1:abc",
        "version": f"jobd-{VERSION}",
        "embedded": True,
    }


def test_an_embedded_worker_says_so(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker() as worker:
        wait_until(lambda: redis.exists(worker.identity), "the first beat")
        info = json.loads(beat_of(redis, worker.identity)["info"])
    assert (info["embedded"], info["identity"], info["pid"]) == (True, worker.identity, os.getpid())


def test_a_running_job_is_in_the_work_hash_under_both_names(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    with run_worker(**OFTEN) as worker:
        names = [f"{worker.identity}:work", f"{worker.identity}:workers"]
        raw = push_raw(b'{"class":"heartbeat.block","args":[],"jid":"\xc3\xa9"}')
        wait_until(lambda: redis.exists(*names) == 2, "both work hashes")
        assert beat_of(redis, worker.identity)["busy"] == "1"
        first, second = (beat_of(redis, name) for name in names)
        assert first == second
        [(thread, value)] = first.items()
        work = json.loads(value)
        assert thread.isalnum()
        assert (work["queue"], work["payload"]) == ("default", raw.decode())
        assert (type(work["run_at"]), abs(work["run_at"] - time.time()) < 5) == (int, True)
        assert 58 <= redis.ttl(names[0]) <= 60
        release.set()
        wait_until(lambda: not redis.exists(*names), "idle again")


def test_quiet_shows_at_once(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(heartbeat_interval=20, lease=60) as worker:
        block.perform_async()
        wait_until(at_work.is_set, "the job at work")
        worker.quiet()
        wait_until(lambda: beat_of(redis, worker.identity).get("quiet") == "true", "quiet to be seen")
        block.perform_async()
        release.set()
        wait_until(lambda: redis.get("stat:processed") == b"1", "the running job done")
        assert redis.llen("queue:default") == 1


def test_the_start_of_the_longest_running_job_is_shown(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=2, **OFTEN) as worker:
        wait_until(lambda: redis.exists(worker.identity), "the first beat")
        assert beat_of(redis, worker.identity)["oldest_at"] == "0.0"
        block.perform_async()
        wait_until(lambda: worker.running, "it runs")
        began = worker.running[0].started
        block.perform_async()
        wait_until(lambda: beat_of(redis, worker.identity)["busy"] == "2", "both are shown")
        assert float(beat_of(redis, worker.identity)["oldest_at"]) == pytest.approx(began, abs=1)
        release.set()
        wait_until(lambda: beat_of(redis, worker.identity)["oldest_at"] == "0.0", "both have ended")


def test_the_last_fetch_is_shown(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(**OFTEN) as worker:
        wait_until(lambda: float(beat_of(redis, worker.identity).get("fetched_at", 0)) > 0, "the first fetch shown")
        first = float(beat_of(redis, worker.identity)["fetched_at"])
        release.set()
        block.perform_async()
        wait_until(lambda: float(beat_of(redis, worker.identity)["fetched_at"]) > first, "a later one")
    assert abs(first - time.time()) < 5


def test_a_stopped_process_is_gone_from_every_view(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(**OFTEN) as worker:
        release.set()
        block.perform_async()
        wait_until(lambda: redis.get("stat:processed") == b"1", "a job done")
    keys: Any = redis.keys("*")
    left = {key.decode() for key in keys}
    assert not [key for key in left if worker.identity in key]
    assert not left & {"processes", "jobd:procs"}


@contextmanager
def signalled(url: str) -> Iterator[tuple[WorkerProcess, list[str]]]:
    taken: list[str] = []
    worker = WorkerProcess(WorkerConfig(redis_url=url, heartbeat_interval=0.02, lease=60), on_signal=taken.append)
    worker.start()
    try:
        yield worker, taken
    finally:
        worker.stop()


def test_signals_through_redis_are_taken_in_their_order(redis_url: str, redis: Redis, events: Events) -> None:
    with signalled(redis_url) as (worker, taken):
        redis.lpush(f"{worker.identity}-signals", "TSTP", "KILL", "TTIN", "TERM")
        wait_until(lambda: len(taken) == 3, "the signals")
        assert not redis.exists(f"{worker.identity}-signals")
    assert taken == ["TSTP", "TTIN", "TERM"]
    assert [values["signal"] for values in events.named("process.signal_ignored")] == ["KILL"]


def test_an_embedded_worker_takes_signals_without_effect(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(**OFTEN) as worker:
        redis.lpush(f"{worker.identity}-signals", "TERM")
        wait_until(lambda: not redis.exists(f"{worker.identity}-signals"), "the signal taken")
        release.set()
        block.perform_async()
        wait_until(lambda: redis.get("stat:processed") == b"1", "a job done")


def test_a_signal_is_obeyed_even_if_the_beat_then_fails(redis_url: str, redis: Redis) -> None:
    """It is no longer in Redis: whoever pops it must act on it."""
    taken: list[str] = []
    redis.lpush("h:1:n-signals", "TERM")
    heartbeat = make(redis_url, StubRecovery(LostConnection("gone")), on_signal=taken.append)
    with pytest.raises(LostConnection):
        heartbeat.tick()
    assert taken == ["TERM"]


def test_others_are_judged_after_each_beat_that_went_through(redis_url: str) -> None:
    recovery = StubRecovery()
    make(redis_url, recovery).tick()
    assert recovery.asked == ["expired"]


def test_the_dead_are_kept_until_they_are_recovered(redis_url: str) -> None:
    recovery, done = StubRecovery(LostConnection("gone")), list[str]()
    heartbeat = make(redis_url, recovery)
    heartbeat.recover([Orphan("o:1", "killed"), Orphan("o:2", "killed")], done.extend)
    with pytest.raises(LostConnection):
        heartbeat.tick()
    assert done == []
    recovery.error, recovery.asked = None, []
    heartbeat.tick()
    heartbeat.tick()
    assert (recovery.asked, done) == (["o:1", "o:2", "expired", "expired"], ["o:1", "o:2"])


def test_after_a_refused_beat_nobody_is_judged_by_what_was_seen(redis_url: str) -> None:
    recovery = StubRecovery()
    make(redis_url, recovery, alive=False).tick()
    assert recovery.asked == ["forget"]


def test_after_a_failed_beat_nobody_is_judged_by_what_was_seen() -> None:
    recovery = StubRecovery()
    with RedisServer() as server:
        heartbeat = make(server.url, recovery)
        server.kill()
        with pytest.raises((LostConnection, OSError)):
            heartbeat.tick()
    assert recovery.asked == ["forget"]


def test_a_beat_that_fails_is_not_the_last(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(**OFTEN) as worker:
        wait_until(lambda: redis.exists(worker.identity), "the first beat")
        redis.delete(worker.identity)
        redis.set(worker.identity, "text")
        wait_until(lambda: redis.get(worker.identity) == b"text", "damage")
        before = redis.zscore("jobd:procs", worker.identity)
        wait_until(lambda: redis.zscore("jobd:procs", worker.identity) != before, "its lease is still renewed")
        redis.delete(worker.identity)
        wait_until(lambda: redis.exists(worker.identity), "it shows itself again")


def test_memory_and_processor_of_the_last_beats_are_shown(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1, **OFTEN) as worker:
        wait_until(lambda: (t := jobd.ProcessSet().trend(worker.identity)) and len(t.rss) > 2, "some beats")
        trend = jobd.ProcessSet().trend(worker.identity)
        assert trend is not None
        assert (len(trend.rss), trend.step) == (len(trend.cpu), OFTEN["heartbeat_interval"])
        assert 0 < min(trend.rss) <= max(trend.rss) < psutil.virtual_memory().total // 1024
    assert jobd.ProcessSet().trend(worker.identity) is None


def test_a_trend_has_one_sample_a_step_and_forgets_the_oldest() -> None:
    recent = Recent(10.0, -10.0)
    for at in (-9.5, 0.0, 1.0, 9.1, 12.0, 19.0):
        recent.add(at, int(at * 10), 1)
    assert read_trend(recent.written()) == Trend(10.0, (0, 91, 190), (1, 1, 1))
    for number in range(100):
        recent.add(100.0 + number * 10, number, 0)
    assert recent.written().count(b",") == 2 * 60
    found = read_trend(recent.written())
    assert found is not None
    assert (len(found.rss), found.rss[-1]) == (60, 99)
    assert [read_trend(raw) for raw in (None, b"", b"{}", b"\xff", b'{"step": "x"}')] == [None] * 5


@pytest.mark.parametrize("step", [0, -10, 1e308])
def test_a_trend_of_no_step_that_can_be_is_none(step: float) -> None:
    assert read_trend(json.dumps({"step": step, "rss": [1], "cpu": [1]}).encode()) is None


@pytest.mark.parametrize("values", [[-1], [10**400], [1] * 1_001])
def test_a_trend_of_values_that_nobody_measured_is_none(values: list[int]) -> None:
    for rss, cpu in ((values, [1]), ([1], values)):
        assert read_trend(json.dumps({"step": 10, "rss": rss, "cpu": cpu}).encode()) is None
