"""Queues as the head of each page shows them: what is kept from one reading to the next hides no change."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from jobd.client.access import Access
from jobd.client.push import Client
from jobd.client.stats import QueueSummary
from jobd.web.depths import Depths
from jobd.web.questions import Question, answer


def job(since: float, arg: str = "") -> bytes:
    """A job that waits since then."""
    return json.dumps({"class": "A", "args": [arg], "jid": "1", "created_at": 5.0, "enqueued_at": since}).encode()


def asked(access: Access, depths: Depths, names: list[str], now: float) -> tuple[QueueSummary, ...]:
    def question() -> Question[tuple[QueueSummary, ...]]:
        told = yield lambda pipeline: depths.ask(pipeline, access.keys, names)
        return depths.summaries(names, told, {"b"}, access.keys, now)

    found: tuple[QueueSummary, ...] = answer(access, question())[0]
    return found


@pytest.mark.parametrize("arg", ["", "long" * 2_000])
def test_the_job_that_comes_next_tells_how_long_it_has_waited(redis: Redis, redis_url: str, arg: str) -> None:
    access, depths = Access(Client(redis_url)), Depths()
    redis.rpush("queue:a", job(40.0, arg), job(10.0, arg))
    assert asked(access, depths, ["a"], 50.0) == (QueueSummary("a", 2, 40.0, False),)
    assert asked(access, depths, ["a"], 60.0) == (QueueSummary("a", 2, 50.0, False),)
    redis.rpop("queue:a")
    assert asked(access, depths, ["a"], 60.0) == (QueueSummary("a", 1, 20.0, False),)
    redis.rpop("queue:a")
    assert asked(access, depths, ["a"], 60.0) == (QueueSummary("a", 0, 0.0, False),)


def test_the_fullest_queue_comes_first_then_the_first_by_name(redis: Redis, redis_url: str) -> None:
    access, depths = Access(Client(redis_url)), Depths()
    redis.rpush("queue:c", b"no job", b"nor this")
    redis.set("queue:d", "no list")
    found = asked(access, depths, ["a", "b", "c", "d"], 60.0)
    assert [(each.name, each.size, each.latency, each.paused) for each in found] == [
        ("c", 2, 0.0, False),
        ("a", 0, 0.0, False),
        ("b", 0, 0.0, True),
        ("d", 0, 0.0, False),
    ]


def test_what_one_request_forgets_another_still_reads(redis: Redis, redis_url: str) -> None:
    access, depths = Access(Client(redis_url)), Depths()
    redis.rpush("queue:a", job(40.0))
    told = [1, job(40.0)]
    asked(access, depths, [], 50.0)
    assert depths.summaries(["a"], told, set(), access.keys, 50.0) == (QueueSummary("a", 1, 10.0, False),)
