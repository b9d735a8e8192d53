"""A process shows what its threads do when it is asked through Redis, and for which job."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from redis import Redis

import jobd
from jobd.client import defaults
from jobd.client.errors import NotControllable
from jobd.client.processes import ProcessSet
from jobd.client.stacks import Frame, Stacks, ThreadStack, read_stacks
from jobd.worker import stacks
from tests.client.test_processes import INFO_8, beat
from tests.waiting import wait_until
from tests.worker.conftest import RunWorker

release, at_work = threading.Event(), threading.Event()


@jobd.job(name="stacks.hang")
def hang(secret: str) -> None:
    waits_for_ever(secret)


def waits_for_ever(secret: str) -> None:
    at_work.set()
    assert release.wait(30), "the line that is shown"


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    release.clear()
    at_work.clear()
    yield
    release.set()


def answer(processes: ProcessSet, identity: str) -> Stacks:
    """Ask, and wait for the answer."""
    assert processes.ask_stacks(identity)
    wait_until(lambda: processes.stacks(identity), "the stacks")
    found = processes.stacks(identity)
    assert found
    return found


def test_what_threads_hold_goes_with_them_without_a_collector() -> None:
    class Held:
        pass

    gone: list[weakref.ref[Held]] = []

    def hold() -> None:
        held = Held()
        gone.append(weakref.ref(held))
        at_work.set()
        release.wait(30)

    thread = threading.Thread(target=hold)
    gc.disable()
    try:
        thread.start()
        assert at_work.wait(30)
        stacks.written([], 0.0)
        release.set()
        thread.join()
        assert gone[0]() is None
    finally:
        gc.enable()


def test_the_thread_of_a_hanging_job_comes_first_with_its_calls(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=2, heartbeat_interval=0.02, lease=60) as worker:
        jid = hang.perform_async("hunter2")
        wait_until(at_work.is_set, "the job at work")
        wait_until(lambda: len(jobd.WorkSet()) == 1, "it shown")
        processes = ProcessSet()
        found = answer(processes, worker.identity)
        first = found.threads[0]
        assert (first.jid, first.job, first.name[:13]) == (jid, "stacks.hang", "jobd-default-")
        assert first.since <= found.at
        assert first.thread in {work.thread for work in jobd.WorkSet()}
        [here] = [frame for frame in first.frames if frame.function == "waits_for_ever"]
        assert here.file == __file__
        assert here.source == 'assert release.wait(30), "the line that is shown"'
        assert [each.jid for each in found.threads[1:]] == [""] * (len(found.threads) - 1)
        assert "jobd-pulse" in {each.name for each in found.threads}
        raw = redis.get(f"jobd:stacks:{worker.identity}")
        assert isinstance(raw, bytes)
        assert b"hunter2" not in raw
        assert 0 < redis.ttl(f"jobd:stacks:{worker.identity}") <= defaults.STACKS_TTL
        assert not redis.exists(f"{worker.identity}-signals")


def test_a_new_request_forgets_the_answer_before(run_worker: RunWorker) -> None:
    with run_worker(heartbeat_interval=0.02, lease=60) as worker:
        wait_until(lambda: jobd.ProcessSet().get(worker.identity), "the first beat")
        processes = ProcessSet()
        first = answer(processes, worker.identity)
        assert answer(processes, worker.identity).at > first.at


def test_who_looks_again_is_answered_soon(run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.worker.heartbeat._WATCHED_INTERVAL", 0.02)
    with run_worker(heartbeat_interval=20, lease=60) as worker:
        wait_until(lambda: jobd.ProcessSet().get(worker.identity), "the first beat")
        processes = ProcessSet()
        processes.ask_stacks(worker.identity)
        worker.look_again()
        wait_until(lambda: processes.stacks(worker.identity), "the stacks")
        answer(processes, worker.identity)


def test_who_can_show_none_is_not_asked(redis: Redis, redis_url: str) -> None:
    jobd.configure(redis_url=redis_url)
    ruby = beat(redis, INFO_8)
    with pytest.raises(NotControllable, match="no process of jobd"):
        ProcessSet().ask_stacks(ruby)
    assert not ProcessSet().ask_stacks("nobody")
    assert not redis.exists(f"{ruby}-signals")


def test_what_has_no_room_is_counted() -> None:
    threads = [ThreadStack(str(n), "t", "", "", 0.0, (Frame("f", 1, "g", "x" * 50),)) for n in range(100)]
    found = read_stacks(stacks.within(threads, 5.0, 2_000))
    assert found
    assert len(stacks.within(threads, 5.0, 2_000)) <= 2_000
    assert 5 < len(found.threads) < 100
    assert (len(found.threads) + found.left_out, found.at) == (100, 5.0)


def test_what_others_have_written_there_is_no_answer() -> None:
    assert [read_stacks(raw) for raw in (None, b"", b"{}", b"[1]", b"\xff", b'{"at": "x"}')] == [None] * 6
