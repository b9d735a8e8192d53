"""A whole worker on a real server: what becomes of each kind of job, and how many run at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import InvalidResponse

import jobd
from jobd.client import payload, scripts, settings
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.payload import decode_backtrace
from jobd.client.scripts import Call
from jobd.worker import retry
from jobd.worker.config import Capsule
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw, RunWorker

calls: list[Any] = []
seen: list[jobd.RunningJob] = []
release = threading.Event()


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    calls.clear()
    seen.clear()
    release.clear()
    yield
    release.set()


@jobd.job(name="w.record")
def record(*args: Any, **kwargs: Any) -> None:
    seen.append(jobd.current_job())
    calls.append((*args, *kwargs.items()))


@jobd.job(name="w.keyword")
def keyword(user: int, *, locale: str = "en") -> None:
    calls.append((user, locale))


@jobd.job(name="w.fail", backtrace=True)
def fail(message: str) -> None:
    seen.append(jobd.current_job())
    raise ValueError(message)


@jobd.job(name="w.spoil")
def spoil(box: list[str]) -> None:
    box.append("spoilt")
    raise ValueError


@jobd.job(name="w.fail_twice", retry=1)
def fail_twice() -> None:
    calls.append(jobd.current_job().attempt)
    raise RuntimeError("always")


@jobd.job(name="w.fail_for_good", retry=0)
def fail_for_good() -> None:
    raise RuntimeError("zero")


@jobd.job(name="w.fail_and_forget", retry=False)
def fail_and_forget() -> None:
    raise RuntimeError("nobody cares")


@jobd.job(name="w.fail_without_grave", retry=0, dead=False)
def fail_without_grave() -> None:
    raise RuntimeError("nobody cares")


@jobd.job(name="w.exit")
def leave(kind: str) -> None:
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[kind]


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@jobd.job(name="w.mute")
def mute() -> None:
    raise Mute


@jobd.job(name="w.block")
def block(number: int) -> None:
    calls.append(number)
    assert release.wait(10)


def members(redis: Redis, key: str) -> list[dict[str, Any]]:
    raw: Any = redis.zrange(key, 0, -1)
    return [json.loads(member) for member in raw]


def stat(redis: Redis, name: str) -> int:
    value: Any = redis.get(f"stat:{name}")
    return int(value or 0)


def counted(redis: Redis) -> tuple[int, int]:
    return stat(redis, "processed"), stat(redis, "failed")


def in_progress(redis: Redis) -> int:
    found: Any = redis.keys("jobd:*:jobs")
    fields: list[Any] = [redis.hkeys(key) for key in found]
    return sum(scripts.is_job_field(name.decode()) for names in fields for name in names)


def settled(redis: Redis, processed: int) -> Callable[[], bool]:
    """Whether so many jobs are counted and none is in progress."""
    return lambda: stat(redis, "processed") == processed and in_progress(redis) == 0


def test_a_job_that_returns_is_done(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    with run_worker():
        jid = record.perform_async(1, "two", {"three": 3.5}, None)
        wait_until(settled(redis, 1), "the job done")
    assert calls == [(1, "two", {"three": 3.5}, None)]
    assert counted(redis) == (1, 0)
    assert [key for key in ("retry", "dead", "schedule", "queue:default") if redis.exists(key)] == []
    [start], [done] = events.named("job.start"), events.named("job.done")
    assert start == {"jid": jid, "job": "w.record", "queue": "default"}
    assert done["seconds"] >= 0


def test_a_job_that_raises_is_retried(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    before = time.time()
    with run_worker():
        jid = fail.perform_async("boom é x")
        wait_until(settled(redis, 1), "the failure counted")
    [member] = members(redis, "retry")
    assert counted(redis) == (1, 1)
    assert list(member)[-5:] == ["error_message", "error_class", "failed_at", "retry_count", "error_backtrace"]
    assert (member["jid"], member["queue"], member["retry"]) == (jid, "default", True)
    assert (member["error_message"], member["error_class"], member["retry_count"]) == ("boom é x", "ValueError", 0)
    assert before - 1 < member["failed_at"] < time.time() + 1
    assert decode_backtrace(member["error_backtrace"])[0].endswith(":in `fail'")
    entries: Any = redis.zrange("retry", 0, -1, withscores=True)
    [(_, due)] = entries
    assert 15 <= round(due - member["failed_at"], 3) <= 24
    [line] = events.named("job.failed")
    assert line["error"] == "ValueError: boom é x"


def test_what_a_job_does_to_its_arguments_is_not_retried(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker():
        spoil.perform_async(["fresh"])
        wait_until(settled(redis, 1), "the failure counted")
    assert members(redis, "retry")[0]["args"] == [["fresh"]]


def test_a_number_that_cannot_be_read_costs_neither_the_job_nor_its_bytes(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    """Ruby reads it as infinite. A run does not need the field, but the entry of a failed job does."""
    with run_worker():
        push_raw(b'{"class":"w.record","args":[1],"jid":"a","retry":true,"odd":1e999}')
        raw = push_raw(b'{"class":"w.fail","args":["x"],"jid":"b","retry":true,"odd":1e999}')
        wait_until(settled(redis, 1), "the good one done")
        wait_until(lambda: redis.zrange("dead", 0, -1) == [raw], "the failed one in the dead set as it is")
    assert calls == [(1,)]


def test_a_job_whose_attempts_are_used_up_is_dead(
    run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "retry_delay", lambda count, jitter: 0.0)
    with run_worker():
        fail_twice.perform_async()
        wait_until(settled(redis, 2), "both attempts counted")
    [member] = members(redis, "dead")
    assert calls == [1, 2]
    assert counted(redis) == (2, 2)
    assert (member["retry_count"], member["error_message"]) == (1, "always")
    assert member["failed_at"] < member["enqueued_at"] < member["retried_at"]
    assert not redis.exists("retry")


def test_without_retries_a_job_is_dead_at_once(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker():
        fail_for_good.perform_async()
        wait_until(settled(redis, 1), "the failure counted")
    [member] = members(redis, "dead")
    assert (member["retry_count"], "retried_at" in member) == (0, False)


@pytest.mark.parametrize("job", [fail_and_forget, fail_without_grave])
def test_a_job_that_may_be_dropped_is_dropped_logged_and_counted(
    job: Any, run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    with run_worker():
        job.perform_async()
        wait_until(settled(redis, 1), "the failure counted")
    assert counted(redis) == (1, 1)
    assert not redis.exists("retry", "dead")
    assert len(events.named("job.discarded")) == 1


@pytest.mark.parametrize("kind", ["exit", "interrupt", "generator"])
def test_a_job_that_ends_its_thread_is_a_failed_job(kind: str, run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(concurrency=1):
        leave.perform_async(kind)
        record.perform_async("after")
        wait_until(settled(redis, 2), "both counted")
    assert counted(redis) == (2, 1)
    assert calls == [("after",)]
    assert len(members(redis, "retry")) == 1


def test_an_error_without_words_is_a_failure_like_any_other(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker():
        mute.perform_async()
        wait_until(settled(redis, 1), "the failure counted")
    assert members(redis, "retry")[0]["error_message"] == "(its message cannot be shown: RuntimeError)"
    assert not redis.exists("dead")


def test_arguments_that_no_longer_fit_are_a_failure(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    with run_worker():
        push_raw({"class": "w.keyword", "args": [1, 2, 3], "jid": "a", "retry": True})
        wait_until(settled(redis, 1), "the failure counted")
    assert members(redis, "retry")[0]["error_class"] == "TypeError"


@pytest.mark.parametrize(
    "raw",
    [
        b"{bad json",
        b"",
        b"\xff\xfe",
        b"[1]",
        b'"str"',
        b"null",
        b"{}",
        b'{"args":[]}',
        b'{"class":5,"args":[]}',
        b'{"class":"w.record","args":{}}',
        b'{"class":"w.record","args":[],"kwargs":[]}',
        b'{"class":"w.record","args":[NaN]}',
        b'{"class":"w.record","args":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_what_is_no_job_goes_to_the_dead_set_as_it_is(
    raw: bytes, run_worker: RunWorker, redis: Redis, push_raw: PushRaw, events: Events
) -> None:
    with run_worker(concurrency=1):
        push_raw(raw)
        record.perform_async("after")
        wait_until(settled(redis, 1), "the job after it")
        assert redis.zrange("dead", 0, -1) == [raw]
    assert counted(redis) == (1, 0)
    assert calls == [("after",)]
    assert len(events.named("job.buried")) == 1


def test_a_job_that_cannot_be_written_again_costs_neither_itself_nor_its_thread(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    """JSON just deep enough to be read may be too deep to be written from a deeper stack."""

    def too_deep(payload: object) -> bytes:
        raise RecursionError("maximum recursion depth exceeded")

    with run_worker(concurrency=1):
        with monkeypatch.context() as patched:
            patched.setattr(payload, "encode", too_deep)
            raw = push_raw({"class": "w.fail", "args": ["x"], "jid": "deep"})
            wait_until(lambda: redis.exists("dead") and in_progress(redis) == 0, "its bytes in the dead set")
        push_raw({"class": "w.record", "args": ["after"], "jid": "after"})
        wait_until(settled(redis, 1), "the job after it")
    assert redis.zrange("dead", 0, -1) == [raw]
    assert len(events.named("job.defect")) == 1


def test_a_thread_survives_what_nobody_foresaw(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    with run_worker(concurrency=1) as worker:
        [processor] = worker._pools[0].processors
        first, order = threading.Event(), processor._next

        def odd(thread: int, ran: float | None) -> Any:
            if not first.is_set():
                first.set()
                raise RuntimeError("odd")
            return order(thread, ran)

        processor._next = odd
        record.perform_async(1)
        wait_until(first.is_set, "the fault")
        record.perform_async(2)
        wait_until(settled(redis, 2), "both done")
    assert [values["component"] for values in events.named("component.failed")] == ["jobd-default-1"]


def test_a_reply_that_makes_no_sense_is_asked_for_again(
    run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    """The call was carried out: the second one must neither take nor count anything anew."""
    send, garbled = scripts.send, threading.Event()

    def garble(connection: Any, call: Call[Any]) -> Any:
        reply = send(connection, call)
        if call.script is scripts.load("fetch") and calls == [(1,)] and not garbled.is_set():
            garbled.set()
            raise InvalidResponse("protocol error")
        return reply

    monkeypatch.setattr(scripts, "send", garble)
    with run_worker(concurrency=1):
        record.perform_bulk([(1,), (2,), (3,)])
        wait_until(settled(redis, 3), "all done")
    assert garbled.is_set()
    assert calls == [(1,), (2,), (3,)]
    assert not {"component.failed", "owner.resynced"} & set(events.names)
    assert counted(redis) == (3, 0)


def test_json_in_sidekiqs_format_pushed_by_a_bare_client_runs(run_worker: RunWorker, redis: Redis) -> None:
    by_hand = (
        b'{"retry":5,"queue":"critical","tags":["alpha","eu"],"args":[1,"two",{"three":3.5},null,[true]],'
        b'"class":"w.record","jid":"0ed6022fbd4af2e586ac10c8","created_at":1795305669.9258788,'
        b'"enqueued_at":1795305669.9260654}'
    )
    with run_worker(queues=(("critical", 0),)):
        redis.sadd("queues", "critical")
        redis.lpush("queue:critical", by_hand)
        wait_until(settled(redis, 1), "the job done")
    [job] = seen
    assert calls == [(1, "two", {"three": 3.5}, None, [True])]
    assert (job.jid, job.name, job.queue, job.attempt) == ("0ed6022fbd4af2e586ac10c8", "w.record", "critical", 1)
    assert (job.tags, job.enqueued_at) == (("alpha", "eu"), 1795305669.9260654)
    assert job.payload == json.loads(by_hand)
    with pytest.raises(TypeError):
        job.payload["retry"] = 6  # type: ignore[index]  # that it cannot is what is tested
    with pytest.raises(AttributeError):
        job.queue = "other"  # type: ignore[misc]  # likewise


def test_sidekiq_8s_job_runs_too(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    with run_worker() as worker:
        push_raw(
            b'{"retry":5,"queue":"default","retry_for":7200,"class":"w.record","args":[2],"jid":"85","retry_count":3,'
            b'"created_at":1795305954660,"enqueued_at":1795305954661,"failed_at":1795305954813}'
        )
        wait_until(settled(redis, 1), "the job done")
    assert (seen[0].enqueued_at, seen[0].attempt) == (1795305954.661, 5)
    assert abs(worker.page.waits()["default"].seconds - max(time.time() - 1795305954.661, 0.0)) < 10


def test_a_job_of_the_class_alone_runs_and_is_given_an_id(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    with run_worker():
        push_raw({"class": "w.record"})
        wait_until(settled(redis, 1), "the job done")
    assert calls == [()]
    assert len(seen[0].jid) == 24


def test_equal_jobs_without_an_id_fail_as_so_many(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    """Equal members of a set are one: without an id, all but one would be lost."""
    with run_worker(timestamps="ms"):
        for _ in range(20):
            push_raw({"class": "w.fail", "args": ["x"]})
            push_raw({"class": "w.nobody"})
        wait_until(settled(redis, 20), "the failures counted")
        wait_until(lambda: redis.zcard("retry") == 40, "all in the retry set")
    assert all(isinstance(member["args"], list) for member in members(redis, "retry"))


@pytest.mark.parametrize("absent", [{}, {"retry": None}])
def test_without_the_option_retry_the_jobs_own_options_hold(
    absent: dict[str, Any], run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    with run_worker():
        push_raw({"class": "w.fail_for_good", "args": [], "jid": "a", **absent})
        wait_until(settled(redis, 1), "the failure counted")
    assert [(m["jid"], m["retry"]) for m in members(redis, "dead")] == [("a", 0)]


def test_under_them_are_the_default_options(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    jobd.default_options(retry=0, team="mail")
    with run_worker():
        push_raw({"class": "w.fail", "args": ["x"], "jid": "a"})
        wait_until(settled(redis, 1), "the failure counted")
    [member] = members(redis, "dead")
    assert (member["retry"], member["team"], member["backtrace"]) == (0, "mail", True)


def test_keyword_arguments_travel(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker():
        keyword.perform_async(7, locale="vi")
        wait_until(settled(redis, 1), "the job done")
    assert calls == [(7, "vi")]


@pytest.mark.parametrize(
    "wrapper", ["Sidekiq::ActiveJob::Wrapper", "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"]
)
def test_an_active_job_is_run_by_its_own_name(
    wrapper: str, run_worker: RunWorker, redis: Redis, push_raw: PushRaw
) -> None:
    serialised = {"job_class": "w.record", "job_id": "0b7d", "arguments": [1, "two"], "executions": 0}
    with run_worker():
        push_raw({"class": wrapper, "wrapped": "w.record", "args": [serialised], "jid": "aj", "retry": True})
        wait_until(settled(redis, 1), "the job done")
    assert calls == [(1, "two")]
    assert seen[0].name == "w.record"


def test_a_class_that_is_not_known_yet_waits_for_it(
    run_worker: RunWorker, redis: Redis, push_raw: PushRaw, events: Events
) -> None:
    with run_worker(concurrency=3):
        for number in range(6):
            push_raw({"class": "w.later", "args": [number], "jid": f"j{number}", "retry": 3, "queue": "default"})
        wait_until(lambda: redis.zcard("retry") == 6, "all deferred")
        assert counted(redis) == (0, 0)
        assert len(events.named("job.unknown_class")) == 1
        assert all(m["unknown_since"] and "retry_count" not in m for m in members(redis, "retry"))

        @jobd.job(name="w.later")
        def later(number: int) -> None:
            raise ValueError("known now")

        deferred: Any = redis.zrange("retry", 0, -1)
        redis.zadd("retry", dict.fromkeys(deferred, 1.0))
        wait_until(settled(redis, 6), "all run")
        assert all("unknown_since" not in m and m["retry_count"] == 0 for m in members(redis, "retry"))


def test_after_a_day_an_unknown_class_is_dead(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    with run_worker():
        since = time.time() - 24 * 3600 - 1
        push_raw({"class": "w.never", "args": [], "jid": "a", "retry": True, "unknown_since": since})
        wait_until(settled(redis, 1), "the job dead")
    [member] = members(redis, "dead")
    assert "no process knew the job 'w.never'" in member["error_message"]
    assert counted(redis) == (1, 1)


def test_middleware_is_around_each_run_in_order(run_worker: RunWorker, redis: Redis) -> None:
    def around(name: str) -> Callable[[jobd.RunningJob, Callable[[], Any]], Any]:
        def call(job: jobd.RunningJob, proceed: Callable[[], Any]) -> Any:
            calls.append(f"{name} before {job.args[0]}")
            result = proceed()
            calls.append(f"{name} after")
            return result

        return call

    jobd.configure(server_middleware=[around("outer"), around("inner")])
    with run_worker():
        record.perform_async("x")
        wait_until(settled(redis, 1), "the job done")
    assert calls == ["outer before x", "inner before x", ("x",), "inner after", "outer after"]


def test_middleware_may_skip_a_job_which_then_is_done(run_worker: RunWorker, redis: Redis) -> None:
    jobd.configure(server_middleware=[lambda job, proceed: None])
    with run_worker():
        record.perform_async()
        wait_until(settled(redis, 1), "the job done")
    assert calls == []
    assert counted(redis) == (1, 0)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_middleware_that_raises_fails_the_job(error: BaseException, run_worker: RunWorker, redis: Redis) -> None:
    def refuse(job: jobd.RunningJob, proceed: Callable[[], Any]) -> Any:
        proceed()
        raise error

    jobd.configure(server_middleware=[refuse])
    with run_worker():
        record.perform_async()
        wait_until(settled(redis, 1), "the failure counted")
    assert len(calls) == 1
    assert members(redis, "retry")[0]["error_class"] == type(error).__name__


def test_a_job_knows_itself_and_nobody_else_does(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker():
        jid = record.set(queue="default", tags=["a"]).perform_async(1, x=2)
        wait_until(settled(redis, 1), "the job done")
    [job] = seen
    assert (job.jid, job.args, job.kwargs, job.attempt, job.tags) == (jid, [1], {"x": 2}, 1, ("a",))
    with pytest.raises(jobd.JobdError):
        jobd.current_job()


def test_an_attempt_is_counted_from_one(run_worker: RunWorker, redis: Redis, push_raw: PushRaw, events: Events) -> None:
    with run_worker(concurrency=1):
        for number, count in enumerate([None, 0, 4, -1]):
            fields = {"class": "w.record", "args": [number], "jid": str(number)}
            push_raw(fields if count is None else {**fields, "retry_count": count})
        wait_until(settled(redis, 4), "all done")
    assert [job.attempt for job in seen] == [1, 2, 6, 1]
    assert [line.get("attempt") for line in events.named("job.start")] == [None, 2, 6, None]


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("debug", ["job.start", "job.failed"]),
        ("warning", ["job.failed"]),
        ("error", []),
        ("fatal", []),
        ("nonsense", ["job.start", "job.failed"]),
    ],
)
def test_a_job_may_have_a_log_level_of_its_own(
    level: str, names: list[str], run_worker: RunWorker, redis: Redis, push_raw: PushRaw, events: Events
) -> None:
    with run_worker():
        push_raw({"class": "w.fail", "args": ["x"], "jid": "a", "retry": True, "log_level": level})
        wait_until(settled(redis, 1), "the failure counted")
    assert [name for name in events.names if name.startswith("job.")] == names


def test_the_statistics_are_exact(run_worker: RunWorker, redis: Redis, push_raw: PushRaw) -> None:
    with run_worker(concurrency=8):
        record.perform_bulk([(i,) for i in range(200)])
        fail.perform_bulk([(str(i),) for i in range(50)])
        for job in (fail_for_good, fail_and_forget, fail_without_grave):
            job.perform_bulk([() for _ in range(10)])
        push_raw(b"[1]")
        push_raw({"class": "w.unheard_of", "args": [], "jid": "u"})
        wait_until(settled(redis, 280), "all counted")
        wait_until(lambda: redis.zcard("retry") == 51, "the unknown one deferred")
        wait_until(lambda: redis.zcard("dead") == 11, "the dead ones there")
    assert counted(redis) == (280, 80)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    assert (stat(redis, f"processed:{day}"), stat(redis, f"failed:{day}")) == (280, 80)
    assert 0 < redis.ttl(f"stat:processed:{day}") <= 157_680_000


def carry_out(call: Call[bool]) -> bool:
    connector = Connector(settings.redis_url())
    with connector.connection() as connection:
        answer = scripts.send(connection, call)
    connector.close()
    return answer


def test_a_paused_queue_waits_while_the_others_go_on(
    run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.client.defaults.MAX_WAIT", 60.0)
    with run_worker(queues=(("slow", 0), ("default", 0))):
        assert carry_out(scripts.pause(Keys(), "slow", "by a test"))
        record.set(queue="slow").perform_async("paused")
        record.perform_async("open")
        wait_until(settled(redis, 1), "the open queue's job")
        assert calls == [("open",)]
        assert redis.llen("queue:slow") == 1
        assert carry_out(scripts.resume(Keys(), "slow"))
        wait_until(settled(redis, 2), "the resumed queue's job", seconds=5)
    assert calls == [("open",), ("paused",)]


def test_strict_queues_are_emptied_one_after_the_other(run_worker: RunWorker, redis: Redis) -> None:
    jobd.configure(redis_url=settings.redis_url())
    for queue in ("low", "high"):
        record.set(queue=queue).perform_bulk([(queue, i) for i in range(5)])
    with run_worker(concurrency=1, queues=(("high", 0), ("low", 0))):
        wait_until(settled(redis, 10), "all done")
    assert calls == [(queue, i) for queue in ("high", "low") for i in range(5)]


def test_a_queue_that_is_no_list_is_reported_and_the_others_go_on(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    redis.set("queue:broken", "text")
    with run_worker(queues=(("broken", 0), ("default", 0))):
        record.perform_bulk([(i,) for i in range(20)])
        wait_until(settled(redis, 20), "all done")
    assert len(events.named("redis.damaged")) == 1
    assert redis.get("queue:broken") == b"text"


def test_as_many_jobs_run_at_once_as_there_are_threads_and_no_more(run_worker: RunWorker, redis: Redis) -> None:
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(6, timeout=10)

    @jobd.job(name="w.together")
    def meet() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1
        together.wait()

    with run_worker(concurrency=6) as worker:
        meet.perform_bulk([() for _ in range(24)])
        wait_until(settled(redis, 24), "all done")
        assert worker.running == []
    assert most == 6
    assert counted(redis) == (24, 0)


def test_a_capsule_has_threads_and_queues_of_its_own(run_worker: RunWorker, redis: Redis) -> None:
    ordered = Capsule(name="ordered", concurrency=1, queues=(("ordered", 0),))
    with run_worker(concurrency=2, capsules=(ordered,)) as worker:
        block.set(queue="ordered").perform_bulk([(i,) for i in range(3)])
        block.perform_bulk([(10,), (11,), (12,)])
        wait_until(lambda: sorted(calls) == [0, 10, 11], "one of the capsule and two others at work")
        assert len(worker.running) == 3
        assert (redis.llen("queue:ordered"), redis.llen("queue:default")) == (2, 1)
        release.set()
        wait_until(settled(redis, 6), "all done")
    assert [number for number in calls if number < 10] == [0, 1, 2]
    assert redis.zcard("jobd:procs") == 0


def test_what_a_thread_finished_is_acknowledged_while_others_still_work(
    run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.client.defaults.MAX_WAIT", 60.0)
    with run_worker(concurrency=2):
        block.perform_async(1)
        wait_until(lambda: calls == [1], "the long job at work")
        for number in range(5):
            record.perform_async(number)
            # mypy infers no type for a lambda with a default
            wait_until(lambda wanted=number + 1: stat(redis, "processed") == wanted, "the short job counted")  # type: ignore[misc]
            assert in_progress(redis) == 1
        release.set()
