"""The record of what people did by hand: capped, for a time, and never in the way of what they do."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis import Redis

from jobd.client import audit, defaults
from jobd.client.access import Access
from jobd.client.audit import Record
from jobd.client.errors import RedisRefused
from jobd.client.push import Client


@pytest.fixture
def access(redis_url: str) -> Access:
    """Of an empty database."""
    return Access(Client(redis_url))


def last(redis: Redis, count: int = 1_000) -> list[Record]:
    """The records, the last first."""
    found: Any = redis.xrevrange("jobd:audit", count=count)
    return audit.records(found)


def test_a_record_is_read_as_it_was_written(access: Access, redis: Redis) -> None:
    whole = Record("ann", "::1", "retry", "/dead", "low", "all", "failed", "it broke", {"moved": 3, "gone": 0})
    assert audit.write(access, whole)
    [found] = last(redis)
    assert found.fields() == whole.fields()
    assert found.counts == {"moved": 3}
    assert 0 < found.at - float(redis.time()[0]) + 60 < 120  # type: ignore[index]
    assert 0 < redis.ttl("jobd:audit") <= defaults.AUDIT_TTL  # type: ignore[operator]


def test_only_the_newest_are_kept(access: Access, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "AUDIT_RECORDS", 100)
    for i in range(400):
        audit.write(access, Record("ann", "", "pause", target=str(i)))
    # The cap holds by whole nodes of the stream, of 100 records each.
    assert 100 <= redis.xlen("jobd:audit") <= 200  # type: ignore[operator]
    assert last(redis, 1)[0].target == "399"


def test_long_and_odd_texts_are_cut_and_kept(access: Access, redis: Redis) -> None:
    audit.write(access, Record("ann", "", "delete", filter="x" * 5_000, target="queue\udcff"))
    [found] = last(redis)
    assert (len(found.filter), found.filter[-1], found.target) == (300, "…", "queue\\udcff")


def test_what_others_have_written_there_is_read_too(redis: Redis) -> None:
    for fields in ({"counts": "[1]"}, {"counts": "{"}, {"counts": '{"moved": "x"}', b"\xff": b"\xff"}, {"user": "ann"}):
        redis.xadd("jobd:audit", fields)  # type: ignore[arg-type]
    assert [(each.user, dict(each.counts)) for each in last(redis)] == [("ann", {}), ("", {}), ("", {}), ("", {})]


def test_what_cannot_be_written_is_logged_and_nothing_else(
    access: Access, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.set("jobd:audit", "x")
    with caplog.at_level(logging.WARNING, "jobd.audit"):
        assert not audit.write(access, Record("ann", "", "pause"))
    assert "audit.not_written" in caplog.text
    assert "WRONGTYPE" in caplog.text


def test_a_command_that_fails_is_recorded_without_the_password(access: Access, redis: Redis) -> None:
    with (
        pytest.raises(RedisRefused),
        audit.of_command(access, "retry", "jobs dead", selection="redis://ann:hunter2@host"),
    ):
        raise RedisRefused("no to redis://ann:hunter2@host")
    [found] = last(redis)
    assert (found.result, found.action, found.address[:12]) == ("failed", "retry", audit.COMMAND_LINE)
    assert "RedisRefused" in found.error
    assert "hunter2" not in found.error + found.filter


def test_a_command_that_is_interrupted_is_recorded_too(access: Access, redis: Redis) -> None:
    with pytest.raises(KeyboardInterrupt), audit.of_command(access, "delete", "jobs dead"):
        raise KeyboardInterrupt
    assert (last(redis)[0].result, last(redis)[0].error) == ("failed", "KeyboardInterrupt: ")
