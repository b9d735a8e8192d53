"""One worker process as its master sees it: quiet and back, its page, and the dead whose jobs it is to give back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults
from jobd.worker import process, retry
from jobd.worker.config import Capsule, WorkerConfig
from jobd.worker.outcome import Buried, Dead, Deferred, Discarded, Done, Outcome, RetryAt
from jobd.worker.page import RESULTS, Page
from jobd.worker.process import WorkerProcess
from jobd.worker.processor import move_for, result_of
from jobd.worker.recovery import Orphan
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw, RunWorker

release = threading.Event()
calls: list[Any] = []
RARELY = {"heartbeat_interval": 20, "lease": 60}


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    calls.clear()
    release.clear()
    yield
    release.set()


@jobd.job(name="process.record")
def record(number: int) -> None:
    calls.append(number)


@jobd.job(name="process.block", queue="slow")
def block(number: int) -> None:
    calls.append(number)
    assert release.wait(10)


@jobd.job(name="process.fail")
def fail() -> None:
    raise ValueError("no")


@jobd.job(name="process.fail_for_good", retry=0)
def fail_for_good() -> None:
    raise ValueError("no")


@jobd.job(name="process.fail_and_forget", retry=False)
def fail_and_forget() -> None:
    raise ValueError("no")


def stat(redis: Redis, name: str) -> int:
    value: Any = redis.get(f"stat:{name}")
    return int(value or 0)


def quiet_flag(redis: Redis, worker: WorkerProcess) -> Any:
    return redis.hget(worker.identity, "quiet")


def results(page: Page) -> dict[str, int]:
    """What became of all jobs."""
    rows = [counts.results for counts in page.jobs().values()]
    return {result: sum(row[result] for row in rows) for result in RESULTS}


class TestQuietAndResume:
    def test_a_resumed_process_takes_what_was_pushed_meanwhile(
        self, run_worker: RunWorker, redis: Redis, events: Events, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(defaults, "MAX_WAIT", 60.0)
        with run_worker(concurrency=3) as worker:
            for number in range(5):
                worker.quiet()
                assert worker.is_quiet
                assert worker.page.is_quiet
                record.perform_async(number)
                wait_until(lambda: worker.idle, "it to be idle")
                # A fetch that was on its way may have taken it: then it goes back.
                wait_until(lambda: redis.llen("queue:default") == 1, "the job in its queue")
                assert calls == list(range(number))
                worker.resume()
                # mypy infers no type for a lambda with a default
                wait_until(lambda wanted=number + 1: stat(redis, "processed") == wanted, "the job done", seconds=5)  # type: ignore[misc]
            assert not worker.is_quiet
            assert not worker.page.is_quiet
        assert calls == list(range(5))
        assert [events.names.count(f"process.{name}") for name in ("quiet", "resumed")] == [6, 5]

    def test_a_resumed_process_is_woken_by_a_push_again(
        self, run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its doorbell waits anew: neither does the wakeup of the quiet keep it turning, nor is it deaf."""
        monkeypatch.setattr(defaults, "MAX_WAIT", 60.0)
        with run_worker(**RARELY) as worker:
            worker.quiet()
            worker.resume()
            record.perform_async(1)
            wait_until(lambda: calls == [1], "the job", seconds=5)
            settled: list[int] = []

            def looks() -> bool:
                stats: Any = redis.info("commandstats")
                settled.append(int(stats["cmdstat_smembers"]["calls"]))
                return len(settled) > 5 and len(set(settled[-5:])) == 1

            wait_until(looks, "it to wait without asking")
            record.perform_async(2)
            wait_until(lambda: calls == [1, 2], "the second job", seconds=5)

    def test_resume_shows_at_once(self, run_worker: RunWorker, redis: Redis) -> None:
        with run_worker(**RARELY) as worker:
            worker.quiet()
            wait_until(lambda: quiet_flag(redis, worker) == b"true", "quiet to be seen")
            worker.resume()
            wait_until(lambda: quiet_flag(redis, worker) == b"false", "that it is over")

    def test_what_ends_while_it_is_quiet_is_acknowledged(self, run_worker: RunWorker, redis: Redis) -> None:
        with run_worker(concurrency=2, queues=(("slow", 0),), **RARELY) as worker:
            block.perform_async(1)
            wait_until(lambda: calls == [1], "the job at work")
            worker.quiet()
            assert not worker.idle
            release.set()
            wait_until(lambda: stat(redis, "processed") == 1, "it counted", seconds=5)
            wait_until(lambda: worker.idle, "it idle")

    def test_a_process_that_takes_jobs_is_never_idle(self, run_worker: RunWorker) -> None:
        with run_worker() as worker:
            assert not worker.idle

    def test_a_quiet_process_stops_at_once(self, run_worker: RunWorker) -> None:
        with run_worker(timeout=20) as worker:
            worker.quiet()
            began = time.monotonic()
            assert worker.stop()
            assert time.monotonic() - began < 3
            worker.resume()
            assert worker.is_quiet

    def test_resume_without_quiet_changes_nothing(self, run_worker: RunWorker, events: Events) -> None:
        with run_worker() as worker:
            worker.resume()
        assert "process.resumed" not in events.names


class TestPage:
    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "_PULSE_INTERVAL", 0.05)

    @pytest.mark.parametrize(
        ("outcome", "result"),
        [
            (Done(), "ok"),
            (RetryAt(1.0, {}), "retried"),
            (Dead({}), "dead"),
            (Discarded("why"), "failed"),
            (Deferred(1.0, {}), "requeued"),
            (Buried(b"", "why"), None),
        ],
    )
    def test_a_result_is_an_attempt_where_redis_counts_one(self, outcome: Outcome, result: str | None) -> None:
        assert result_of(outcome) == result
        move = move_for(outcome, 1.0)
        processed = 1 if move is None else move.processed
        assert (result in RESULTS and result != "requeued") == bool(processed)

    def test_each_attempt_has_one_result_and_their_sum_is_what_redis_counts(
        self, run_worker: RunWorker, redis: Redis, push_raw: PushRaw, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry, "retry_delay", lambda count, jitter: 1000.0)
        with run_worker(concurrency=4) as worker:
            record.perform_bulk([(i,) for i in range(40)])
            for job in (fail, fail_for_good, fail_and_forget):
                job.perform_bulk([() for _ in range(5)])
            push_raw(b"[1]")
            push_raw({"class": "process.unheard_of", "args": [], "jid": "u"})
            since = time.time() - 24 * 3600 - 1
            push_raw({"class": "process.never", "args": [], "jid": "n", "retry": True, "unknown_since": since})
            wait_until(lambda: stat(redis, "processed") == 56, "all counted")
            wait_until(lambda: redis.zcard("retry") == 6, "the unknown one deferred")
            wait_until(lambda: redis.zcard("dead") == 7, "the dead ones there")
        found = worker.page.jobs()
        assert results(worker.page) == {"ok": 40, "failed": 5, "retried": 5, "dead": 6, "requeued": 1}
        assert worker.page.jobs_done == stat(redis, "processed") == 56
        assert found["default", "process.record"].results["ok"] == 40
        assert found["default", "other"].results == {**dict.fromkeys(RESULTS, 0), "dead": 1, "requeued": 1}

    def test_what_goes_back_at_a_stop_is_requeued(self, run_worker: RunWorker, redis: Redis) -> None:
        with run_worker(concurrency=2, queues=(("slow", 0),), timeout=0.2) as worker:
            block.perform_bulk([(1,), (2,), (3,)])
            wait_until(lambda: len(calls) == 2, "two at work")
        assert results(worker.page) == {**dict.fromkeys(RESULTS, 0), "requeued": 2}
        assert worker.page.jobs()["slow", "process.block"].results["requeued"] == 2
        assert (redis.llen("queue:slow"), worker.page.jobs_done) == (3, 0)
        release.set()

    @pytest.mark.parametrize("unit", ["s", "ms"])
    def test_how_long_a_job_ran_and_waited_is_counted(
        self, unit: str, run_worker: RunWorker, redis: Redis, push_raw: PushRaw
    ) -> None:
        with run_worker() as worker:
            since = time.time() - 100
            at = since if unit == "s" else int(since * 1000)
            push_raw({"class": "process.record", "args": [1], "jid": "a", "enqueued_at": at})
            push_raw({"class": "process.record", "args": [2], "jid": "b", "enqueued_at": time.time() + 500})
            push_raw({"class": "process.record", "args": [3], "jid": "c"})
            wait_until(lambda: stat(redis, "processed") == 3, "all done")
        waits = worker.page.waits()["default"]
        assert sum(waits.counts) == 2
        assert 100 <= waits.seconds + 0.1 < 110  # the server's clock is known to a round trip
        durations = worker.page.jobs()["default", "process.record"].durations
        assert sum(durations.counts) == 3
        assert 0 < durations.seconds < 5

    def test_running_jobs_are_in_it_and_finished_ones_are_not(self, run_worker: RunWorker, redis: Redis) -> None:
        capsule = Capsule(name="c", concurrency=2, queues=(("slow", 0),))
        page = Page(5)
        config = WorkerConfig(redis_url=jobd_url(redis), concurrency=3, capsules=(capsule,), timeout=5)
        worker = WorkerProcess(config, page=page)
        assert worker.start()
        try:
            before = time.monotonic()
            pushed = set(block.perform_bulk([(1,), (2,)]))
            wait_until(lambda: len(calls) == 2, "both at work")
            assert {running.jid for running in page.running()} == pushed
            assert all(before <= running.since <= time.monotonic() for running in page.running())
            release.set()
            wait_until(lambda: page.running() == [], "none at work")
            wait_until(lambda: page.jobs_done == 2, "both counted")
        finally:
            worker.stop()

    def test_it_shows_from_the_first_moment_that_the_process_lives(self, redis: Redis) -> None:
        before = set(threading.enumerate())
        worker = WorkerProcess(WorkerConfig(redis_url=jobd_url(redis)))
        try:
            wait_until(lambda: worker.page.pulse > 0, "the first pulse")
            assert worker.page.redis_seen == 0.0
            assert worker.start()
            first = worker.page.pulse
            wait_until(lambda: worker.page.pulse > first, "another")
            wait_until(lambda: worker.page.redis_seen > 0, "Redis seen")
        finally:
            worker.stop()
        last = worker.page.pulse
        late = {*threading.enumerate()} - before
        assert not [thread for thread in late if thread.name == "jobd-pulse" and thread.is_alive()]
        assert worker.page.pulse == last

    def test_without_redis_the_pulse_goes_on_and_redis_is_not_seen(self) -> None:
        with RedisServer() as server:
            worker = WorkerProcess(WorkerConfig(redis_url=server.url, timeout=0.2))
            assert worker.start()
            wait_until(lambda: worker.page.redis_seen > 0, "Redis seen")
            server.kill()
            pulse = worker.page.pulse
            wait_until(lambda: worker.page.pulse > pulse, "a pulse after the end of Redis")
            seen, pulse = worker.page.redis_seen, worker.page.pulse
            wait_until(lambda: worker.page.pulse > pulse, "another")
            assert worker.page.redis_seen == seen
            server.start()
            wait_until(lambda: worker.page.redis_seen > seen, "Redis seen again")
            worker.stop()

    def test_a_start_that_is_given_up_leaves_no_pulse(self, redis: Redis) -> None:
        worker = WorkerProcess(WorkerConfig(redis_url="redis://127.0.0.1:1/0"))
        assert not worker.start(wait=lambda seconds: False)
        wait_until(lambda: "jobd-pulse" not in [each.name for each in threading.enumerate()], "it to end")

    def test_registered_jobs_of_its_queues_are_known_from_the_start(self, run_worker: RunWorker) -> None:
        with run_worker(queues=(("slow", 0),)) as worker:
            assert ("slow", "process.block") in worker.page.jobs()
            assert {queue for queue, _ in worker.page.jobs()} == {"slow"}
            assert results(worker.page) == dict.fromkeys(RESULTS, 0)


class TestRecover:
    def test_jobs_of_the_dead_go_back_at_once(self, run_worker: RunWorker, redis: Redis, events: Events) -> None:
        done: list[str] = []
        with run_worker(**RARELY) as worker:
            for name in ("dead-1", "dead-2"):
                leave_behind(redis, name, b'{"class":"process.record","args":[1],"jid":"%s"}' % name.encode())
            orphans = [Orphan("dead-1", "killed"), Orphan("dead-2", "killed"), Orphan("unheard-of", "killed")]
            worker.recover(orphans, done.extend)
            wait_until(lambda: stat(redis, "processed") == 2, "their jobs done", seconds=5)
            wait_until(lambda: done, "word of it", seconds=5)
        assert done == ["dead-1", "dead-2", "unheard-of"]
        assert [(line["owner"], line["why"]) for line in events.named("owner.recovered")] == [
            ("dead-1", "killed"),
            ("dead-2", "killed"),
        ]

    def test_while_redis_is_away_they_are_kept(self, events: Events) -> None:
        done: list[str] = []
        with RedisServer() as server:
            config = WorkerConfig(redis_url=server.url, heartbeat_interval=20, lease=60, timeout=1)
            worker = WorkerProcess(config)
            assert worker.start()
            try:
                with server.client() as client:
                    leave_behind(client, "dead-1", b'{"class":"process.record","args":[1],"jid":"j"}')
                    client.config_set("appendonly", "yes")
                    wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "it on the disk")
                server.kill()
                worker.recover([Orphan("dead-1", "killed")], done.extend)
                wait_until(lambda: "redis.lost" in events.names, "the outage noticed")
                assert done == []
                server.start()
                wait_until(lambda: done == ["dead-1"], "word of it", seconds=10)
            finally:
                worker.stop()


def leave_behind(redis: Redis, owner: str, payload: bytes) -> None:
    """What a process leaves that dies while it runs a job."""
    redis.sadd("queues", "default")
    redis.hset(f"jobd:{owner}:jobs", mapping={"token": "t", "1.1": b"default\n" + payload})
    redis.zadd("jobd:procs", {owner: time.time()})


def jobd_url(redis: Redis) -> str:
    """The test's own server and database; pushes go there too."""
    options = redis.connection_pool.connection_kwargs
    url = f"unix://{options['path']}?db={options['db']}"
    jobd.configure(redis_url=url)
    return url
