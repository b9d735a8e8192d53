"""The API beside a worker that runs: what it shows is true, and what it moves runs once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from redis import Redis

import jobd
from jobd.client.errors import NotControllable
from jobd.client.scripts import DeadLimits
from tests.client.api import NOW, payload
from tests.waiting import wait_until
from tests.worker.conftest import RunWorker

gate = threading.Event()
runs: Counter[str] = Counter()


@jobd.job(name="tests.api.held")
def held(number: int) -> None:
    gate.wait(10)


@jobd.job(name="tests.api.fails")
def fails(number: int) -> None:
    job = jobd.current_job()
    assert job is not None
    runs[job.jid] += 1
    raise ValueError("again")


@pytest.fixture(autouse=True)
def each_test_begins_anew() -> None:
    """The gate is closed, and nothing has run."""
    gate.clear()
    runs.clear()


def test_a_running_process_and_its_jobs_are_shown(run_worker: RunWorker) -> None:
    with run_worker(heartbeat_interval=0.05, concurrency=3, dead_max_jobs=77, tag="myapp") as worker:
        jid = held.perform_async(1)
        assert jid is not None
        wait_until(lambda: jobd.WorkSet().find(jid), "the job is shown")
        work, process = jobd.WorkSet().find(jid), jobd.ProcessSet().get(worker.identity)
        assert work is not None
        assert process is not None
        assert (work.process, work.queue, work.entry.name) == (worker.identity, "default", "tests.api.held")
        assert (process.concurrency, process.busy, process.tag, process.queues) == (3, 1, "myapp", ("default",))
        assert (len(jobd.WorkSet()), jobd.Stats().busy, jobd.Stats().processes) == (1, 1, 1)
        assert jobd.DeadSet().limits() == DeadLimits(max_jobs=77)
        with pytest.raises(NotControllable):
            jobd.ProcessSet().stop(worker.identity)
        gate.set()
    assert (len(jobd.ProcessSet()), len(jobd.WorkSet())) == (0, 0)


def test_a_paused_queue_is_not_fetched_from_until_it_is_resumed(redis: Redis, run_worker: RunWorker) -> None:
    gate.set()
    queue = jobd.Queue()
    with run_worker():
        assert queue.pause()
        held.perform_bulk([(1,), (2,)])
        assert queue.size == 2
        queue.resume()
        wait_until(lambda: queue.size == 0 and redis.get("stat:processed") == b"2", "they have run")


def test_jobs_that_fail_again_while_all_are_retried_run_once(redis: Redis, run_worker: RunWorker) -> None:
    with run_worker(concurrency=2):
        # Late enough that what fails again comes back in front of what is not reached yet.
        later = float(redis.time()[0]) + 1e6  # type: ignore[index]
        entries = {payload(f"j{i}", **{"class": "tests.api.fails", "failed_at": NOW}): later + i for i in range(3_000)}
        redis.zadd("retry", entries)
        result = jobd.RetrySet().retry_all()
        assert (result.moved, result.gone, result.malformed) == (3_000, 0, 0)
        wait_until(lambda: len(jobd.RetrySet()) == 3_000, "all have failed again", 30)
    assert len(runs) == 3_000
    assert set(runs.values()) == {1}


def test_two_who_retry_all_at_once_double_nothing(redis: Redis, run_worker: RunWorker) -> None:
    redis.zadd("retry", {payload(f"j{i}", **{"class": "tests.api.fails"}): 1e10 + i for i in range(2_000)})
    moved: list[int] = []

    def take() -> None:
        moved.append(jobd.RetrySet().retry_all().moved)

    threads = [threading.Thread(target=take) for _ in range(2)]
    run_worker()  # which has set where Redis is
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 2_000
    jids = [entry.jid for entry in jobd.Queue()]
    assert len(jids) == len(set(jids)) == 2_000
