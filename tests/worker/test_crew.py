"""The threads of a running process are made more and fewer: nothing is interrupted, lost, or left without a leader."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from redis import Redis

import jobd
from jobd.client import defaults
from jobd.client.orders import threads_order, threads_wanted
from jobd.worker.config import Capsule
from jobd.worker.process import WorkerProcess
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

release = threading.Semaphore(0)
calls: list[int] = []
now, most = 0, 0
lock = threading.Lock()


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    global release, now, most
    release, now, most = threading.Semaphore(0), 0, 0
    calls.clear()
    yield
    release.release(10_000)
    wait_until(lambda: now == 0, "what was given back to end")


@jobd.job(name="crew.block")
def block(number: int) -> None:
    """Counts how many run at once."""
    global now, most
    with lock:
        now += 1
        most = max(most, now)
    assert release.acquire(timeout=20)
    with lock:
        now -= 1
        calls.append(number)


@jobd.job(name="crew.record")
def record(number: int) -> None:
    calls.append(number)


def alive(worker: WorkerProcess, capsule: str = "default") -> int:
    """Threads of a capsule that have not ended."""
    [pool] = [each for each in worker._pools if each.capsule.name == capsule]
    return sum(each.is_alive for each in pool.processors)


def runs(count: int) -> None:
    wait_until(lambda: now == count, f"{count} jobs to run")


def test_more_threads_run_more_jobs_at_once(run_worker: RunWorker, events: Events, redis: Redis) -> None:
    with run_worker(concurrency=2) as worker:
        block.perform_bulk([(n,) for n in range(8)])
        runs(2)
        assert worker.set_concurrency(5)
        runs(5)
        assert (worker.page.threads, len(worker.page.running())) == (5, 5)
        release.release(8)
        wait_until(lambda: len(calls) == 8, "all to end")
    assert sorted(calls) == list(range(8))
    assert events.named("process.concurrency") == [
        {"identity": worker.identity, "capsule": "default", "before": 2, "now": 5}
    ]


def test_fewer_threads_interrupt_nobody_and_take_no_further_jobs(run_worker: RunWorker) -> None:
    with run_worker(concurrency=5) as worker:
        block.perform_bulk([(n,) for n in range(40)])
        runs(5)
        worker.set_concurrency(2)
        assert now == 5
        while alive(worker) > 2:  # whichever of the jobs is let go
            ended = len(calls)
            release.release()
            wait_until(lambda: len(calls) > ended, "one to end")  # noqa: B023
            wait_until(lambda: now == alive(worker) or alive(worker) == 2, "its thread to go on or end")
        runs(2)
        release.release(40)
        wait_until(lambda: len(calls) == 40, "all to end")
    assert (sorted(calls), most) == (list(range(40)), 5)


def test_idle_threads_end_and_the_last_one_still_hears_of_jobs(run_worker: RunWorker) -> None:
    with run_worker(concurrency=6) as worker:
        worker.set_concurrency(1)
        wait_until(lambda: alive(worker) <= 2, "those that are parked to end")
        for number in range(5):
            record.perform_async(number)
            wait_until(lambda: len(calls) == number + 1, "it to be heard of")  # noqa: B023
        wait_until(lambda: alive(worker) == 1, "the one that waited for jobs to end")


def test_fewer_and_then_more_at_once_keeps_those_that_work(run_worker: RunWorker) -> None:
    with run_worker(concurrency=4) as worker:
        block.perform_bulk([(n,) for n in range(12)])
        runs(4)
        worker.set_concurrency(1)
        worker.set_concurrency(4)
        release.release(4)
        wait_until(lambda: len(calls) >= 4, "the first to end")
        runs(4)
        assert (most, alive(worker)) == (4, 4)
        release.release(12)
        wait_until(lambda: len(calls) == 12, "all to end")


def test_those_that_are_about_to_end_can_all_be_had_again(run_worker: RunWorker) -> None:
    most = defaults.MOST_THREADS
    with run_worker(concurrency=1) as worker:
        assert worker.set_concurrency(most)
        block.perform_bulk([(n,) for n in range(most)])
        runs(most)
        assert worker.set_concurrency(1)
        assert worker.set_concurrency(most)
        assert (worker.concurrency, alive(worker)) == ({"default": most}, most)
        release.release(most)
        wait_until(lambda: len(calls) == most, "all to end")


def test_a_quiet_process_takes_nothing_with_more_threads_until_it_is_resumed(run_worker: RunWorker) -> None:
    with run_worker(concurrency=1) as worker:
        worker.quiet()
        worker.set_concurrency(3)
        block.perform_bulk([(n,) for n in range(3)])
        worker.resume()
        runs(3)
        worker.quiet()
        worker.set_concurrency(1)
        release.release(3)
        wait_until(lambda: alive(worker) == 1, "two to end")
        worker.resume()
        record.perform_async(9)
        wait_until(lambda: 9 in calls, "it to go on")


def test_a_process_stops_as_before_and_gives_back_what_all_its_threads_run(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1) as worker:
        worker.set_concurrency(4)
        block.perform_bulk([(n,) for n in range(4)])
        runs(4)
        worker.set_concurrency(2)
        assert not worker.stop(0.4)
        assert redis.llen("queue:default") == 4
        assert not worker.set_concurrency(4)


def test_each_capsule_has_its_own_number(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=2, capsules=(Capsule(name="other", concurrency=1, queues=(("other", 0),)),)) as worker:
        worker.set_concurrency(3, "other")
        assert worker.concurrency == {"default": 2, "other": 3}
        block.set(queue="other").perform_bulk([(n,) for n in range(4)])
        runs(3)
        assert (alive(worker), alive(worker, "other"), worker.page.threads) == (2, 3, 5)
        release.release(4)


@pytest.mark.parametrize(("threads", "capsule"), [(0, "default"), (201, "default"), (2, "no")])
def test_what_cannot_be_changes_nothing(
    threads: int, capsule: str, run_worker: RunWorker, events: Events, redis: Redis
) -> None:
    with run_worker(concurrency=2) as worker:
        assert not worker.set_concurrency(threads, capsule)
        assert worker.concurrency == {"default": 2}
    [told] = events.named("process.concurrency_kept")
    assert (told["capsule"], told["wanted"]) == (capsule, threads)
    assert "process.concurrency" not in events.names


def test_the_heartbeat_takes_the_order_and_tells_the_number(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=2, heartbeat_interval=0.05) as worker:
        redis.lpush(f"{worker.identity}-signals", threads_order(7, "default"))
        shown: Any = redis.hget
        wait_until(lambda: shown(worker.identity, "concurrency") == b"7", "it to be told")
        info = msgspec.json.decode(shown(worker.identity, "info"))
        assert (info["concurrency"], info["capsules"]["default"]["concurrency"]) == (7, 7)


@pytest.mark.parametrize("word", ["TSTP", "THREADS", "THREADS 5", "THREADS -1 default", "THREADS 5x default"])
def test_another_word_is_no_such_order(word: str) -> None:
    assert threads_wanted(word) is None
    assert threads_wanted(threads_order(12, "a b")) == (12, "a b")


def test_changes_under_load_lose_and_double_nothing(run_worker: RunWorker, redis: Redis) -> None:
    draw = random.Random(7)
    with run_worker(concurrency=4) as worker:
        for start in range(0, 4_000, 500):
            record.perform_bulk([(n,) for n in range(start, start + 500)])
            for _ in range(5):
                worker.set_concurrency(draw.randint(1, 12))
                time.sleep(draw.random() / 500)
        wait_until(lambda: len(calls) >= 4_000, "all to end")
    assert sorted(calls) == list(range(4_000))
    assert redis.llen("queue:default") == 0
