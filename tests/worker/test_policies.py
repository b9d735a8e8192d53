"""Policies at work: a whole worker on a real server runs jobs that fail, and what they said about it happens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import registry
from jobd.client.payload import decode_backtrace
from jobd.client.policies import ErrorContext
from jobd.worker import on_error
from jobd.worker.crash import Crash, Orphan
from jobd.worker.page import Page
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw, RunWorker

calls: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of one test are none of the next one's."""
    monkeypatch.setattr(registry, "_handlers", {})
    calls.clear()


class Limited(Exception):
    """An error of an application."""


def members(redis: Redis, key: str) -> list[dict[str, Any]]:
    raw: Any = redis.zrange(key, 0, -1)
    return [json.loads(member) for member in raw]


def score(redis: Redis, key: str) -> float:
    entries: Any = redis.zrange(key, 0, -1, withscores=True)
    [(_, at)] = entries
    return float(at)


def counted(redis: Redis) -> tuple[int, int]:
    processed: Any = redis.get("stat:processed")
    failed: Any = redis.get("stat:failed")
    return int(processed or 0), int(failed or 0)


def nothing_left(redis: Redis) -> bool:
    return not redis.exists("retry", "dead", "schedule", "queue:default")


def run_one(run_worker: RunWorker, redis: Redis, push: Callable[[], object], end: tuple[int, int]) -> None:
    """Run a job, until these many are counted as processed and failed."""
    with run_worker(concurrency=1):
        push()
        wait_until(lambda: counted(redis) == end, f"processed and failed {end}")


def test_a_rule_retries_its_error_and_then_the_option_retry_decides(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    rule = jobd.RetryOn(Limited, wait=0.01, attempts=3, jitter=0)

    @jobd.job(name="p.limited", retry=0, retry_on=[rule])
    def limited() -> None:
        calls.append((jobd.current_job().attempt, jobd.current_job().jid))
        raise Limited("slower")

    jids: list[Any] = []
    run_one(run_worker, redis, lambda: jids.append(limited.perform_async()), (3, 3))
    assert calls == [(attempt, jids[0]) for attempt in (1, 2, 3)]
    [entry] = members(redis, "dead")
    assert entry["retry_on_counts"] == {f"{__name__}.Limited": 2}
    assert (entry["jid"], entry["retry_count"], entry["error_message"]) == (jids[0], 2, "slower")
    assert [line["retry_in"] for line in events.named("job.failed")] == [0.0, 0.0]
    assert len(events.named("job.dead")) == 1


def test_a_job_that_succeeds_within_the_attempts_of_a_rule_is_done(run_worker: RunWorker, redis: Redis) -> None:
    @jobd.job(name="p.twice", retry_on=[jobd.RetryOn(Limited, wait=lambda count: timedelta(milliseconds=count))])
    def twice() -> None:
        calls.append(jobd.current_job().attempt)
        if len(calls) < 3:
            raise Limited

    run_one(run_worker, redis, twice.perform_async, (3, 2))
    assert calls == [1, 2, 3]
    assert nothing_left(redis)


def test_a_rules_wait_that_fails_is_logged_and_the_default_taken(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    def broken(count: int) -> float:
        raise ZeroDivisionError("no wait")

    @jobd.job(name="p.broken_wait", retry_on=[jobd.RetryOn(Limited, wait=broken)])
    def job() -> None:
        raise Limited

    run_one(run_worker, redis, job.perform_async, (1, 1))
    assert 1 < score(redis, "retry") - time.time() <= 2.3
    [line] = events.named("hook.failed")
    assert (line["hook"], line["error"]) == ("wait", "ZeroDivisionError: no wait")


def test_an_error_to_be_discarded_drops_the_job_logged_and_counted(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    deaths: list[tuple[jobd.RunningJob, BaseException]] = []
    jobd.configure(death_handlers=[lambda job, error: deaths.append((job, error))])

    @jobd.job(name="p.discard", discard_on=[Limited])
    def discard() -> None:
        raise Limited("gone")

    run_one(run_worker, redis, discard.perform_async, (1, 1))
    assert nothing_left(redis)
    [line] = events.named("job.discarded")
    assert "discard_on" in line["reason"]
    [(job, error)] = deaths
    assert isinstance(error, Limited)
    assert abs(job.payload["discarded_at"] - time.time()) < 10
    assert (job.name, job.attempt) == ("p.discard", 1)


def test_an_error_that_is_rescued_is_a_success(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    @jobd.job(name="p.rescued")
    def rescued(number: int) -> None:
        raise Limited("full")

    @rescued.rescue_from(Limited, KeyError)
    def deal(job: jobd.RunningJob, error: BaseException) -> None:
        calls.append((job.args, str(error), jobd.current_job().jid == job.jid))

    run_one(run_worker, redis, lambda: rescued.perform_async(7), (1, 0))
    assert calls == [([7], "full", True)]
    assert nothing_left(redis)
    [line] = events.named("job.rescued")
    assert line["error"] == "Limited: full"


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_error_of_a_rescuing_function_is_that_of_the_job(
    kind: type[BaseException], run_worker: RunWorker, redis: Redis
) -> None:
    @jobd.job(name="p.not_rescued", discard_on=[ValueError, SystemExit])
    def job() -> None:
        raise Limited

    @job.rescue_from(Limited)
    def deal(job: jobd.RunningJob, error: BaseException) -> None:
        raise kind("worse")

    run_one(run_worker, redis, job.perform_async, (1, 1))
    [entry] = members(redis, "retry")
    assert (entry["error_class"], entry["error_message"]) == (kind.__name__, "worse")


def test_a_class_has_its_policies_and_its_bases(run_worker: RunWorker, redis: Redis) -> None:
    class Base(jobd.Job, discard_on=[KeyError]):
        """Hands on its policies."""

    class Heir(Base, name="p.heir"):
        def perform(self, kind: str) -> None:
            raise {"key": KeyError, "limit": Limited}[kind]

    @Heir.rescue_from(Limited)
    def deal(job: jobd.RunningJob, error: BaseException) -> None:
        calls.append(job.args)

    with run_worker(concurrency=1):
        Heir.perform_async("key")
        Heir.perform_async("limit")
        wait_until(lambda: counted(redis) == (2, 1), "both")
    assert calls == [["limit"]]
    assert nothing_left(redis)


@pytest.mark.parametrize(
    ("answer", "least"),
    [(100, 100), (timedelta(minutes=5), 300), (None, 15), (0, 15), ("soon", 15), (float("nan"), 15), (10**10, 15)],
)
def test_retry_in_says_when_the_job_runs_again(
    answer: Any, least: float, run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    @jobd.job(name="p.when")
    def when() -> None:
        raise Limited("slower")

    @when.retry_in
    def decide(count: int, error: BaseException, job: jobd.RunningJob) -> Any:
        calls.append((count, str(error), job.attempt, job.payload["error_class"]))
        return answer

    run_one(run_worker, redis, when.perform_async, (1, 1))
    assert calls == [(0, "slower", 1, f"{__name__}.Limited")]
    assert least - 2 < score(redis, "retry") - time.time() < least + 10
    usable = least != 15 or answer in (None, 0)
    assert len(events.named("hook.failed")) == (0 if usable else 1)


def test_retry_in_may_discard_or_kill(run_worker: RunWorker, redis: Redis) -> None:
    @jobd.job(name="p.verdict", retry_in=lambda count, error, job: jobd.DISCARD if job.args[0] else jobd.KILL)
    def verdict(discard: bool) -> None:
        raise Limited

    with run_worker(concurrency=1):
        verdict.perform_async(True)
        verdict.perform_async(False)
        wait_until(lambda: counted(redis) == (2, 2), "both")
    assert [entry["args"] for entry in members(redis, "dead")] == [[False]]
    assert not redis.exists("retry")


@pytest.mark.parametrize(("answer", "dead"), [(jobd.DISCARD, 0), (None, 1), (jobd.KILL, 1)])
def test_the_end_of_its_retries_is_told_and_may_keep_a_job_from_the_dead_set(
    answer: object, dead: int, run_worker: RunWorker, redis: Redis
) -> None:
    @jobd.job(name="p.exhausted", retry=0)
    def exhausted() -> None:
        raise Limited("over")

    @exhausted.retries_exhausted
    def over(job: jobd.RunningJob, error: BaseException) -> object:
        calls.append((job.payload["error_message"], str(error)))
        return answer

    run_one(run_worker, redis, exhausted.perform_async, (1, 1))
    assert calls == [("over", "over")]
    assert redis.zcard("dead") == dead


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_no_failing_function_of_the_application_costs_the_job(
    kind: type[BaseException], run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    def broken(*given: Any) -> Any:
        raise kind("broken")

    jobd.configure(
        death_handlers=[broken, lambda job, error: calls.append("death")],
        error_handlers=[broken, lambda error, context: calls.append((context.event, context.component))],
        backtrace_cleaner=broken,
    )

    @jobd.job(name="p.broken", retry=1, backtrace=True, retry_in=broken, retries_exhausted=broken)
    def job() -> None:
        raise Limited

    with run_worker(concurrency=1):
        job.perform_async()
        wait_until(lambda: redis.zcard("retry"), "to be retried")
        waiting: Any = redis.zrange("retry", 0, -1)
        redis.zadd("retry", dict.fromkeys(waiting, 1.0))
        wait_until(lambda: redis.zcard("dead"), "dead")
        wait_until(lambda: "death" in calls, "told")
    assert decode_backtrace(members(redis, "dead")[0]["error_backtrace"])
    assert [call for call in calls if call != "death"] == [
        ("hook.failed", "backtrace_cleaner"),
        ("hook.failed", "retry_in"),
        ("job.failed", ""),
        ("hook.failed", "backtrace_cleaner"),
        ("hook.failed", "retries_exhausted"),
        ("job.dead", ""),
        ("hook.failed", "death_handlers"),
    ]
    hooks = [line["hook"] for line in events.named("hook.failed")]
    assert hooks.count("error_handlers") == 7
    assert hooks.count("death_handlers") == 1


def test_error_handlers_hear_of_every_error_and_death_handlers_of_every_end(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    told: list[tuple[str, str, str]] = []
    died: list[tuple[str, str]] = []

    def tell(error: BaseException, context: ErrorContext) -> None:
        told.append((context.event, context.job.name if context.job else "", type(error).__name__))

    jobd.configure(
        error_handlers=[tell],
        death_handlers=[lambda job, error: died.append((job.name, type(error).__name__))],
    )

    @jobd.job(name="p.fails", retry_on=[jobd.RetryOn(KeyError)], discard_on=[LookupError])
    def fails(kind: str) -> None:
        raise {"key": KeyError, "look": LookupError, "limit": Limited}[kind]

    with run_worker(concurrency=1):
        for kind in ("key", "look", "limit"):
            fails.perform_async(kind)
        push_raw({"class": "p.never", "args": [], "jid": "n", "retry": True, "unknown_since": time.time() - 90_000})
        push_raw(b"{bad")
        wait_until(lambda: redis.zcard("dead") == 2 and redis.zcard("retry") == 2, "all ended")
        wait_until(lambda: counted(redis) == (4, 4), "all counted")
    assert told == [
        ("job.failed", "p.fails", "KeyError"),
        ("job.discarded", "p.fails", "LookupError"),
        ("job.failed", "p.fails", "Limited"),
        ("job.dead", "p.never", "UnknownJob"),
        ("job.buried", "", "MalformedPayload"),
    ]
    assert died == [("p.fails", "LookupError"), ("p.never", "UnknownJob")]


def test_an_error_of_jobd_itself_is_told_without_holding_it_up() -> None:
    told: list[tuple[BaseException, ErrorContext]] = []
    jobd.configure(error_handlers=[lambda error, context: told.append((error, context))])
    error = RuntimeError("odd")
    on_error.component_failed("scheduler", error)
    wait_until(lambda: told, "told")
    assert told == [(error, ErrorContext(event="component.failed", component="scheduler"))]


def test_an_error_handler_that_hangs_does_not_cost_a_thread_for_each_error_of_jobd() -> None:
    release, told = threading.Event(), []

    def hang(error: BaseException, context: ErrorContext) -> None:
        release.wait(10)
        told.append(error)

    jobd.configure(error_handlers=[hang])

    def busy() -> int:
        return [thread.name for thread in threading.enumerate()].count(on_error.ASIDE)

    for _ in range(50):
        on_error.component_failed("scheduler", RuntimeError("odd"))
    assert busy() == 10
    release.set()
    wait_until(lambda: len(told) == 10 and not busy(), "all have ended")
    on_error.component_failed("scheduler", RuntimeError("later"))
    wait_until(lambda: len(told) == 11, "a later one is told again")


def test_a_component_goes_on_when_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    jobd.configure(error_handlers=[lambda error, context: None])
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", refuse)
        for _ in range(20):
            on_error.component_failed("scheduler", RuntimeError("odd"))


def test_a_job_that_is_dead_of_its_crashes_is_told_as_dead(run_worker: RunWorker, redis: Redis) -> None:
    died: list[tuple[str, str, int]] = []
    jobd.configure(death_handlers=[lambda job, error: died.append((job.jid, str(error), job.payload["retry_count"]))])
    payload = b'{"class":"p.poison","args":[],"jid":"poison"}'
    redis.hset("jobd:gone:jobs", mapping={"token": "t", "1.1": b"default\n" + payload})
    with run_worker(max_crashes=1, heartbeat_interval=20, lease=60) as worker:
        worker.recover(
            [Orphan("gone", "killed", Crash("killed by SIGSEGV", ("poison",), None, ""))], lambda owners: None
        )
        wait_until(lambda: died, "told")
    [(jid, error, count)] = died
    assert (jid, count) == ("poison", 0)
    assert "killed by SIGSEGV" in error


@pytest.mark.parametrize("args", [[1], "no list"])
def test_a_death_by_crashes_is_told_too(args: object) -> None:
    told: list[tuple[jobd.RunningJob, BaseException]] = []
    jobd.configure(death_handlers=[lambda job, error: told.append((job, error))])
    on_error.died_of_crashes({"class": "A", "jid": "j", "args": args, "error_class": "jobd.Crashed"}, "q", "killed")
    wait_until(lambda: told, "told")
    [(job, error)] = told
    assert (job.name, job.jid, job.queue, job.payload["error_class"]) == ("A", "j", "q", "jobd.Crashed")
    assert isinstance(error, jobd.Crashed)
    assert str(error) == "killed"


def test_a_job_that_asks_to_run_later_has_not_failed(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    @jobd.job(name="p.later", retry=0)
    def later() -> None:
        job = jobd.current_job()
        calls.append((job.attempt, job.payload.get("postponed_count")))
        if len(calls) < 3:
            raise jobd.RetryLater(0.01, "the printer is busy")

    page = Page(1)
    with run_worker(concurrency=1) as worker:
        later.perform_async()
        wait_until(lambda: counted(redis) == (1, 0), "done")
        page = worker.page
    assert calls == [(1, None), (1, 1), (1, 2)]
    assert nothing_left(redis)
    assert [(line["times"], line["reason"]) for line in events.named("job.postponed")] == [
        (1, "the printer is busy"),
        (2, "the printer is busy"),
    ]
    assert not events.named("job.failed")
    [counts] = page.jobs().values()
    assert {name: number for name, number in counts.results.items() if number} == {"ok": 1, "requeued": 2}


def test_a_job_put_off_waits_in_the_retry_set_without_an_error(run_worker: RunWorker, redis: Redis) -> None:
    @jobd.job(name="p.put_off")
    def put_off() -> None:
        raise jobd.RetryLater(timedelta(minutes=1), "busy")

    with run_worker(concurrency=1):
        jid = put_off.perform_async()
        wait_until(lambda: redis.zcard("retry"), "put off")
    [entry] = members(redis, "retry")
    assert (entry["jid"], entry["postponed_count"], entry["postponed_reason"]) == (jid, 1, "busy")
    assert not entry.keys() & {"retry_count", "error_class"}
    assert 58 < score(redis, "retry") - time.time() < 61
    assert counted(redis) == (0, 0)


def test_a_rescuing_function_may_put_the_job_off(run_worker: RunWorker, redis: Redis) -> None:
    @jobd.job(name="p.rescued_later")
    def job() -> None:
        raise Limited("wait")

    @job.rescue_from(Exception)
    def deal(job: jobd.RunningJob, error: BaseException) -> None:
        raise jobd.RetryLater(50, str(error))

    with run_worker(concurrency=1):
        job.perform_async()
        wait_until(lambda: redis.zcard("retry"), "put off")
    assert members(redis, "retry")[0]["postponed_reason"] == "wait"


def test_a_rule_for_all_errors_is_not_asked_about_retry_later(run_worker: RunWorker, redis: Redis) -> None:
    @jobd.job(name="p.later_and_discard", discard_on=[Exception])
    def job() -> None:
        raise jobd.RetryLater(50)

    @job.rescue_from(Exception)
    def deal(job: jobd.RunningJob, error: BaseException) -> None:
        calls.append(error)

    with run_worker(concurrency=1):
        job.perform_async()
        wait_until(lambda: redis.zcard("retry"), "put off")


@pytest.mark.parametrize("how", ["put off further", "killed and retried", "put into its queue"])
def test_what_somebody_moves_by_hand_does_not_expire_for_that(run_worker: RunWorker, redis: Redis, how: str) -> None:
    @jobd.job(name="p.moved")
    def moved() -> None:
        calls.append(how)

    pushed = time.time() - 1_000
    job = {"class": "p.moved", "args": [], "jid": "j", "retry": True, "queue": "default", "created_at": pushed}
    redis.zadd("schedule", {json.dumps({**job, "expires_in": 20}): pushed + 10})
    [entry] = jobd.ScheduledSet()
    if how == "put off further":
        entry.reschedule(time.time() + 0.2)
    elif how == "killed and retried":
        entry.kill()
        [dead] = jobd.DeadSet()
        dead.retry()
    else:
        jobd.ScheduledSet().add_all_to_queue()
    with run_worker(concurrency=1):
        wait_until(lambda: counted(redis) == (1, 0), "its end")
    assert calls == [how]


def test_a_job_that_was_not_begun_in_time_is_not_run(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw, events: Events
) -> None:
    @jobd.job(name="p.expires", expires_in=60)
    def expires(number: int) -> None:
        calls.append(number)

    now = time.time()
    late = {"class": "p.expires", "args": [1], "jid": "late", "retry": True, "expires_in": 60, "created_at": now - 100}
    page = Page(1)
    with run_worker(concurrency=1) as worker:
        push_raw(late)
        push_raw({**late, "args": [2], "jid": "again", "retry_count": 0, "failed_at": now - 90})
        expires.perform_async(3)
        wait_until(lambda: counted(redis) == (3, 0), "all")
        page = worker.page
    assert calls == [2, 3]
    [line] = events.named("job.expired")
    assert (line["jid"], line["job"]) == ("late", "p.expires")
    assert 39 < line["late"] < 50
    assert nothing_left(redis)
    [(labels, counts)] = page.jobs().items()
    assert labels[1] == "p.expires"
    assert counts.results["ok"] == 3


def test_rails_arguments_reach_the_job_decoded(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    @jobd.job(name="UserMailerJob")
    def mail(user: jobd.GlobalID, *, locale: str) -> None:
        job = jobd.current_job()
        calls.append((user.model, user.id, locale, job.kwargs, job.payload["args"][0]["timezone"]))

    arguments = [{"_aj_globalid": "gid://app/User/7"}, {"locale": "vi", "_aj_ruby2_keywords": ["locale"]}]
    inner = {"job_class": "UserMailerJob", "arguments": arguments, "locale": "vi", "timezone": "UTC", "executions": 0}
    fields = {"class": "Sidekiq::ActiveJob::Wrapper", "args": [inner], "jid": "aj", "retry": True}
    with run_worker(concurrency=1):
        push_raw({**fields, "wrapped": "UserMailerJob"})
        push_raw(fields)
        wait_until(lambda: counted(redis) == (2, 0), "both")
    assert calls == [("User", "7", "vi", {"locale": "vi"}, "UTC")] * 2


def test_an_argument_of_rails_that_cannot_be_decoded_is_an_error_of_the_job(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    @jobd.job(name="MoneyJob")
    def money(amount: object) -> None:
        calls.append(amount)

    inner = {"job_class": "MoneyJob", "arguments": [{"_aj_serialized": "MoneySerializer", "value": 5}]}
    with run_worker(concurrency=1):
        push_raw(
            {"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "MoneyJob", "args": [inner], "jid": "aj", "retry": 3}
        )
        wait_until(lambda: redis.zcard("retry"), "to be retried")
    [entry] = members(redis, "retry")
    assert entry["error_class"] == "jobd.client.errors.UndecodableArgument"
    assert "arguments[0] was encoded by 'MoneySerializer'" in entry["error_message"]
    assert (entry["args"], entry["retry_count"], calls) == ([inner], 0, [])
