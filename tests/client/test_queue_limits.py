"""Alert limits of queues: set one by one, read whatever stands there, kept within bounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.queue_limits import Kind, Limits, all_limits, limit_in, limit_text

KEY = "jobd:queue-limits"


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """Of the `redis` fixture, which most of them ask for."""


def test_a_queue_has_the_defaults_until_others_are_set(redis: Redis) -> None:
    queue = jobd.Queue("mailers")
    assert queue.limits == Limits()
    assert (queue.limits.exceeded(10**9, 60.0), queue.limits.exceeded(0, 60.5)) == ((), ("wait",))
    assert queue.set_limits(wait=timedelta(minutes=5), size=1000) == Limits(300, 1000) == queue.limits
    assert queue.limits.exceeded(1000, 300.0) == ()
    assert queue.limits.exceeded(1001, 301.0) == ("wait", "size")
    assert redis.hgetall(KEY) == {b"w|mailers": b"300", b"s|mailers": b"1000"}


def test_what_is_not_given_stays_and_none_is_the_default(redis: Redis) -> None:
    queue = jobd.Queue("mailers")
    queue.set_limits(wait=0.25, size=10)
    assert queue.set_limits(size="none") == Limits(0.25, "none")
    assert queue.limits.exceeded(10**9, 0.3) == ("wait",)
    assert queue.set_limits(wait=None) == Limits(None, "none")
    assert queue.set_limits(size=None) == Limits()
    assert redis.exists(KEY) == 0


def test_a_queue_of_any_name_has_its_own(redis: Redis) -> None:
    name = b"a|\xff".decode("utf-8", "surrogateescape")
    jobd.Queue(name).set_limits(size=0)
    assert all_limits(Access()) == {name: Limits(size=0)}
    assert jobd.Queue("a").limits == Limits()


@pytest.mark.parametrize(
    ("kind", "text", "limit", "written"),
    [
        ("wait", "5m", 300, "5m"),
        ("wait", "90", 90, "90s"),
        ("wait", "1.5 h", 5400, "90m"),
        ("wait", "0", 0, "0s"),
        ("wait", "none", "none", "none"),
        ("wait", " ", None, "default"),
        ("size", "1,000", 1000, "1000"),
        ("size", "default", None, "default"),
    ],
)
def test_limits_are_written_as_people_do(kind: Kind, text: str, limit: Any, written: str) -> None:
    assert (limit_in(kind, text), limit_text(kind, limit)) == (limit, written)
    assert limit_in(kind, written) == limit


@pytest.mark.parametrize(
    ("kind", "value"), [("wait", -1), ("wait", float("nan")), ("wait", True), ("wait", "5m"), ("wait", 4e8)]
)
def test_a_limit_that_is_none_is_refused(kind: str, value: Any, redis: Redis) -> None:
    with pytest.raises(InvalidArguments, match=rf"{kind} is {value!r}; give a"):
        jobd.Queue().set_limits(**{kind: value})
    for bad in (1.5, "1", -1, 10**13):
        with pytest.raises(InvalidArguments, match=r"size is .*; give a whole number"):
            jobd.Queue().set_limits(size=bad)  # type: ignore[arg-type]
    for text in ("None", "true", "1.5", "-1", "x", "1e3", "٣"):
        with pytest.raises(InvalidArguments, match="give a whole number, none or default"):
            limit_in("size", text)
    assert redis.exists(KEY) == 0


@pytest.mark.parametrize("raw", [b"", b"x", b"-1", b"1e400", b"nan", b"9" * 30, b"\xff"])
def test_a_damaged_limit_is_told_and_not_used(raw: bytes, redis: Redis) -> None:
    redis.hset(KEY, mapping={b"w|mailers": raw, b"s|mailers": b"5", b"other": b"1", b"": b""})
    assert all_limits(Access()) == {"mailers": Limits(None, 5, damaged=("wait",))}
    assert jobd.Queue("mailers").limits.most_wait == defaults.ALERT_WAIT
    redis.delete(KEY)
    redis.set(KEY, "x")
    assert jobd.Queue("mailers").limits == Limits()


def test_so_many_queues_have_limits_and_no_more(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "LIMITED_QUEUES", 2)
    for name in ("a", "b"):
        jobd.Queue(name).set_limits(wait=1)
    with pytest.raises(InvalidArguments, match="'c' gets none; give one of them the default again"):
        jobd.Queue("c").set_limits(size=1)
    jobd.Queue("b").set_limits(size=1)
    jobd.Queue("a").set_limits(wait=None)
    assert jobd.Queue("c").set_limits(size=1) == Limits(size=1)
