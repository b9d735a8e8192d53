"""The scripts by which people move jobs: made whole, made once, and possible while memory is full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.scripts import Call, DeadLimits, Moved, Struck
from tests.servers import RedisServer

T = TypeVar("T")

KEYS = Keys("{n}:")
NOW = 1_795_305_670.0


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(own_server: RedisServer) -> Iterator[Redis]:
    with own_server.client() as client:
        client.config_set("maxmemory", 0)
        client.flushall()
        yield client


@pytest.fixture
def connector(own_server: RedisServer) -> Iterator[Connector]:
    connector = Connector(own_server.url)
    yield connector
    connector.close()


def send(connector: Connector, call: Call[T]) -> T:
    with connector.connection() as connection:
        return scripts.send(connection, call)


def all_keys(redis: Redis) -> dict[bytes, Any]:
    """Everything that the server holds."""
    return {key: redis.dump(key) for key in redis.scan_iter()}


def calls() -> dict[str, Call[Any]]:
    """One call of each, which finds what it moves."""
    limits = DeadLimits(max_jobs=2)
    return {
        "requeue": scripts.requeue(KEYS, KEYS.retry, [(b"1", "a", b"one"), (b"2", "b", b"two"), (b"gone", "a", b"x")]),
        "bury": scripts.bury(KEYS, KEYS.retry, [b"1", b"2", b"gone"], NOW, limits),
        "replace": scripts.replace(KEYS.retry, b"1", b"one", 7.5),
        "edit": scripts.edit(KEYS, KEYS.retry, (b"1", b""), "a", b"one"),
        "edit in a queue": scripts.edit(KEYS, KEYS.queue("q"), (b"queued", b""), "q", b"one"),
        "spread": scripts.spread(KEYS, KEYS.dead, [(b"older", b"again", NOW + 1), (b"gone", b"x", NOW)]),
        "reschedule": scripts.spread(KEYS, KEYS.retry, [(b"1", b"one", NOW), (b"gone", b"x", NOW)], KEYS.retry),
        "strike": scripts.strike(KEYS, "q", b"mark", (0, 5), [b"queued", b"gone"]),
        "shift": scripts.shift(KEYS, "q", "other", "back", b"mark", (0, 5), [(b"queued", b"moved"), (b"gone", b"x")]),
        "discard": scripts.discard(KEYS.retry, KEYS.trashed("x", 0), [b"1", b"gone"]),
        "toss": scripts.toss(KEYS, "q", KEYS.trashed("x", 1), b"mark", (0, 5), [(b"queued", 3), (b"gone", 4)]),
        "pluck": scripts.pluck(KEYS, "q", b"queued", NOW, limits),
        "clear": scripts.clear(KEYS, "q"),
    }


def fill(redis: Redis) -> None:
    redis.zadd(KEYS.retry, {b"1": 1.0, b"2": 2.0})
    redis.zadd(KEYS.dead, {b"older": NOW - 1})
    redis.lpush(KEYS.queue("q"), b"queued")
    redis.sadd(KEYS.queues, "q")


EXPECTED = {
    "requeue": Moved(2, 1),
    "bury": Moved(2, 1, dropped=1),
    "replace": True,
    "edit": True,
    "edit in a queue": True,
    "spread": Moved(1, 1),
    "reschedule": Moved(1, 1),
    "strike": Struck(1, (1,)),
    "shift": Struck(1, (1,)),
    "discard": Moved(1, 1),
    "toss": Struck(1, (1,)),
    "pluck": Moved(1, 0),
    "clear": 1,
}
AGAIN = {
    "requeue": Moved(0, 3),
    "bury": Moved(0, 3),
    "replace": False,
    "edit": False,
    "edit in a queue": False,
    "spread": Moved(0, 2),
    "reschedule": Moved(0, 2),
    "strike": Struck(0, (0, 1)),
    "shift": Struck(0, (0, 1)),
    "discard": Moved(0, 2),
    "toss": Struck(0, (0, 1)),
    "pluck": Moved(0, 1),
    "clear": 0,
}

each = pytest.mark.parametrize("name", EXPECTED)


@each
def test_what_is_there_is_moved_once_and_what_is_not_changes_nothing(
    redis: Redis, connector: Connector, name: str
) -> None:
    fill(redis)
    assert send(connector, calls()[name]) == EXPECTED[name]
    after = all_keys(redis)
    assert send(connector, calls()[name]) == AGAIN[name]
    assert all_keys(redis) == after
    assert all(key.startswith(b"{n}:") for key in after)


@each
def test_it_works_while_memory_is_full(redis: Redis, connector: Connector, name: str) -> None:
    fill(redis)
    redis.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        redis.set("anything", "more")
    assert send(connector, calls()[name]) == EXPECTED[name]


@pytest.mark.parametrize(("place", "member"), [(KEYS.retry, b"1"), (KEYS.queue("q"), b"queued")])
def test_a_job_made_of_one_that_stays_is_a_push_which_full_memory_refuses(
    redis: Redis, connector: Connector, place: str, member: bytes
) -> None:
    fill(redis)
    before = all_keys(redis)
    redis.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        send(connector, scripts.edit(KEYS, place, (member, b"kept"), "a", b"one"))
    redis.config_set("maxmemory", 0)
    assert all_keys(redis) == before


def test_a_replaced_member_keeps_its_score_to_the_last_digit(redis: Redis, connector: Connector) -> None:
    score = 1_795_305_716.7504678
    redis.zadd(KEYS.retry, {b"1": score})
    assert send(connector, scripts.replace(KEYS.retry, b"1", b"one"))
    assert redis.zrange(KEYS.retry, 0, -1, withscores=True) == [(b"one", score)]


@pytest.mark.parametrize("name", ["bury", "pluck"])
def test_a_dead_set_of_a_wrong_type_changes_nothing(redis: Redis, connector: Connector, name: str) -> None:
    fill(redis)
    redis.set(KEYS.dead, "text")
    before = all_keys(redis)
    with pytest.raises(ResponseError, match="dead is no sorted set; nothing was changed"):
        send(connector, calls()[name])
    assert all_keys(redis) == before


def test_retries_of_a_wrong_type_change_nothing(redis: Redis, connector: Connector) -> None:
    fill(redis)
    redis.set(KEYS.retry, "text")
    before = all_keys(redis)
    with pytest.raises(ResponseError, match="retry is no sorted set; nothing was changed"):
        send(connector, calls()["spread"])
    assert all_keys(redis) == before


@pytest.mark.parametrize("time", ["nan", "inf", "-inf", "soon", ""])
def test_what_is_no_time_changes_nothing(redis: Redis, connector: Connector, time: str) -> None:
    fill(redis)
    before, call = all_keys(redis), calls()["reschedule"]
    with pytest.raises(ResponseError, match="is no time; nothing was changed"):
        send(connector, Call(call.script, call.keys, [b"1", b"one", repr(NOW), b"2", b"two", time], call.parse))
    assert all_keys(redis) == before
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(InvalidArguments, match="give epoch seconds"):
            scripts.spread(KEYS, KEYS.retry, [(b"1", b"one", wrong)])


def test_what_stands_outside_of_the_window_stays_and_so_does_the_order(redis: Redis, connector: Connector) -> None:
    redis.rpush(KEYS.queue("q"), *"abcdefghij")
    call = scripts.strike(KEYS, "q", b"mark", (2, 4), [b"a", b"e", b"g", b"g", b"i"])
    assert send(connector, call) == Struck(2, (0, 3, 4))
    assert redis.lrange(KEYS.queue("q"), 0, -1) == [bytes([c]) for c in b"abcdfhij"]


def test_what_is_removed_is_kept_with_its_time_or_its_place_for_an_hour(redis: Redis, connector: Connector) -> None:
    redis.zadd(KEYS.dead, {b"a": 1.5, b"b": 2.5, b"c": 3.5})
    assert send(connector, scripts.discard(KEYS.dead, "trash:0", [b"c", b"a"])) == Moved(2, 0)
    assert redis.zrange("trash:0", 0, -1, withscores=True) == [(b"a", 1.5), (b"c", 3.5)]
    redis.rpush(KEYS.queue("q"), *"abcd")
    call = scripts.toss(KEYS, "q", "trash:1", b"mark", (0, 9), [(b"d", 0), (b"b", 2)])
    assert send(connector, call) == Struck(2)
    assert redis.lrange(KEYS.queue("q"), 0, -1) == [b"a", b"c"]
    assert redis.zrange("trash:1", 0, -1, withscores=True) == [(b"d", 0.0), (b"b", 2.0)]
    assert all(3500 < redis.ttl(key) <= 3600 for key in ("trash:0", "trash:1"))


def test_jobs_are_shifted_to_either_end_in_their_order(redis: Redis, connector: Connector) -> None:
    redis.rpush(KEYS.queue("q"), *"abcdefgh")
    pairs = [(b"g", b"G"), (b"e", b"E"), (b"e", b"x"), (b"b", b"B")]
    assert send(connector, scripts.shift(KEYS, "q", "q", "front", b"mark", (0, 9), pairs)) == Struck(3, (2,))
    assert b"".join(redis.lrange(KEYS.queue("q"), 0, -1)) == b"acdfhBEG"
    redis.rpush(KEYS.queue("other"), "z")
    pairs = [(b"G", b"1"), (b"B", b"2"), (b"a", b"3")]
    assert send(connector, scripts.shift(KEYS, "q", "other", "back", b"mark", (0, 9), pairs)) == Struck(3)
    assert b"".join(redis.lrange(KEYS.queue("other"), 0, -1)) == b"321z"
    assert b"".join(redis.lrange(KEYS.queue("q"), 0, -1)) == b"cdfhE"


def test_jobs_stay_when_the_other_queue_is_no_list(redis: Redis, connector: Connector) -> None:
    redis.rpush(KEYS.queue("q"), "a")
    redis.set(KEYS.queue("other"), "x")
    with pytest.raises(ResponseError, match="nothing was changed"):
        send(connector, scripts.shift(KEYS, "q", "other", "back", b"mark", (0, 9), [(b"a", b"b")]))
    assert redis.lrange(KEYS.queue("q"), 0, -1) == [b"a"]


def test_three_hundred_large_jobs_move_at_once(redis: Redis, connector: Connector) -> None:
    members = [(b"%04d" % i + b"x" * 10_000, "q", b"y" * 10_000) for i in range(300)]
    redis.zadd(KEYS.retry, {member: 1.0 for member, _, _ in members})
    assert send(connector, scripts.requeue(KEYS, KEYS.retry, members)) == Moved(300, 0)
    assert redis.llen(KEYS.queue("q")) == 300
