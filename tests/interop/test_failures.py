"""Jobs that fail on one side: what stands in Redis then, and that the other side takes them from there."""

from __future__ import annotations

import base64
import json
import time
import zlib
from functools import partial
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.payload import decode_backtrace
from jobd.worker.retry import retry_delay
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console
from tests.waiting import wait_until

QUEUE = {"ruby": "ruby", "python": "python"}
TIMES = {"created_at", "enqueued_at", "failed_at", "retried_at"}


def members(redis: Redis, key: str) -> list[tuple[dict[str, Any], float]]:
    """The payloads of a sorted set, with their scores."""
    found: Any = redis.zrange(key, 0, -1, withscores=True)
    return [(json.loads(raw), score) for raw, score in found]


def make_due(redis: Redis, key: str = "retry") -> None:
    """Let all members of a set be due."""
    redis.zunionstore(key, {key: 0})


def holds_two(redis: Redis, key: str) -> bool:
    """Whether a set has two members."""
    return redis.zcard(key) == 2


def the_only(redis: Redis, key: str) -> tuple[dict[str, Any], float]:
    """The one member of a sorted set, as soon as it is there."""
    wait_until(lambda: redis.zcard(key) == 1, f"a job in {key}", 20)
    return members(redis, key)[0]


def test_python_finishes_what_ruby_failed_at(
    ruby: Console, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    process = sidekiq("ruby")
    jid = ruby("RubyBreaks.set(queue: 'ruby').perform_async('x')")
    failed, score = the_only(redis, "retry")
    assert (failed["error_class"], failed["error_message"]) == ("ArgumentError", "boom é x")
    assert failed["queue"] == "python"
    assert 15 <= score - failed["failed_at"] < 25
    process.close()
    ruby("Sidekiq::RetrySet.new.find_job(jid).reschedule(Time.now)", jid=jid)
    assert redis.zcard("retry") == 1
    start_jobd()
    [call] = seen.wait(1)
    assert (call["by"], call["class"], call["args"], call["jid"]) == ("python", "RubyBreaks", ["x"], jid)


def test_ruby_finishes_what_python_failed_at(
    ruby: Console, client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    process = start_jobd()
    options = {"queue": "python", "backtrace": 2, "retry_queue": "ruby"}
    jid = client.push({"class": "PythonBreaks", "args": ["x"], **options})
    failed, score = the_only(redis, "retry")
    assert process.stop() == 0
    assert (failed["error_class"], failed["error_message"]) == ("ValueError", "boom é x")
    assert failed["queue"] == "ruby"
    assert 15 <= score - failed["failed_at"] < 25
    shown = ruby("e = Sidekiq::RetrySet.new.find_job(jid); [e.error_backtrace, e.at.to_f, e['retry_count']]", jid=jid)
    assert shown == [decode_backtrace(failed["error_backtrace"]), score, 0]
    assert "python_breaks" in shown[0][0]
    ruby("Sidekiq::RetrySet.new.find_job(jid).reschedule(Time.now)", jid=jid)
    assert redis.zcard("retry") == 1
    sidekiq("ruby")
    [call] = seen.wait(1)
    assert (call["by"], call["class"], call["args"], call["jid"]) == ("ruby", "PythonBreaks", ["x"], jid)


def test_the_same_failures_leave_the_same_fields(
    ruby: Console, client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, redis: Redis
) -> None:
    """A job with two retries runs three times on either side: names, types, order, and all values but times."""
    sidekiq("ruby", poll=30)
    start_jobd()
    item = {"class": "BothBreak", "args": ["wrong é"], "retry": 2, "backtrace": 2, "tags": ["t"]}
    for queue in QUEUE:
        client.push({**item, "queue": queue})
    for count in (0, 1, 2):
        key = "dead" if count == 2 else "retry"
        wait_until(partial(holds_two, redis, key), f"both failed for the {count + 1}. time", 20)
        found = {job["queue"]: (job, score) for job, score in members(redis, key)}
        (theirs, their_score), (ours, our_score) = found["ruby"], found["python"]
        assert list(ours) == list(theirs)
        assert {name: type(value) for name, value in ours.items()} == {
            name: type(value) for name, value in theirs.items()
        }
        differ = {name for name in ours if ours[name] != theirs[name]}
        assert differ <= TIMES | {"jid", "queue", "error_backtrace"}
        assert (ours["retry_count"], ours["error_class"], ours["error_message"]) == (count, "RuntimeError", "wrong é")
        for job, score in ((theirs, their_score), (ours, our_score)):
            last = job["retried_at"] if count else job["failed_at"]
            waited = score - last
            assert (waited < 1) if key == "dead" else (retry_delay(count, 0) <= waited < retry_delay(count, 1) + 1)
            assert len(decode_backtrace(job["error_backtrace"])) <= 2
        if key == "retry":
            # Through Ruby's own scheduler, which writes what it moves anew.
            make_due(redis)
            ruby("Sidekiq::Scheduled::Enq.new.enqueue_jobs(['retry'])")


def test_backtraces_are_read_by_the_other_side(ruby: Console) -> None:
    lines = ["/srv/app/é.rb:1:in `deep'", "b"]
    theirs = ruby("Sidekiq::JobRetry.new.send(:compress_backtrace, lines)", lines=lines)
    assert "\n" in theirs
    assert decode_backtrace(theirs) == lines
    ours = base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()
    assert ruby("Sidekiq::JobRecord.new({'error_backtrace' => text}).error_backtrace", text=ours) == lines


@pytest.mark.parametrize(("retry", "runs"), [(0, 1), (1, 2), (3, 4)])
def test_a_job_runs_once_more_than_it_is_retried(
    retry: int, runs: int, client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    sidekiq("ruby")
    start_jobd()
    for queue in QUEUE:
        client.push({"class": "BothBreak", "args": ["no"], "queue": queue, "retry": retry})
    deadline = time.monotonic() + 30
    while redis.zcard("dead") < 2:
        assert time.monotonic() < deadline
        if redis.exists("retry"):
            make_due(redis)
    assert [job["retry_count"] for job, _ in members(redis, "dead")] == [retry, retry]
    assert sorted(call["by"] for call in seen.all()) == ["python"] * runs + ["ruby"] * runs


def test_the_last_of_25_retries_is_the_last_for_both(
    client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, redis: Redis
) -> None:
    sidekiq("ruby", poll=30)
    start_jobd()
    for queue in QUEUE:
        for count in (23, 24):
            client.push({"class": "BothBreak", "args": ["no"], "queue": queue, "retry_count": count, "failed_at": 1.5})
    wait_until(lambda: (redis.zcard("retry"), redis.zcard("dead")) == (2, 2), "all four failed", 20)
    assert [job["retry_count"] for job, _ in members(redis, "retry")] == [24, 24]
    assert [job["retry_count"] for job, _ in members(redis, "dead")] == [25, 25]
    for job, score in members(redis, "retry"):
        assert 24**4 + 15 <= score - job["retried_at"] < 24**4 + 15 + 250
        assert job["failed_at"] == 1.5


@pytest.mark.parametrize("option", [{"retry": False}, {"retry": 0, "dead": False}], ids=str)
def test_what_is_not_kept_is_kept_by_neither(
    option: dict[str, Any], client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    theirs, ours = sidekiq("ruby"), start_jobd()
    for queue in QUEUE:
        client.push({"class": "BothBreak", "args": ["no"], "queue": queue, **option})
    seen.wait(2)
    assert [theirs.stop(), ours.stop()] == [0, 0]
    assert not redis.exists("retry", "dead", "queue:ruby", "queue:python")
    assert (redis.get("stat:processed"), redis.get("stat:failed")) == (b"2", b"2")
