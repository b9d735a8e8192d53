"""The sets of scheduled, failed and dead jobs, in which both sides reach."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest
from redis import Redis

import jobd
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console, RubyError
from tests.interop.test_failures import make_due, members, the_only
from tests.waiting import wait_until

MANY = 1_000


def test_rubys_poller_takes_what_python_scheduled(
    client: jobd.Client, sidekiq: StartSidekiq, seen: Seen, redis: Redis
) -> None:
    at = time.time() + 1.5
    jid = client.push({"class": "RubySeen", "args": ["later"], "queue": "ruby", "at": at, "tags": ["t"], "x": {"y": 1}})
    sidekiq("ruby")
    [call] = seen.wait(1)
    assert (call["by"], call["jid"]) == ("ruby", jid)
    assert time.time() >= at
    assert not redis.exists("schedule")


def test_jobds_scheduler_takes_what_ruby_scheduled(
    ruby: Console, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    """With its bytes changed in nothing but what a move adds."""
    jid = ruby("RubySeen.set(queue: 'nobody').perform_in(1, 'é', {'a' => 1e20})")
    [(before, score)] = members(redis, "schedule")
    found: Any = redis.zrange("schedule", 0, -1)
    start_jobd()
    wait_until(lambda: redis.llen("queue:nobody") == 1, "the move")
    assert time.time() >= score
    moved: Any = redis.lindex("queue:nobody", 0)
    after = json.loads(moved)
    assert after.pop("enqueued_at") >= score
    assert (after, after["jid"]) == (before, jid)
    assert list(after) == list(json.loads(found[0]))
    assert redis.smembers("queues") == {b"nobody"}


def test_beside_rubys_pollers_each_job_runs_once(
    client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    """A thousand scheduled and a thousand to be retried, half for each side, two hundred due at a time."""
    rubies = [sidekiq("ruby", poll=0.02), sidekiq("ruby", poll=0.02)]
    ours = start_jobd(processes=2)
    begin = time.time() + 1.5
    for number in range(MANY):
        name, queue = (("RubySeen", "ruby"), ("PythonSeen", "python"))[number % 2]
        due = begin + number // 100 * 0.3
        item = {"class": name, "queue": queue, "at": due}
        client.push({**item, "args": [f"scheduled {number}"]})
        payload = {"class": name, "queue": queue, "retry": True, "retry_count": 0, "failed_at": begin - 16.5}
        extra = {"jid": f"{number:024x}", "args": [f"retried {number}"], "created_at": begin - 20.5}
        redis.zadd("retry", {json.dumps({**payload, **extra}, separators=(",", ":")): due})
    calls = seen.wait(2 * MANY, 40)
    assert ours.stop() == 0
    assert [ruby.stop() for ruby in rubies] == [0, 0]
    assert seen.all() == calls
    wanted = {f"{kind} {number}": 1 for kind in ("scheduled", "retried") for number in range(MANY)}
    assert Counter(call["args"][0] for call in calls) == wanted
    assert {(call["by"], int(call["args"][0].split()[1]) % 2) for call in calls} == {("ruby", 0), ("python", 1)}
    assert not redis.exists("schedule", "retry", "dead", "queue:ruby", "queue:python")
    assert (redis.get("stat:processed"), redis.get("stat:failed")) == (b"2000", b"0")
    moved: Any = redis.hvals("moved")
    assert 0 < sum(map(int, moved)) < 2 * MANY, "one side has moved them all"


def test_ruby_revives_what_died_in_python(
    ruby: Console, client: jobd.Client, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    start_jobd()
    jid = client.push({"class": "BothBreak", "args": ["no"], "queue": "python", "retry": 1})
    the_only(redis, "retry")
    make_due(redis)
    dead, _ = the_only(redis, "dead")
    assert dead["retry_count"] == 1
    assert ruby("Sidekiq::DeadSet.new.find_job(jid).retry", jid=jid)
    assert [call["jid"] for call in seen.wait(3)] == [jid] * 3
    # A retry by hand costs no attempt: its failure is the last one again.
    again, _ = the_only(redis, "dead")
    assert again["retry_count"] == 1
    assert again["failed_at"] == dead["failed_at"]
    assert again["retried_at"] > dead["retried_at"]


def test_ruby_moves_deletes_and_kills_what_python_put_into_the_sets(
    ruby: Console, client: jobd.Client, redis: Redis
) -> None:
    """By the exact bytes of a member, which it writes anew: nothing may be left behind or doubled."""
    later = time.time() + 3600
    for number, text in enumerate(("é", "a/b <c> \u2028", {"nested": [1.5, None]})):
        client.push({"class": "Any", "args": [text], "jid": f"j{number}", "at": later, "queue": "q"})
    ruby("Sidekiq::ScheduledSet.new.each { |entry| entry.reschedule(Time.at(at)) }", at=later + 60)
    assert [score for _, score in members(redis, "schedule")] == [later + 60] * 3
    ruby("Sidekiq::ScheduledSet.new.find_job('j0').delete")
    ruby("Sidekiq::ScheduledSet.new.find_job('j1').kill")
    ruby("Sidekiq::ScheduledSet.new.find_job('j2').add_to_queue")
    assert not redis.exists("schedule")
    assert [job["jid"] for job, _ in members(redis, "dead")] == ["j1"]
    queued: Any = redis.lrange("queue:q", 0, -1)
    assert [json.loads(raw)["args"] for raw in queued] == [[{"nested": [1.5, None]}]]


def test_ruby_lists_what_no_side_can_run(ruby: Console, start_jobd: StartJobd, redis: Redis) -> None:
    """Bytes that are no job end in `dead` as they are, where Ruby shows and deletes them."""
    start_jobd()
    for raw in (b"{bad json", b"{}"):
        redis.lpush("queue:python", raw)
    wait_until(lambda: redis.zcard("dead") == 2, "the burials")
    assert sorted(ruby("Sidekiq::DeadSet.new.map(&:value)")) == ["{bad json", "{}"]
    ruby("Sidekiq::DeadSet.new.each(&:delete)")
    assert redis.zcard("dead") == 0


def test_json_that_is_no_object_is_kept_though_ruby_cannot_list_it(
    ruby: Console, start_jobd: StartJobd, redis: Redis
) -> None:
    """Ruby would have lost it: its reader raises on it wherever it stands. So it stays until it is removed by value."""
    start_jobd()
    redis.lpush("queue:python", b"[1]")
    wait_until(lambda: redis.zcard("dead") == 1, "the burial")
    with pytest.raises(RubyError, match="TypeError"):
        ruby("Sidekiq::DeadSet.new.map(&:value)")
    assert redis.zrem("dead", b"[1]") == 1


def test_on_a_queue_that_both_serve_no_job_is_lost(
    client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    """jobd lets a class wait that it does not know; Ruby fails at it, 26 times if it comes first each time."""
    sidekiq("mixed")
    start_jobd(queues=["mixed"])
    for name in ("RubySeen", "PythonSeen") * 20:
        client.push({"class": name, "args": [], "queue": "mixed"})
    deadline = time.monotonic() + 40
    while len(seen.all()) + redis.zcard("dead") < 40:
        assert time.monotonic() < deadline
        if redis.exists("retry"):
            make_due(redis)
    counts = Counter((call["by"], call["class"]) for call in seen.all())
    dead = [job for job, _ in members(redis, "dead")]
    assert counts[("ruby", "RubySeen")] == 20
    assert counts[("python", "PythonSeen")] + len(dead) == 20
    assert counts.total() + len(dead) == 40
    assert {(job["class"], job["error_class"]) for job in dead} <= {("PythonSeen", "NameError")}
