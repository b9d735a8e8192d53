"""Many reads travel in one packet, and are answered as redis-py answers them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobd.client.connection import Connector
from jobd.client.reading import Reads, packed


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


def test_a_connection_with_an_answer_still_to_come_is_closed(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Connector(redis_url).client()
    pool = asked.connection_pool
    connection = pool.get_connection()
    monkeypatch.setattr(pool, "get_connection", lambda: connection)
    reads = Reads(pool, asked.response_callbacks, transaction=False, shard_hint=None)
    connection._sock.settimeout(0.05)
    reads.blpop("nothing")
    with pytest.raises((RedisTimeoutError, TimeoutError)):  # redis-py 7.1 has Python's own
        reads.answers()
    assert connection._sock is None


def test_commands_that_were_packed_before_are_answered_in_their_place(redis: Redis, reads: Reads) -> None:
    fill(redis)
    reads.hget("a hash", "one")
    reads.put(packed(("HMGET", b"a hash", "two", "none"), ("ZCARD", b"a hash")), 2)
    assert len(reads.smembers("some")) == 4
    one, two, refused, some = reads.answers()
    assert (one, two, some) == (b"1", [b"2", None], {b"x", b"y"})
    assert isinstance(refused, ResponseError)


def test_a_connection_that_another_thread_closes_meanwhile_is_an_error_of_the_connection(
    redis: Redis, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = reads.connection_pool.get_connection()
    monkeypatch.setattr(reads.connection_pool, "get_connection", lambda: connection)
    parser = connection._parser
    read = parser.read_response

    def read_and_close() -> object:
        answer = read()
        connection.disconnect()
        return answer

    monkeypatch.setattr(parser, "read_response", read_and_close)
    reads.get("none").blpop("nothing", timeout=1)
    with pytest.raises(RedisConnectionError):
        reads.answers()
