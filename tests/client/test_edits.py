"""A job run again with other arguments is a job of its own, and none is lost or run twice on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from jobd.client.edits import edited_job, run_edited
from jobd.client.errors import InvalidArguments, MalformedPayload, RedisRefused
from jobd.client.push import Client
from jobd.client.queues import Queue, QueueEntry
from jobd.client.sets import DeadSet, RetrySet, SetEntry
from tests.client.api import payload, user_without

FAILED: dict[str, Any] = {
    "queue": "low",
    "args": [1],
    "kwargs": {"to": "ann"},
    "retry": 5,
    "tags": ["vip"],
    "own": {"a": 1},
    "retry_count": 3,
    "failed_at": 5.5,
    "retried_at": 6.5,
    "error_class": "Boom",
    "error_message": "no",
    "edited_into": "later",
}


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    """A client of the empty database."""
    made = Client(redis_url)
    yield made
    made.close()


def jobs(redis: Redis, queue: str) -> list[dict[str, Any]]:
    """What waits in a queue, the newest first."""
    return [json.loads(raw) for raw in redis.lrange(f"queue:{queue}", 0, -1)]


def test_class_queue_and_options_stay_and_the_past_does_not() -> None:
    queue, raw = edited_job(json.loads(payload("old", **FAILED)), [2, "x"], {}, "new", 9.5, "s")
    told = json.loads(raw)
    assert queue == "low"
    assert (told["class"], told["retry"], told["tags"], told["own"]) == ("HardJob", 5, ["vip"], {"a": 1})
    assert (told["args"], told["jid"], told["edited_from"]) == ([2, "x"], "new", "old")
    assert told["created_at"] == told["enqueued_at"] == 9.5
    gone = {"kwargs", "retry_count", "failed_at", "retried_at", "error_class", "error_message", "edited_into"}
    assert not gone & told.keys()


def in_retries(redis: Redis, client: Client) -> SetEntry:
    """A job that waits for its retry."""
    redis.zadd("retry", {payload("old", **FAILED): 1_795_305_716.7504678})
    [entry] = RetrySet(client)
    return entry


def in_its_queue(redis: Redis, client: Client) -> QueueEntry:
    """A job between two others."""
    redis.lpush("queue:low", payload("first"), payload("old", **FAILED), payload("last"))
    return list(Queue("low", client))[1]


def test_a_former_retry_is_removed_in_the_same_step(redis: Redis, client: Client) -> None:
    jid = run_edited(in_retries(redis, client), [2], {"to": "bob"}, delete=True)
    [made] = jobs(redis, "low")
    assert (made["jid"], made["args"], made["kwargs"]) == (jid, [2], {"to": "bob"})
    assert redis.zcard("retry") == 0
    assert redis.smembers("queues") == {b"low"}


def test_a_former_retry_that_is_kept_names_the_new_one_and_keeps_its_time(redis: Redis, client: Client) -> None:
    entry = in_retries(redis, client)
    jid = run_edited(entry, [2], delete=False)
    [kept] = RetrySet(client)
    assert (kept.score, kept.jid, kept.args) == (entry.score, "old", [1])
    assert kept.payload["edited_into"] == jid
    assert [each["edited_from"] for each in jobs(redis, "low")] == ["old"]


@pytest.mark.parametrize("delete", [True, False])
def test_a_former_job_of_a_queue_is_removed_or_keeps_its_place(redis: Redis, client: Client, delete: bool) -> None:
    jid = run_edited(in_its_queue(redis, client), [2], delete=delete)
    found = [each["jid"] for each in jobs(redis, "low")]
    assert found == ([jid, "last", "first"] if delete else [jid, "last", "old", "first"])
    if not delete:
        assert jobs(redis, "low")[2]["edited_into"] == jid


@pytest.mark.parametrize("delete", [True, False])
def test_of_a_job_that_is_gone_nothing_is_pushed(redis: Redis, client: Client, delete: bool) -> None:
    for entry in (in_retries(redis, client), in_its_queue(redis, client)):
        assert entry.delete()
        before = redis.lrange("queue:low", 0, -1)
        assert run_edited(entry, [2], delete=delete) is None
        assert redis.lrange("queue:low", 0, -1) == before


def test_what_cannot_travel_is_named_and_nothing_changes(redis: Redis, client: Client) -> None:
    entry = in_retries(redis, client)
    with pytest.raises(InvalidArguments, match=r"HardJob.*NaN|HardJob.*nan"):
        run_edited(entry, [1, float("nan")], delete=True)
    redis.zadd("dead", {b"{broken": 1.0})
    with pytest.raises(MalformedPayload, match="it can be deleted"):
        run_edited(next(iter(DeadSet(client))), [1], delete=True)
    redis.set("queue:low", "text")
    with pytest.raises(RedisRefused, match="is no list; nothing was changed"):
        run_edited(entry, [1], delete=True)
    assert (redis.zcard("retry"), redis.zcard("dead")) == (1, 1)


def test_a_user_who_may_not_push_removes_no_former_job(redis: Redis, client: Client, redis_url: str) -> None:
    before = in_retries(redis, client)
    with user_without(redis, redis_url, "lpush") as limited:
        [entry] = RetrySet(limited)
        with pytest.raises(RedisRefused, match="nothing was changed"):
            run_edited(entry, [2], delete=True)
    assert list(RetrySet(client)) == [before]
