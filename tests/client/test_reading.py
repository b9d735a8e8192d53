"""Many reads travel in one packet, and are answered as redis-py answers them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from jobd.client.connection import Connector
from jobd.client.processes import FIELDS, read_heartbeat
from jobd.client.reading import Reads


@pytest.fixture
def reads(redis_url: str) -> Iterator[Reads]:
    asked = Connector(redis_url).client()
    yield Reads(asked.connection_pool, asked.response_callbacks, transaction=False, shard_hint=None)
    asked.connection_pool.disconnect()


def fill(redis: Redis) -> None:
    redis.hset("a hash", mapping={"one": "1", "two": "2"})
    redis.zadd("a set", {"first": 1.5, "second": 2.5})
    redis.sadd("some", "x", "y")


def test_answers_are_those_of_redis_py(redis: Redis, reads: Reads) -> None:
    fill(redis)
    plain = redis.pipeline(transaction=False)
    for pipeline in (reads, plain):
        pipeline.hgetall("a hash").hmget("a hash", "one", "none").zrange("a set", 0, -1, withscores=True)
        pipeline.zrange("a set", "2", "+inf", byscore=True, offset=0, num=1, withscores=True).smembers("some")
        pipeline.zscan("a set", 0, match="f*").info("server").config_get("maxmemory").memory_usage("none")
        pipeline.exists("some").ttl("some").type("some").get("none").time()
    found, wanted = reads.answers(), plain.execute()
    assert [type(each) for each in found] == [type(each) for each in wanted]
    assert found[:6] == wanted[:6]
    assert found[7:-1] == wanted[7:-1]


def test_a_refused_command_leaves_the_others_their_answers(redis: Redis, reads: Reads) -> None:
    fill(redis)
    reads.hgetall("a set").hget("a hash", "one").smembers("a hash").hget("a hash", "two")
    first, one, second, two = reads.answers()
    assert [isinstance(each, ResponseError) for each in (first, second)] == [True, True]
    assert (one, two) == (b"1", b"2")


def test_without_commands_nothing_is_asked(reads: Reads) -> None:
    assert reads.answers() == []


def test_a_connection_that_breaks_is_closed(redis: Redis, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = reads.connection_pool
    connection = pool.get_connection()
    monkeypatch.setattr(pool, "get_connection", lambda: connection)
    redis.client_kill_filter(_type="normal", skipme=True)
    reads.get("none")
    with pytest.raises((RedisConnectionError, OSError)):
        reads.answers()
    assert connection._sock is None


def test_what_a_process_says_of_itself_is_known_by_its_bytes(redis: Redis) -> None:
    info = b'{"hostname":"a","pid":1,"queues":["q"],"concurrency":5}'
    values = (info, b"3", b"10.5", b"false", b"100", b"7", None, b"9.0")
    first = read_heartbeat("a:1:x", values)
    assert first is not None
    assert read_heartbeat("a:1:x", tuple(values)) is first
    later = read_heartbeat("a:1:x", (info, b"4", *values[2:]))
    other = read_heartbeat("b:2:y", values)
    assert later is not None
    assert other is not None
    assert (first.busy, later.busy, other.identity, later.queues) == (3, 4, "b:2:y", ("q",))
    assert dict(zip(FIELDS, values, strict=True))["concurrency"] is None
    assert later.concurrency == 5


def test_a_long_heartbeat_is_read_and_not_remembered() -> None:
    info = b'{"hostname":"%s"}' % (b"x" * 5_000)
    values = (info, *(None,) * (len(FIELDS) - 1))
    first, second = read_heartbeat("a:1:x", values), read_heartbeat("a:1:x", values)
    assert first == second
    assert first is not second
