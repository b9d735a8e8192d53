"""A worker inside another program: it starts, stops, gives back what is unfinished, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.worker.config import WorkerConfig
from jobd.worker.embed import run
from tests.descriptors import no_new_descriptors
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

release = threading.Event()
calls: list[int] = []


@jobd.job(name="embed.block")
def block(number: int) -> None:
    calls.append(number)
    assert release.wait(10)
    if number < 0:
        raise ValueError("failed after all")


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    calls.clear()
    release.clear()
    yield
    release.set()
    wait_until(lambda: threads() == [], "the threads to end")


def threads() -> list[str]:
    """Threads of a worker that have not ended; those of a dashboard that another test opened last as long as that."""
    found = [thread.name for thread in threading.enumerate()]
    return [name for name in found if name.startswith("jobd") and not name.startswith("jobd-web")]


def test_it_runs_jobs_while_the_block_lasts(run_worker: RunWorker, redis: Redis) -> None:
    release.set()
    with run_worker():
        block.perform_async(1)
        wait_until(lambda: redis.get("stat:processed") == b"1", "the job done")
    block.perform_async(2)
    assert (calls, redis.llen("queue:default")) == ([1], 1)


def test_without_a_configuration_it_works_where_pushes_go(redis_url: str, redis: Redis) -> None:
    release.set()
    jobd.configure(redis_url=redis_url, namespace="{mine}:")
    with jobd.run():
        block.perform_async(1)
        wait_until(lambda: redis.get("{mine}:stat:processed") == b"1", "the job done")
    keys: Any = redis.keys("*")
    assert all(key.startswith(b"{mine}:") for key in keys)


def test_no_signal_is_touched(run_worker: RunWorker) -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in sorted(signal.valid_signals())]

    before = handlers(), signal.set_wakeup_fd(-1)
    with run_worker():
        assert (handlers(), signal.set_wakeup_fd(-1)) == before
    assert (handlers(), signal.set_wakeup_fd(-1)) == before


def test_no_thread_and_no_descriptor_is_left(run_worker: RunWorker, redis: Redis) -> None:
    release.set()
    block.perform_async(0)
    assert redis.ping()
    with no_new_descriptors():
        for number in range(1, 4):
            with run_worker(concurrency=4):
                block.perform_async(number)
                # mypy infers no type for a lambda with a default
                wait_until(lambda wanted=number: redis.get("stat:processed") == b"%d" % (wanted + 1), "the job done")  # type: ignore[misc]
            wait_until(lambda: threads() == [], "the threads to end")


def test_an_error_in_the_block_stops_it_too(run_worker: RunWorker, redis: Redis) -> None:
    def fail() -> None:
        with run_worker():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    wait_until(lambda: threads() == [], "the threads to end")
    assert not redis.exists("jobd:procs", "processes")


def test_what_ends_within_the_timeout_is_done(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    with run_worker(concurrency=2) as worker:
        block.perform_async(1)
        block.perform_async(2)
        wait_until(lambda: len(calls) == 2, "both at work")
        block.perform_async(3)
        # wait_until returns None, so `or` goes on
        threading.Thread(target=lambda: wait_until(lambda: worker.is_quiet, "it stops") or release.set()).start()  # type: ignore[func-returns-value]
    assert redis.get("stat:processed") == b"2"
    assert redis.llen("queue:default") == 1
    assert events.named("process.stopped")[0]["clean"] is True


def test_what_does_not_goes_back_as_it_was_and_has_no_effect(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    for number in (1, -2, 3):
        block.perform_async(number)
    before = redis.lrange("queue:default", 0, -1)
    with run_worker(concurrency=2, timeout=0.2):
        wait_until(lambda: len(calls) == 2, "two at work")
        began = time.monotonic()
    assert time.monotonic() - began < 1.5
    assert redis.lrange("queue:default", 0, -1) == before
    assert not redis.exists("jobd:procs", "processes")
    release.set()
    wait_until(lambda: threads() == [], "the threads to end")
    assert redis.lrange("queue:default", 0, -1) == before
    assert not redis.exists("retry", "dead", "stat:processed", "stat:failed")
    assert [values["jobs"] for values in events.named("process.gave_back")] == [2]
    assert len(events.named("job.not_ours")) == 2
    assert events.named("process.stopped")[0]["clean"] is False


def test_without_a_server_it_still_stops_in_time_and_beats_no_more(events: Events) -> None:
    with RedisServer() as server:
        jobd.configure(redis_url=server.url)
        with run(WorkerConfig(redis_url=server.url, timeout=0.2, heartbeat_interval=0.02)):
            block.perform_async(1)
            wait_until(lambda: calls == [1], "the job at work")
            server.kill()
            began = time.monotonic()
        assert time.monotonic() - began < 3.2
        assert len(events.named("process.left_jobs")) == 1
        assert not [name for name in threads() if name in ("jobd-heartbeat", "jobd-scheduler")]
        server.start()
        release.set()
        wait_until(lambda: threads() == [], "the threads to end")
        with server.client() as client:
            assert not client.exists("jobd:procs", "processes")


def test_it_may_be_quieted_and_stopped_twice(run_worker: RunWorker, events: Events) -> None:
    with run_worker() as worker:
        worker.quiet()
        worker.quiet()
        assert worker.is_quiet
        assert worker.stop()
        assert worker.stop()
    assert [events.names.count(name) for name in ("process.quiet", "process.stopped")] == [1, 1]


def test_two_workers_share_the_work(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1) as first, run_worker(concurrency=1) as second:
        block.perform_async(1)
        block.perform_async(2)
        wait_until(lambda: len(calls) == 2, "both at work")
        assert (len(first.running), len(second.running)) == (1, 1)
        release.set()
        wait_until(lambda: redis.get("stat:processed") == b"2", "both done")
