"""Cron entries that several people change: nobody's change is lost, and an entry of Ruby stays one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import cron, cron_edits
from jobd.client.access import Access
from jobd.client.cron import CronEntry
from jobd.client.cron_set import CronSet
from jobd.client.errors import InvalidCron

RUBY = {
    "name": "night",
    "klass": "RubyJob",
    "cron": "0 3 * * *",
    "description": "",
    "args": '[1,{"a":"b"}]',
    "message": '{"retry":3,"queue":"low","class":"RubyJob","args":[1,{"a":"b"}]}',
    "status": "enabled",
    "active_job": "false",
    "date_as_argument": "false",
    "symbolize_args": "false",
    "queue_name_prefix": "",
    "queue_name_delimiter": "",
    "last_enqueue_time": "",
}
"""An entry as sidekiq-cron writes it."""


@pytest.fixture
def access(redis_url: str) -> Access:
    jobd.configure(redis_url=redis_url)
    return Access()


def found(name: str) -> CronEntry:
    entry = CronSet().find(name)
    assert entry is not None
    return entry


def fields(redis: Redis, name: str) -> dict[str, str]:
    stored: Any = redis.hgetall(f"cron_job:{name}")
    return {key.decode(): value.decode() for key, value in stored.items()}


def of_ruby(redis: Redis) -> CronEntry:
    redis.sadd("cron_jobs", "cron_job:night")
    redis.hset("cron_job:night", mapping=RUBY)
    return found("night")


def entry(name: str = "a", expression: str = "@daily", **written: Any) -> CronEntry:
    return cron.read(name, {"cron": expression, "class": "A", **written})


def test_an_entry_is_added_once_and_another_of_its_name_changes_nothing(access: Access, redis: Redis) -> None:
    assert cron_edits.add(access, entry(args=[1], status="disabled"))
    before = redis.dump("cron_job:a")
    assert not cron_edits.add(access, entry(expression="@hourly"))
    assert redis.dump("cron_job:a") == before
    assert (found("a").status, redis.smembers("cron_jobs")) == ("disabled", {b"cron_job:a"})
    assert redis.zcard("cron_job:a:enqueued") == 1


@pytest.mark.parametrize("other", ["description", "status", "destroyed", "class"])
def test_what_somebody_else_has_changed_since_is_not_written_over(other: str, access: Access, redis: Redis) -> None:
    cron_edits.add(access, entry())
    read = found("a")
    if other == "destroyed":
        CronSet().destroy("a")
    elif other == "status":
        CronSet().disable("a")
    else:
        CronSet().save(replace(read, **({"description": "theirs"} if other == "description" else {"job": "B"})))
    before = redis.dump("cron_job:a")
    assert not cron_edits.change(access, read, replace(read, cron="0 5 * * *"))
    assert redis.dump("cron_job:a") == before
    if other != "destroyed":
        assert cron_edits.change(access, found("a"), replace(found("a"), cron="0 5 * * *"))


def test_a_run_meanwhile_is_no_change(access: Access, redis: Redis) -> None:
    cron_edits.add(access, entry())
    read = found("a")
    CronSet().enqueue_now("a")
    CronSet().skip_next("a")
    assert cron_edits.change(access, read, replace(read, cron="0 5 * * *"))
    assert (found("a").cron, found("a").skips, found("a").last_time is not None) == ("0 5 * * *", None, True)


def test_what_is_the_same_of_the_job_keeps_its_bytes(access: Access, redis: Redis) -> None:
    cron_edits.add(access, entry(args=[1]))
    message = '{"class": "A",  "args":[1], "queue":"default", "retry":7}'
    redis.hset("cron_job:a", "message", message)
    read = found("a")
    assert cron_edits.change(access, read, replace(read, description="new"))
    assert (fields(redis, "a")["message"], found("a").description) == (message, "new")
    for args in ([True], [1.0]):
        read = found("a")
        assert cron_edits.change(access, read, replace(read, args=tuple(args)))
        assert repr(json.loads(fields(redis, "a")["args"])) == repr(args)
        assert json.loads(fields(redis, "a")["message"])["retry"] == 7


def test_another_class_does_not_inherit_the_options_of_the_one_before(access: Access, redis: Redis) -> None:
    of_code = {"retry": 7, "queue": "low", "class": "A", "args": []}
    cron_edits.add(access, entry())
    redis.hset("cron_job:a", "message", json.dumps(of_code))
    read = found("a")
    assert cron_edits.change(access, read, replace(read, job="B"))
    assert json.loads(fields(redis, "a")["message"]) == {"queue": "low", "class": "B", "args": []}


def test_an_entry_of_ruby_keeps_its_form(access: Access, redis: Redis) -> None:
    read = of_ruby(redis)
    assert cron_edits.change(access, read, replace(read, cron="0 5 * * * Asia/Tokyo", args=(2,), queue="high"))
    now = fields(redis, "night")
    assert now.pop("since")
    assert now == {
        **RUBY,
        "cron": "0 5 * * * Asia/Tokyo",
        "args": "[2]",
        "message": '{"retry":3,"queue":"high","class":"RubyJob","args":[2]}',
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cron": "@every 90s"}, "does not read '@every 90s'"),
        ({"cron": "0 5 LW * *"}, "five or six fields"),
        ({"job": "B"}, "class is not changed here"),
        ({"kwargs": {"a": 1}}, "kwargs is not changed here"),
        ({"overlap": "skip"}, "overlap is not changed here"),
        ({"catch_up": "all"}, "catch_up is not changed here"),
        ({"date_as_argument": True}, "date_as_argument is not changed here"),
    ],
)
def test_what_ruby_would_not_read_is_refused(changed: dict[str, Any], said: str, access: Access, redis: Redis) -> None:
    read = of_ruby(redis)
    with pytest.raises(InvalidCron, match=said):
        cron_edits.change(access, read, replace(read, **changed))
    assert fields(redis, "night") == RUBY


def test_a_broken_message_of_ruby_is_left_to_ruby(access: Access, redis: Redis) -> None:
    of_ruby(redis)
    redis.hset("cron_job:night", "message", "{")
    read = found("night")
    with pytest.raises(InvalidCron, match="save it anew there"):
        cron_edits.change(access, read, replace(read, cron="0 5 * * *"))


def test_keys_of_another_kind_are_left_alone(access: Access, redis: Redis) -> None:
    redis.set("cron_job:a:enqueued", "x")
    with pytest.raises(jobd.JobdError, match="WRONGTYPE"):
        cron_edits.add(access, entry())
    assert redis.keys("cron_job*") == [b"cron_job:a:enqueued"]
