"""An idle worker hears of work at once.

In these tests its own look every two seconds is put off so far that only the bell is left.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults, scripts
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.worker import doorbell
from jobd.worker.doorbell import Doorbell, lost_race_pause
from jobd.worker.outage import Outage
from jobd.worker.wakeup import Wakeup
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

KEYS = Keys()


@jobd.job(name="doorbell.noop")
def noop() -> None:
    """Nothing."""


@pytest.fixture(autouse=True)
def only_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "MAX_WAIT", 60.0)


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    made = Wakeup()
    yield made
    made.close()


@pytest.fixture
def bell(redis_url: str, wakeup: Wakeup) -> Iterator[Doorbell]:
    connector = Connector(redis_url)
    made = Doorbell(connector, KEYS, ["a", "b"], wakeup=wakeup, outage=Outage())
    yield made
    made.close()
    connector.close()


def looks(redis: Redis) -> int:
    """How often a doorbell has looked at its queues, after which the server watches them: SMEMBERS ends each look."""
    stats: Any = redis.info("commandstats")
    return int(stats.get("cmdstat_smembers", {"calls": 0})["calls"])


def wait_for_a_look(redis: Redis, before: int) -> None:
    wait_until(lambda: looks(redis) > before, "the doorbell armed")


@contextmanager
def listening(bell: Doorbell, redis: Redis, wakeup: Wakeup) -> Iterator[threading.Thread]:
    """A thread in `bell.wait()`, armed and silent so far."""
    before = looks(redis)
    thread = threading.Thread(target=bell.wait)
    thread.start()
    try:
        wait_for_a_look(redis, before)
        assert thread.is_alive()
        yield thread
    finally:
        if thread.is_alive():
            wakeup.set()
            thread.join()


def rings(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


def by_script(redis: Redis) -> None:
    call = scripts.push_now(KEYS, "a", [b"{}"])
    redis.execute_command(*call.with_source())


def by_transaction(redis: Redis) -> None:
    pipeline = redis.pipeline(transaction=True)
    pipeline.sadd("queues", "b")
    pipeline.lpush("queue:b", "{}")
    pipeline.execute()


SOUNDS: dict[str, Callable[[Redis], Any]] = {
    "LPUSH": lambda redis: redis.lpush("queue:a", "{}"),
    "RPUSH": lambda redis: redis.rpush("queue:b", "{}"),
    "MULTI": by_transaction,
    "script": by_script,
    "RENAME": lambda redis: redis.rename("elsewhere", "queue:a"),
    "LMOVE": lambda redis: redis.lmove("elsewhere", "queue:b"),
    "pause": lambda redis: redis.sadd("paused", "a"),
    "FLUSHALL": lambda redis: redis.flushall(),
}


@pytest.mark.parametrize("sound", SOUNDS)
def test_whatever_may_bring_work_rings(sound: str, bell: Doorbell, redis: Redis, wakeup: Wakeup) -> None:
    redis.lpush("elsewhere", "{}")
    with listening(bell, redis, wakeup) as thread:
        SOUNDS[sound](redis)
        assert rings(thread)


def test_once_cleared_a_wakeup_lets_wait_again(wakeup: Wakeup) -> None:
    for _ in range(70_000):  # more than a pipe holds
        wakeup.set()
    wakeup.clear()
    wakeup.clear()
    poller = select.poll()
    poller.register(wakeup.fd, select.POLLIN)
    assert poller.poll(0) == []
    wakeup.set()
    assert poller.poll(0)


def test_what_does_not_concern_it_does_not_ring(bell: Doorbell, redis: Redis, wakeup: Wakeup) -> None:
    with listening(bell, redis, wakeup) as thread:
        redis.lpush("queue:c", "{}")
        redis.set("x", "1")
        assert redis.ping()
        thread.join(0.1)
        assert thread.is_alive()


def test_it_rings_time_after_time(bell: Doorbell, redis: Redis, wakeup: Wakeup) -> None:
    for _ in range(20):
        with listening(bell, redis, wakeup) as thread:
            redis.lpush("queue:a", "{}")
            assert rings(thread)
        redis.delete("queue:a")


def test_after_a_flush_it_is_armed_again(bell: Doorbell, redis: Redis, wakeup: Wakeup) -> None:
    with listening(bell, redis, wakeup) as thread:
        redis.flushall()
        assert rings(thread)
    with listening(bell, redis, wakeup) as thread:
        redis.lpush("queue:a", "{}")
        assert rings(thread)


def test_work_that_is_there_already_is_not_waited_for(bell: Doorbell, redis: Redis) -> None:
    redis.lpush("queue:b", "{}")
    for _ in range(3):
        thread = threading.Thread(target=bell.wait)
        thread.start()
        assert rings(thread)


def test_the_work_of_a_paused_queue_is_waited_for_until_it_is_resumed(
    bell: Doorbell, redis: Redis, wakeup: Wakeup
) -> None:
    redis.sadd("paused", "a")
    redis.lpush("queue:a", "{}")
    with listening(bell, redis, wakeup) as thread:
        redis.srem("paused", "a")
        assert rings(thread)


@pytest.mark.parametrize("damaged", ["queue:a", "paused"])
def test_a_damaged_key_makes_no_hot_loop(damaged: str, bell: Doorbell, redis: Redis, wakeup: Wakeup) -> None:
    redis.set(damaged, "text")
    with listening(bell, redis, wakeup) as thread:
        thread.join(0.1)
        assert thread.is_alive()
        redis.lpush("queue:b", "{}")
        assert rings(thread)


def test_another_thread_can_end_the_wait_for_good(bell: Doorbell, redis: Redis, wakeup: Wakeup) -> None:
    with listening(bell, redis, wakeup) as thread:
        wakeup.set()
        assert rings(thread)
    thread = threading.Thread(target=bell.wait)
    thread.start()
    assert rings(thread)


def test_a_wakeup_can_be_given_any_number_of_times() -> None:
    wakeup = Wakeup()
    for _ in range(100_000):
        wakeup.set()
    wakeup.wait(60)
    wakeup.close()


def test_a_cut_connection_rings_and_is_made_anew(bell: Doorbell, redis: Redis, wakeup: Wakeup, events: Events) -> None:
    for _ in range(2):
        with listening(bell, redis, wakeup) as thread:
            redis.client_kill_filter(_type="normal", skipme=True)
            assert rings(thread)
    assert events.names == ["redis.lost"]
    with listening(bell, redis, wakeup) as thread:
        redis.lpush("queue:a", "{}")
        assert rings(thread)


def done(redis: Redis, wanted: int) -> Callable[[], bool]:
    return lambda: redis.get("stat:processed") == b"%d" % wanted


def test_a_push_wakes_an_idle_worker(run_worker: RunWorker, redis: Redis) -> None:
    before = looks(redis)
    with run_worker(concurrency=3):
        for number in range(1, 6):
            wait_for_a_look(redis, before)
            before = looks(redis)
            noop.perform_async()
            wait_until(done(redis, number), "the job done", seconds=5)


def test_a_worker_whose_connections_were_cut_hears_the_next_push(run_worker: RunWorker, redis: Redis) -> None:
    before = looks(redis)
    with run_worker():
        wait_for_a_look(redis, before)
        before = looks(redis)
        redis.client_kill_filter(_type="normal", skipme=True)
        wait_for_a_look(redis, before)
        noop.perform_async()
        wait_until(done(redis, 1), "the job done", seconds=5)


def test_a_flushed_server_is_worked_for_as_before(run_worker: RunWorker, redis: Redis) -> None:
    before = looks(redis)
    with run_worker(heartbeat_interval=0.02):
        wait_for_a_look(redis, before)
        redis.flushall()
        noop.perform_async()
        wait_until(done(redis, 1), "the job done", seconds=5)


def test_a_worker_goes_on_when_the_server_is_back(run_worker: RunWorker, events: Events) -> None:
    with RedisServer(appendonly=True) as server, run_worker(redis_url=server.url):
        jobd.configure(redis_url=server.url)
        with server.client() as client:
            wait_for_a_look(client, 0)
        server.kill()
        wait_until(lambda: events.named("redis.lost"), "the worker to notice")
        server.start()
        noop.perform_async()
        with server.client() as client:
            wait_until(done(client, 1), "the job done", seconds=5)
    assert len(events.named("redis.lost")) == len(events.named("redis.back")) == 1


def test_a_server_without_tracking_is_polled(
    run_worker: RunWorker, redis: Redis, redis_server: RedisServer, events: Events
) -> None:
    before = looks(redis)
    redis.execute_command("ACL SETUSER plain on >secret ~* &* +@all -client|tracking")
    try:
        url = redis_server.url.replace("unix://", "unix://plain:secret@")
        with run_worker(redis_url=url, concurrency=3):
            for number in range(1, 6):
                noop.perform_async()
                wait_until(done(redis, number), "the job done", seconds=5)
        assert looks(redis) == before
        assert len(events.named("redis.no_tracking")) == 1
    finally:
        redis.execute_command("ACL DELUSER plain")


def test_polling_is_eager_after_work_and_lazy_without(redis: Redis, redis_server: RedisServer, redis_url: str) -> None:
    class Noting(Wakeup):
        def __init__(self) -> None:
            super().__init__()
            self.pauses: list[float] = []

        def wait(self, timeout: float) -> None:
            self.pauses.append(timeout)

    redis.execute_command("ACL SETUSER plain on >secret ~* &* +@all -client|tracking")
    wakeup, connector = Noting(), Connector(redis_server.url.replace("unix://", "unix://plain:secret@"))
    try:
        bell = Doorbell(connector, KEYS, ["a"], wakeup=wakeup, outage=Outage())
        for _ in range(7):
            bell.wait()
        bell.worked()
        bell.wait()
        assert wakeup.pauses == [0.005, 0.01, 0.02, 0.04, 0.05, 0.05, 0.005]
    finally:
        redis.execute_command("ACL DELUSER plain")
        connector.close()
        wakeup.close()


def test_the_pause_after_a_lost_race_doubles_up_to_a_bound() -> None:
    longest = [lost_race_pause(races, 1.0) for races in (1, 2, 3, 7, 50)]
    assert longest == pytest.approx([0.0006, 0.0012, 0.0024, 0.0384, 0.0384])
    assert lost_race_pause(3, 0.0) == 0.0


def test_a_process_that_keeps_losing_races_pauses_before_it_listens_again(
    bell: Doorbell, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def no_pause(races: int, chance: float) -> float:
        pauses.append(races)
        return 0.0

    monkeypatch.setattr(doorbell, "lost_race_pause", no_pause)
    redis.lpush("queue:a", "a job that somebody else takes each time")
    for _ in range(3):
        bell.wait()
    assert pauses == [1, 2]
    bell.worked()
    bell.wait()
    assert pauses == [1, 2]
