"""Somebody cancels a job that runs: its thread is interrupted within the job, and nowhere else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.call import RunningJob, cancelled_jids
from jobd.client.errors import NotControllable
from jobd.client.processes import run_of
from jobd.worker import brake as brake_module
from jobd.worker import processor
from jobd.worker.brake import Brake, free_logging
from tests.client.test_processes import INFO_8, beat, running
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw, RunWorker

OFTEN = {"heartbeat_interval": 0.02, "lease": 60}
at_work, seen, left = threading.Event(), list[str](), list[RunningJob]()


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    at_work.clear()
    seen.clear()
    left.clear()
    cancelled_jids.clear()


def work_for_ever() -> None:
    at_work.set()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        time.sleep(0.001)
    raise AssertionError("nobody has interrupted it")


@jobd.job(name="cancels.endless", retry=5)
def endless() -> None:
    while True:
        try:
            work_for_ever()
        except Exception:
            seen.append("went on")


@jobd.job(name="cancels.wraps", retry=5)
def wraps() -> None:
    try:
        work_for_ever()
    except BaseException as error:
        raise ValueError("I was busy") from error


@jobd.job(name="cancels.yields")
def yields() -> None:
    job = jobd.current_job()
    assert not job.cancelled
    try:
        work_for_ever()
    except jobd.JobCancelled:
        seen.append(f"cancelled: {job.cancelled}")


@jobd.job(name="cancels.leaves")
def leaves() -> None:
    left.append(jobd.current_job())
    if len(left) == 1:
        work_for_ever()


@jobd.job(name="cancels.logs")
def logs() -> None:
    logging.getLogger("cancels").warning("of a job")


class Interruptible(logging.FileHandler):
    """Its lock is taken as that of each handler, and the exception comes right after."""

    def acquire(self) -> None:
        super().acquire()
        if threading.current_thread() is not threading.main_thread():
            work_for_ever()


@jobd.job(name="cancels.unkept", dead=False)
def unkept() -> None:
    work_for_ever()


@jobd.job(name="cancels.short")
def short() -> None:
    seen.append("short")


def cancel(jid: str) -> None:
    """Ask, once the heartbeat shows that it runs."""
    wait_until(at_work.is_set, "the job at work")
    wait_until(lambda: jobd.WorkSet().cancel(jid), "it shown as running")


def only_dead(redis: Redis) -> dict[str, Any]:
    wait_until(lambda: redis.zcard("dead") == 1, "it dead")
    [entry] = jobd.DeadSet()
    return dict(entry.payload)


def test_it_is_interrupted_and_goes_to_the_dead_set(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    died = []
    jobd.configure(death_handlers=[lambda job, error: died.append((job.jid, type(error)))])
    with run_worker(concurrency=1, **OFTEN):
        jid = endless.perform_async()
        cancel(jid)
        dead = only_dead(redis)
        assert (dead["jid"], dead["error_class"], dead["retry_count"]) == (jid, "jobd.JobCancelled", 0)
        assert dead["error_message"] == "somebody has cancelled it while it ran"
        short.perform_async()
        wait_until(lambda: seen == ["short"], "the next job of the thread")
        wait_until(lambda: not jobd.WorkSet().cancel(jid), "it shown as ended")
    assert died == [(jid, jobd.JobCancelled)]
    assert (redis.zcard("retry"), redis.get("stat:failed"), redis.get("stat:processed")) == (0, b"1", b"2")
    assert 0 < redis.ttl(f"jobd:cancel:{jid}") <= 3600
    assert [(each["jid"], each["job"]) for each in events.named("job.cancelled")] == [(jid, "cancels.endless")]
    assert [each["jid"] for each in events.named("job.interrupted")] == [jid]


def test_what_it_raises_instead_is_kept_and_not_retried(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1, **OFTEN):
        cancel(wraps.perform_async())
        dead = only_dead(redis)
    assert dead["error_class"] == "jobd.JobCancelled"
    assert dead["error_message"].endswith("and has raised ValueError: I was busy")
    assert not redis.zcard("retry")


def test_one_that_catches_it_and_returns_has_succeeded(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1, **OFTEN):
        cancel(yields.perform_async())
        wait_until(lambda: redis.get("stat:processed") == b"1", "it done")
    assert seen == ["cancelled: True"]
    assert not redis.exists("dead", "retry")


def test_one_that_is_never_kept_is_dropped_and_that_is_logged(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    with run_worker(concurrency=1, **OFTEN):
        cancel(unkept.perform_async())
        wait_until(lambda: events.named("job.cancelled"), "it ended")
    assert "dead=False" in events.named("job.cancelled")[0]["reason"]
    assert not redis.exists("dead", "retry")


def test_what_it_leaves_behind_knows_of_it_until_its_next_run(
    run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "_CANCELLED_KEPT", 3)
    cancelled_jids.update(dict.fromkeys("abc"))
    with run_worker(concurrency=1, **OFTEN):
        cancel(leaves.perform_async())
        only_dead(redis)
        assert left[0].cancelled
        assert list(cancelled_jids) == ["b", "c", left[0].jid]
        next(iter(jobd.DeadSet())).retry()
        wait_until(lambda: len(left) == 2, "its next run")
        wait_until(lambda: not left[0].cancelled, "that is not cancelled")


def test_a_handler_that_it_was_about_to_write_to_is_free_again(
    run_worker: RunWorker, redis: Redis, tmp_path: Path
) -> None:
    handler, logger = Interruptible(tmp_path / "log"), logging.getLogger("cancels")
    logger.addHandler(handler)
    try:
        with run_worker(concurrency=1, **OFTEN):
            cancel(logs.perform_async())
            only_dead(redis)
            assert handler.lock
            assert handler.lock.acquire(timeout=10)
            handler.lock.release()
            handler.close()
    finally:
        logger.removeHandler(handler)


def test_only_the_locks_that_the_thread_itself_holds_are_freed() -> None:
    mine, another = logging.StreamHandler(), logging.StreamHandler()
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        another.acquire()
        taken.set()
        done.wait(30)
        another.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(30)
    locks = [lock for lock in (mine.lock, logging._lock) if lock]  # type: ignore[attr-defined]
    for lock in (*locks, *locks):
        lock.acquire()
    free_logging()
    assert [lock._is_owned() for lock in locks] == [False, False]
    assert another.lock
    assert not another.lock.acquire(blocking=False)
    done.set()
    thread.join()


def test_a_retry_by_hand_is_another_run_which_goes_on(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1, **OFTEN):
        jid = endless.perform_async()
        cancel(jid)
        only_dead(redis)
        at_work.clear()
        [entry] = jobd.DeadSet()
        assert entry.retry()
        wait_until(at_work.is_set, "it runs again")
        wait_until(lambda: (work := jobd.WorkSet().find(jid)) and work.entry.failed_at, "it shown again")
        [process] = jobd.ProcessSet()
        wait_until(lambda: jobd.ProcessSet().get(process.identity).beat > process.beat + 0.1, "some beats")  # type: ignore[union-attr]
        assert not redis.zcard("dead")
        cancel(jid)
        only_dead(redis)


def test_who_is_cut_off_by_a_crash_is_not_begun_again(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    raw = push_raw({"class": "cancels.short", "args": [], "jid": "cut", "queue": "default", "retry": True})
    redis.set("jobd:cancel:cut", run_of(raw))
    redis.sadd("jobd:suspects", "cut", "other")
    with run_worker(concurrency=1):
        dead = only_dead(redis)
        assert dead["error_message"] == "somebody has cancelled it, and its process ended before it did"
        push_raw({"class": "cancels.short", "args": [], "jid": "other", "queue": "default", "retry": True})
        wait_until(lambda: seen == ["short"], "another suspect")
    assert redis.smembers("jobd:suspects") == set()


def test_another_run_of_the_same_id_is_begun(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    redis.set("jobd:cancel:cut", run_of(b"{}"))
    redis.sadd("jobd:suspects", "cut")
    push_raw({"class": "cancels.short", "args": [], "jid": "cut", "queue": "default"})
    with run_worker(concurrency=1):
        wait_until(lambda: seen == ["short"], "it done")
    assert not redis.zcard("dead")


def test_an_interrupted_job_is_shown_so_until_it_ends(run_worker: RunWorker, redis: Redis) -> None:
    release = threading.Event()

    @jobd.job(name="cancels.lingers")
    def lingers() -> None:
        try:
            work_for_ever()
        finally:
            assert release.wait(30)

    with run_worker(concurrency=1, **OFTEN):
        jid = lingers.perform_async()
        cancel(jid)
        wait_until(lambda: (work := jobd.WorkSet().find(jid)) and work.cancelled, "shown as cancelled")
        assert jobd.WorkSet().cancel(jid), "asked twice"
        release.set()
        assert only_dead(redis)["error_class"] == "jobd.JobCancelled"


def test_who_runs_no_job_or_is_not_jobds_is_not_asked(redis: Redis, redis_url: str) -> None:
    jobd.configure(redis_url=redis_url)
    assert not jobd.WorkSet().cancel("none")
    ruby = beat(redis, INFO_8)
    redis.hset(f"{ruby}:work", "t", running("a"))
    with pytest.raises(NotControllable, match="no process of jobd"):
        jobd.WorkSet().cancel("a")
    assert not jobd.WorkSet().cancel("a", "host:1:other")
    assert not redis.exists("jobd:cancel:a")
    mine = beat(redis, {**INFO_8, "identity": "vm:2:x", "version": "jobd-1.0"})
    redis.hset(f"{mine}:work", "t", json.dumps({**json.loads(running("b")), "run_at": 5}))
    assert jobd.WorkSet().cancel("b", mine)
    redis.delete(mine)
    assert not jobd.WorkSet().cancel("b", mine), "its process is gone"


class Worked(threading.Thread):
    """A thread that does numbered pieces of work, each under the brake, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.brake, self.stopping, self.number = Brake(), False, 0
        self.hit = set[int]()
        self.escaped: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while not self.stopping:
                number += 1
                try:
                    self.piece(number)
                except jobd.JobCancelled:
                    self.hit.add(number)
                self.brake.forget()
        except BaseException as error:
            self.escaped = error

    def piece(self, number: int) -> None:
        try:
            self.brake.job = self.number = number
            for _ in range(number % 300):
                pass
        finally:
            self.brake.job = None
            if self.brake.request is not None:
                self.brake.let_go()


def test_a_thread_is_interrupted_in_the_very_piece_of_work_that_is_meant() -> None:
    thread, before, made = Worked(), sys.getswitchinterval(), set[int]()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while len(made) < 100 and thread.is_alive():
            number = thread.number
            if thread.brake.pull(thread.ident or 0, number):
                made.add(number)
            time.sleep(0)
    finally:
        thread.stopping = True
        thread.join()
        sys.setswitchinterval(before)
    assert thread.escaped is None
    assert thread.hit <= made
    assert thread.hit


def test_who_was_asked_before_it_began_is_interrupted_when_asked_again() -> None:
    brake = Brake()
    assert not brake.pull(0, "this")
    brake.job = "this"
    assert brake.pull(0, "this")  # there is no thread of this number
    assert brake.pulled_for("this")


def test_who_is_interrupted_as_it_ends_its_work_waits_until_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_in, told, release = brake_module._raise_in, threading.Event(), threading.Event()

    def slowly(thread: int, error: Any) -> None:
        if error is jobd.JobCancelled:
            told.set()
            assert release.wait(30)
        raise_in(thread, error)

    monkeypatch.setattr(brake_module, "_raise_in", slowly)
    brake, came_by = Brake(), list[str]()

    def work() -> None:
        try:
            try:
                brake.job = "this"
                assert told.wait(30)
            finally:
                brake.job = None
                came_by.append("ended")
                brake.let_go()
            came_by.append("let go")
        except jobd.JobCancelled:
            came_by.append("interrupted")
        release.wait(30)

    worker = threading.Thread(target=work)
    worker.start()
    wait_until(lambda: brake.job, "it at work")
    asking = threading.Thread(target=brake.pull, args=(worker.ident, "this"))
    asking.start()
    wait_until(lambda: came_by, "the end of its work")
    wait_until(lambda: "let_go" in traceback_of(worker), "it waiting")
    assert came_by == ["ended"]
    release.set()
    for thread in (asking, worker):
        thread.join()
    assert came_by in (["ended", "interrupted"], ["ended", "let go"])


def test_what_was_taken_back_lets_a_debugger_go_on_in_every_thread() -> None:
    after = """
        import sys, threading
        from jobd.worker.brake import Brake
        worker = threading.Thread(target=Brake().let_go)
        worker.start(), worker.join()
        sys.settrace(lambda *_: None)
        print((lambda: "goes on")())
    """
    # In a process of its own: one that did not go on could not be ended from within, not even by a time-out.
    found = subprocess.run([sys.executable, "-c", dedent(after)], capture_output=True, text=True, timeout=60)
    assert found.stdout == "goes on\n", found.stderr


def test_who_lets_go_goes_on_although_another_thread_takes_back_what_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brake_module, "_raise_in", lambda thread, error: None)
    worker = threading.Thread(target=Brake().let_go, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()


def traceback_of(thread: threading.Thread) -> list[str]:
    """The functions that it is in."""
    frame = sys._current_frames().get(thread.ident or 0)
    return [each.f_code.co_name for each, _ in traceback.walk_stack(frame)] if frame else []
