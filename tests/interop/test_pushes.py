"""Jobs that one side pushes and the other runs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

import jobd
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console

ARGUMENTS: list[Any] = [
    7,
    -(2**63),
    12345678901234567890123456789012345,
    1.5,
    -0.0,
    1e20,
    5e-324,
    'é 日本 🎉 \u2028 \u0000 " \\ </script>',
    None,
    True,
    [],
    {},
    {"a": [1, {"b": [[None, {"c": "d"}]]}], "": " "},
]


def payloads(redis: Redis, queue: str) -> list[dict[str, Any]]:
    found: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(raw) for raw in reversed(found)]


def test_ruby_runs_what_python_pushes(sidekiq: StartSidekiq, client: jobd.Client, seen: Seen) -> None:
    sidekiq("ruby")
    jid = client.push({"class": "RubySeen", "args": ARGUMENTS, "queue": "ruby", "tags": ["é"], "custom": {"x": [1]}})
    [call] = seen.wait(1)
    assert (call["by"], call["class"], call["jid"]) == ("ruby", "RubySeen", jid)
    assert repr(call["args"]) == repr(ARGUMENTS)


def test_python_runs_what_ruby_pushes(ruby: Console, start_jobd: StartJobd, seen: Seen) -> None:
    """Ruby need not know the class, nor that the other side is not Ruby."""
    start_jobd()
    jid = ruby("Sidekiq::Client.push('class' => 'PythonSeen', 'args' => given, 'queue' => 'python')", given=ARGUMENTS)
    [call] = seen.wait(1)
    assert (call["by"], call["class"], call["jid"]) == ("python", "PythonSeen", jid)
    assert repr(call["args"]) == repr(ARGUMENTS)


def test_both_sides_write_the_same_payload(ruby: Console, client: jobd.Client, redis: Redis) -> None:
    item = {
        "class": "Any",
        "args": [1, {"a": 1.5}],
        "queue": "both",
        "retry": 5,
        "tags": ["a"],
        "backtrace": 3,
        "x": {},
    }
    client.push(item)
    ruby("Sidekiq::Client.push(item)", item=item)
    ours, theirs = payloads(redis, "both")
    assert set(ours) == set(theirs)
    assert {name: type(value) for name, value in ours.items()} == {name: type(value) for name, value in theirs.items()}
    for name in set(item):
        assert ours[name] == theirs[name] == item[name]
    assert (len(ours["jid"]), list(ours)[:2]) == (len(theirs["jid"]), list(theirs)[:2])
    assert list(ours)[-3:] == list(theirs)[-3:] == ["jid", "created_at", "enqueued_at"]
    assert redis.smembers("queues") == {b"both"}


def test_bulk_pushes_arrive_in_order(ruby: Console, client: jobd.Client, redis: Redis) -> None:
    numbers = [[number] for number in range(2_500)]
    client.push_bulk({"class": "Any", "args": numbers, "queue": "ours"})
    found = ruby("Sidekiq::Queue.new('ours').map { |job| [job.klass, job.args, job.jid] }.reverse")
    assert [args for _, args, _ in found] == numbers
    assert len({jid for _, _, jid in found}) == 2_500
    ruby("Sidekiq::Client.push_bulk('class' => 'Any', 'args' => numbers, 'queue' => 'theirs')", numbers=numbers[:1000])
    assert [job["args"] for job in payloads(redis, "theirs")] == numbers[:1000]


@pytest.mark.parametrize("pushing", ["ruby", "python"])
def test_scheduled_jobs_run_at_their_time_whoever_pushed_them(
    pushing: str, ruby: Console, client: jobd.Client, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    start_jobd()
    at = time.time() + 1.0
    item = {"class": "PythonSeen", "args": [pushing], "queue": "python", "at": at}
    if pushing == "ruby":
        ruby("Sidekiq::Client.push(item)", item=item)
    else:
        client.push(item)
    found: Any = redis.zrange("schedule", 0, -1, withscores=True)
    [(raw, score)] = found
    assert score == at
    assert not {"at", "enqueued_at"} & set(json.loads(raw))
    seen.wait(1)
    assert time.time() >= at


def test_options_of_a_job_reach_ruby(ruby: Console) -> None:
    @jobd.job(name="Options", queue="low", retry=3, tags=["a", "b"], backtrace=True, extra=[1])
    def options(first: int, second: str = "x") -> None:
        """Never run."""

    jobd.configure(redis_url=ruby("ENV['INTEROP_URL']"))
    options.set(queue="high").perform_async(1, second="é")
    [job] = ruby("Sidekiq::Queue.new('high').map { |job| job.item }")
    wanted = {"class": "Options", "args": [1, "é"], "retry": 3, "tags": ["a", "b"], "backtrace": True, "extra": [1]}
    assert {name: job[name] for name in wanted} == wanted
    latency = ruby("Sidekiq::Queue.new('high').latency")
    assert 0 <= latency < 10
