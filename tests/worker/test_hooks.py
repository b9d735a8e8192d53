"""Hooks of a worker's life: when each is called, in which order, and what becomes of one that is slow or raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults, events
from jobd.client.errors import HookFailed
from jobd.worker.hooks import Hooks
from jobd.worker.process import WorkerProcess
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

release = threading.Event()
started = threading.Event()


@jobd.job(name="hooks_tests.wait", retry=False)
def wait() -> None:
    started.set()
    release.wait(10)


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_hooks", {})
    release.clear()
    started.clear()


@pytest.fixture
def seen() -> Iterator[list[str]]:
    """The events in the order in which their hooks were called."""
    called: list[str] = []
    for event in ("startup", "quiet", "resume", "shutdown", "exit", "heartbeat", "beat", "leader"):
        jobd.on(event)(lambda event=event: called.append(event))  # type: ignore[arg-type]
    yield called
    release.set()


def test_a_life_calls_each_hook_in_its_turn(run_worker: RunWorker, seen: list[str]) -> None:
    with run_worker(heartbeat_interval=0.05) as worker:
        wait_until(lambda: "leader" in seen and seen.count("beat") >= 3, "three beats and the lead")
        worker.quiet()
        worker.resume()
        worker.resume()
    assert seen[0] == "startup"
    assert [event for event in seen if event not in ("startup", "beat", "heartbeat", "leader")] == [
        *("quiet", "resume"),
        *("quiet", "shutdown", "exit"),
    ]
    assert seen[-1] == "exit"
    assert seen.count("heartbeat") == seen.count("leader") == 1
    assert seen.index("heartbeat") < seen.index("beat")


def test_hooks_of_the_end_run_in_reverse(run_worker: RunWorker) -> None:
    called: list[str] = []
    for event in ("startup", "shutdown", "exit"):
        for name in ("first", "second"):
            jobd.on(event)(lambda event=event, name=name: called.append(f"{event} {name}"))  # type: ignore[misc]
    with run_worker():
        pass
    assert called == [
        *("startup first", "startup second"),
        *("shutdown second", "shutdown first", "exit second", "exit first"),
    ]


def test_no_job_runs_before_startup_has_ended_nor_when_exit_is_called(run_worker: RunWorker) -> None:
    facts: list[Any] = []
    wait.perform_async()

    @jobd.on("startup")
    def look_at_the_start() -> None:
        facts.append(("startup", started.wait(0.1)))

    @jobd.on("shutdown")
    def let_it_end() -> None:
        facts.append(("shutdown", release.is_set()))
        release.set()

    @jobd.on("exit")
    def look_at_the_end() -> None:
        # The one that fetches ahead runs no job, and ends by itself.
        names = [thread.name for thread in threading.enumerate() if "default" in thread.name]
        facts.append(("exit", [name for name in names if not name.endswith("-steward")]))

    with run_worker(concurrency=1):
        assert started.wait(10)
    assert facts == [("startup", False), ("shutdown", False), ("exit", [])]


def test_a_startup_hook_that_raises_keeps_the_worker_from_starting(run_worker: RunWorker, redis: Redis) -> None:
    called: list[str] = []

    @jobd.on("startup")
    def connect() -> None:
        raise ValueError("no such tenant")

    jobd.on("startup")(lambda: called.append("startup"))
    jobd.on("exit")(lambda: called.append("exit"))
    why = r"startup hook .*connect failed: ValueError: no such tenant\nTraceback"
    with pytest.raises(HookFailed, match=why), run_worker():
        pass
    assert called == []
    assert redis.scard("processes") == 0


def test_a_hook_that_raises_is_logged_and_the_others_still_run(
    run_worker: RunWorker, seen: list[str], events: Events
) -> None:
    @jobd.on("shutdown")
    def fail() -> None:
        raise SystemExit("no")

    told: list[tuple[str, str]] = []
    jobd.configure(error_handlers=[lambda error, context: told.append((context.event, context.component))])
    with run_worker():
        pass
    assert told == [("hook.failed", "shutdown")]
    assert [event for event in seen if event in ("shutdown", "exit")] == ["shutdown", "exit"]
    [failed] = events.named("hook.failed")
    assert failed["on"] == "shutdown"
    assert failed["hook"].endswith("fail")


def test_a_slow_hook_stops_neither_heartbeat_nor_jobs_and_is_reported(
    run_worker: RunWorker, redis: Redis, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "HOOK_SLOW", 0.05)
    calls: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    @jobd.on("beat")
    def linger() -> None:
        calls.append(1)
        entered.set()
        go_on.wait(10)

    release.set()
    with run_worker(heartbeat_interval=0.02) as worker:
        assert entered.wait(10)
        before = redis.hget(worker.identity, "beat")
        wait.perform_async()
        assert started.wait(10)
        wait_until(lambda: redis.hget(worker.identity, "beat") != before, "a beat beside the hook")
        wait_until(lambda: events.named("hook.slow"), "a report of the slow hook")
        assert len(calls) == 1
        go_on.set()
    assert len(events.named("hook.slow")) == 1


def test_a_hook_that_never_ends_does_not_keep_a_stop(
    run_worker: RunWorker, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "HOOKS_AFTER_TIMEOUT", 0.1)
    go_on = threading.Event()

    @jobd.on("shutdown")
    def linger() -> None:
        go_on.wait(30)

    jobd.on("exit")(lambda: pytest.fail("after the end"))
    with run_worker(timeout=0.1) as worker:
        begun = time.monotonic()
        worker.stop()
        assert time.monotonic() - begun < 2
    go_on.set()
    [left] = events.named("hook.abandoned")
    assert left["on"] == "shutdown"
    assert not events.named("hook.failed")


def test_a_heartbeat_comes_again_after_an_outage(seen: list[str]) -> None:
    with RedisServer() as server:
        jobd.configure(redis_url=server.url)
        config = jobd.WorkerConfig(redis_url=server.url, timeout=1, heartbeat_interval=0.02)
        with jobd.run(config):
            wait_until(lambda: "beat" in seen, "the first beat")
            assert seen.count("heartbeat") == 1
            server.restart()
            wait_until(lambda: seen.count("heartbeat") == 2, "a heartbeat after the outage")


def test_the_lead_is_told_to_whom_it_comes(run_worker: RunWorker, redis: Redis) -> None:
    holders: list[object] = []
    jobd.on("leader")(lambda: holders.append(redis.get("jobd:scheduler")))
    redis.set("jobd:scheduler", "another", px=200)
    with run_worker() as worker:
        wait_until(lambda: holders, "the lead")
        assert holders == [worker.identity.encode()]


def test_a_stop_while_a_startup_hook_runs_ends_the_start(redis_url: str, redis: Redis) -> None:
    go_on, called = threading.Event(), []
    jobd.on("startup")(lambda: go_on.wait(10) or None)
    jobd.on("startup")(lambda: called.append("second"))
    worker = WorkerProcess(jobd.WorkerConfig(redis_url=redis_url))
    assert worker.start(wait=lambda seconds: False) is False
    assert redis.scard("processes") == 0
    go_on.set()
    wait_until(lambda: not any(thread.name == "jobd-hooks" for thread in threading.enumerate()), "its end")
    assert called == []


def test_beats_do_not_gather_behind_a_slow_hook() -> None:
    entered, go_on, calls = threading.Event(), threading.Event(), []

    @jobd.on("beat")
    def linger() -> None:
        calls.append(1)
        entered.set()
        go_on.wait(10)

    hooks = Hooks()
    hooks.start(lambda seconds: True)
    hooks.tell("beat")
    assert entered.wait(10)
    for _ in range(100):
        hooks.tell("beat")
    go_on.set()
    hooks.finish(time.monotonic() + 10, lambda: False)
    assert calls == [1]


def test_what_is_told_before_the_start_is_called_after_startup(seen: list[str]) -> None:
    hooks = Hooks()
    hooks.tell("quiet")
    assert hooks.start(lambda seconds: True)
    wait_until(lambda: seen == ["startup", "quiet"], "both")
    hooks.finish(float("inf"), lambda: False)
    assert seen[-1] == "exit"


def test_without_hooks_there_is_no_thread(run_worker: RunWorker) -> None:
    before = set(threading.enumerate())
    with run_worker() as worker:
        assert isinstance(worker, WorkerProcess)
        assert not any(thread.name == "jobd-hooks" for thread in {*threading.enumerate()} - before)
