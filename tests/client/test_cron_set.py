"""Cron entries in Redis by `jobd.CronSet`: made, found, changed, run by hand, loaded, destroyed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.cron_set import CronSet
from jobd.client.errors import InvalidCron, RedisRefused, RedisUnavailable
from jobd.client.push import Client


@jobd.job(name="cron_set.hello", queue="low", retry=3)
def hello(name: str = "you", *, loud: bool = False) -> None: ...


@pytest.fixture
def crons(redis_url: str) -> CronSet:
    jobd.configure(redis_url=redis_url)
    return jobd.CronSet()


def queued(redis: Redis, queue: str = "low") -> list[dict[str, Any]]:
    raw: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(payload) for payload in reversed(raw)]


def test_an_entry_is_made_found_and_destroyed(crons: CronSet, redis: Redis) -> None:
    made = crons.create("every minute", "* * * * *", hello, args=["bob"], timezone="Asia/Tokyo", description="says it")
    assert crons.find("every minute") == made
    assert "every minute" in crons
    assert (made.status, made.cron, made.job, made.args) == (
        "enabled",
        "* * * * * Asia/Tokyo",
        "cron_set.hello",
        ("bob",),
    )
    assert redis.smembers("cron_jobs") == {b"cron_job:every minute"}
    stored: Any = redis.hgetall("cron_job:every minute")
    assert stored[b"message"] == b'{"retry":3,"queue":"low","class":"cron_set.hello","args":["bob"]}'
    assert crons.destroy("every minute")
    assert not crons.destroy("every minute")
    assert (crons.find("every minute"), len(crons), redis.keys("*cron*")) == (None, 0, [])


def test_iterating_reads_page_by_page(crons: CronSet, redis: Redis) -> None:
    for number in range(250):
        crons.create(f"entry {number}", "@daily", "A")
    redis.config_resetstat()
    entries = iter(crons)
    next(entries)
    stats: Any = redis.info("commandstats")
    assert stats["cmdstat_hgetall"]["calls"] < 250
    assert {next(entries).name for _ in range(249)} | {"x"} <= {f"entry {i}" for i in range(250)} | {"x"}
    assert len(crons) == 250


def test_a_new_entry_does_not_run_for_a_tick_that_is_past(crons: CronSet, redis: Redis) -> None:
    crons.create("a", "* * * * * *", "A")
    [(member, score)] = redis.zrange("cron_job:a:enqueued", 0, -1, withscores=True)
    assert member.endswith(b"Z")
    assert abs(score - time.time()) < 5


def test_saving_again_keeps_what_runs_have_left_behind(crons: CronSet, redis: Redis) -> None:
    entry = crons.create("a", "@daily", hello)
    crons.enqueue_now("a")
    crons.disable("a")
    before: Any = redis.zrange("cron_job:a:enqueued", 0, -1, withscores=True)
    entry = crons.save(replace(entry, description="changed", status=None))
    assert (entry.description, entry.status, entry.last_time is not None) == ("changed", "disabled", True)
    assert redis.zrange("cron_job:a:enqueued", 0, -1, withscores=True) == before


def test_saving_what_ruby_wrote_keeps_the_options_of_its_class(crons: CronSet, redis: Redis) -> None:
    message = '{"retry":7,"queue":"low","backtrace":true,"class":"Hard","args":[1]}'
    fields: dict[Any, Any] = {"name": "r", "klass": "Hard", "cron": "@daily", "args": "[1]", "message": message}
    redis.hset("cron_job:r", mapping={**fields, "status": "enabled"})
    redis.sadd("cron_jobs", "cron_job:r")
    [entry] = crons
    saved = crons.save(replace(entry, args=(2,)))
    assert json.loads(saved.stored["message"]) == {**json.loads(message), "args": [2]}
    assert saved.source == ""


def test_what_cannot_be_used_is_not_written(crons: CronSet, redis: Redis) -> None:
    with pytest.raises(InvalidCron, match="column 1: the minutes field is '99'"):
        crons.create("a", "99 * * * *", "A")
    entry = crons.create("a", "@daily", "A")
    with pytest.raises(InvalidCron, match="has 1 of five or six fields"):
        crons.save(replace(entry, cron="bad"))
    with pytest.raises(InvalidCron, match="class is None"):
        crons.load({"b": {"cron": "@daily", "class": "B"}, "c": {"cron": "@daily"}})
    assert [each.name for each in crons] == ["a"]


def test_enabling_and_disabling(crons: CronSet, redis: Redis) -> None:
    crons.create("a", "* * * * *", "A", overlap="skip")
    assert crons.disable("a")
    assert redis.hget("cron_job:a", "status") == b"disabled"
    assert (crons.next_time("a"), crons.find("a").enabled) == (None, False)  # type: ignore[union-attr]
    redis.set("jobd:cron:a:running", "jid")
    assert crons.enable("a")
    assert redis.hget("cron_job:a", "status") == b"enabled"
    assert not redis.exists("jobd:cron:a:running")
    found = crons.next_time("a")
    assert found is not None
    assert 0 < found - time.time() <= 61


def test_nothing_comes_of_a_name_that_is_not_there(crons: CronSet, redis: Redis) -> None:
    assert (crons.enable("x"), crons.disable("x"), crons.destroy("x")) == (False, False, False)
    assert (crons.enqueue_now("x"), crons.next_time("x"), crons.last_time("x"), crons.runs("x")) == (
        None,
        None,
        None,
        [],
    )
    assert redis.keys("*") == []


def test_enqueue_now_pushes_also_what_is_disabled(crons: CronSet, redis: Redis) -> None:
    crons.create("a", "@yearly", hello, args=["bob"], kwargs={"loud": True}, status="disabled")
    jid = crons.enqueue_now("a")
    [payload] = queued(redis)
    assert {key: payload[key] for key in ("jid", "class", "args", "kwargs", "retry", "queue")} == {
        "jid": jid,
        "class": "cron_set.hello",
        "args": ["bob"],
        "kwargs": {"loud": True},
        "retry": 3,
        "queue": "low",
    }
    assert redis.smembers("queues") == {b"low"}
    [run] = crons.runs("a")
    assert (run.tick, run.jid, run.skipped) == (None, jid, None)
    assert abs(run.at - time.time()) < 5
    assert crons.last_time("a") == int(run.at)
    [raw] = redis.lrange("cron_job:a:jid_history", 0, -1)
    moment = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime(run.at))
    assert raw == f'{{"jid":"{jid}","enqueued":"{moment}"}}'.encode()
    assert redis.hget("cron_job:a", "last_enqueue_time") == moment.encode()


def test_runs_and_history_are_capped_and_expire(crons: CronSet, redis: Redis) -> None:
    crons.create("a", "@yearly", hello)
    jids = [crons.enqueue_now("a") for _ in range(35)]
    assert [run.jid for run in crons.runs("a")] == jids[:4:-1]
    assert (redis.llen("jobd:cron:a:runs"), redis.llen("cron_job:a:jid_history")) == (30, 10)
    assert 399 * 86400 < redis.ttl("jobd:cron:a:runs") <= 400 * 86400


def test_runs_show_what_sidekiq_cron_has_pushed(crons: CronSet, redis: Redis) -> None:
    crons.create("a", "@yearly", hello)
    redis.lpush("cron_job:a:jid_history", '{"jid":"ruby","enqueued":"2026-11-22 00:02:18 +0000"}', "{bad", "[]")
    jid = crons.enqueue_now("a")
    runs = crons.runs("a")
    assert [(run.jid, run.tick) for run in runs] == [(jid, None), ("ruby", None)]
    assert runs[1].at == 1795305738.0


def test_client_middleware_may_stop_it(crons: CronSet, redis: Redis) -> None:
    jobd.configure(client_middleware=[lambda payload, proceed: None])
    crons.create("a", "@yearly", hello)
    assert crons.enqueue_now("a") is None
    assert [run.skipped for run in crons.runs("a")] == ["middleware"]
    assert queued(redis) == []


def test_loading_a_mapping_replaces_only_what_was_loaded(crons: CronSet, redis: Redis) -> None:
    redis.hset("cron_job:code", mapping={"name": "code", "klass": "A", "cron": "@daily", "source": "code"})
    redis.sadd("cron_jobs", "cron_job:code")
    crons.load({"a": {"cron": "@daily", "class": "A"}, "b": {"cron": "@hourly", "klass": "B", "status": "disabled"}})
    assert {entry.name: entry.status for entry in crons if entry.name != "code"} == {"a": "enabled", "b": "disabled"}
    crons.load([{"name": "b", "cron": "@daily", "class": "B"}])
    assert {entry.name for entry in crons} == {"a", "b", "code"}
    crons.load({"b": {"cron": "@hourly", "class": "B"}}, replace=True)
    assert {entry.name: entry.cron for entry in crons} == {"b": "0 * * * *", "code": "@daily"}
    assert crons.find("b").status == "disabled"  # type: ignore[union-attr]


def test_a_client_of_its_own_has_its_own_entries(crons: CronSet, redis_url: str, redis: Redis) -> None:
    other = jobd.CronSet(Client(redis_url, namespace="other:"))
    other.create("a", "@daily", hello)
    other.enqueue_now("a")
    assert [entry.name for entry in other] == ["a"]
    assert list(crons) == []
    assert redis.smembers("other:cron_jobs") == {b"other:cron_job:a"}
    assert redis.llen("other:queue:low") == 1


@pytest.mark.parametrize("key", ["cron_job:bad", "cron_job:bad:enqueued", "jobd:cron:bad:runs", "queue:low"])
def test_a_key_of_a_wrong_type_changes_nothing(crons: CronSet, redis: Redis, key: str) -> None:
    crons.create("bad", "@daily", hello)
    redis.delete(key)
    redis.set(key, "text") if "queue" in key or "runs" in key else redis.rpush(key, "text")
    before = {name: redis.dump(name) for name in redis.keys("*")}
    with pytest.raises(Exception, match="WRONGTYPE"):
        crons.enqueue_now("bad")
    assert {name: redis.dump(name) for name in redis.keys("*")} == before


def test_names_of_any_characters(crons: CronSet, redis: Redis) -> None:
    redis.sadd("cron_jobs", b"cron_job:\xff", b"other:key", b"cron_job:gone")
    redis.hset(b"cron_job:\xff", mapping={"cron": "@daily", "klass": "A", "status": "enabled"})
    crons.create("täglich: *?[", "@daily", "A")
    entries = {entry.name: entry.problem for entry in crons}
    assert entries == {"�": "its name is no UTF-8", "täglich: *?[": None}


def test_what_keeps_it_from_redis_is_an_error_of_jobd(crons: CronSet, redis: Redis, tmp_path: Path) -> None:
    gone = CronSet(Client(f"unix://{tmp_path}/nobody.sock"))
    for call in (lambda: gone.find("a"), lambda: list(gone), lambda: gone.enqueue_now("a"), lambda: gone.destroy("a")):
        with pytest.raises(RedisUnavailable):
            call()
    redis.set("cron_job:a", "no hash")
    for call in (lambda: crons.find("a"), lambda: crons.unskip("a"), lambda: crons.create("a", "@daily", hello)):
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            call()
