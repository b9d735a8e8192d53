"""The sets of jobs through the API: reading by pages, and changes that are made once or not at all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.cursor import Cursor
from jobd.client.errors import (
    DeadSetFull,
    InvalidArguments,
    InvalidPayload,
    MalformedPayload,
    RedisRefused,
    RedisUnavailable,
)
from jobd.client.scripts import DeadLimits
from jobd.client.sets import JobSet, SetEntry
from tests.client.api import NOW, fill_set, jids, payload, queued, user_without
from tests.servers import RedisServer


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def only_entry(of: JobSet) -> SetEntry:
    [entry] = of
    return entry


class TestReading:
    def test_the_earliest_comes_first_and_the_latest_with_reversed(self, redis: Redis) -> None:
        fill_set(redis, "retry", 5)
        retries = jobd.RetrySet()
        assert (len(retries), retries.size) == (5, 5)
        assert jids(retries) == ["j0", "j1", "j2", "j3", "j4"]
        assert jids(reversed(retries)) == ["j4", "j3", "j2", "j1", "j0"]

    def test_a_page_is_taken_by_rank_from_either_end(self, redis: Redis) -> None:
        fill_set(redis, "dead", 10)
        assert jids(jobd.DeadSet().page(2, 3)) == ["j2", "j3", "j4"]
        assert jids(jobd.DeadSet().page(2, 3, reverse=True)) == ["j7", "j6", "j5"]

    @pytest.mark.parametrize("page", [(-1, 5), (0, 0), (0, 1001), ("0", 5), (0, True)])
    def test_a_page_that_cannot_be_meant_is_refused(self, page: Any) -> None:
        with pytest.raises(InvalidArguments, match=r"(offset|limit) is .*; give a number from"):
            jobd.DeadSet().page(*page)

    def test_pages_by_entry_do_not_slide_when_others_go(self, redis: Redis) -> None:
        fill_set(redis, "retry", 6)
        retries = jobd.RetrySet()
        first = retries.after(None, 3)
        redis.zremrangebyrank("retry", 0, 2)
        assert jids(first) + jids(retries.after(first[-1], 3)) == ["j0", "j1", "j2", "j3", "j4", "j5"]
        assert jids(retries.after(None, 2, reverse=True)) == ["j5", "j4"]

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("spread", [1, 3, 1000])
    def test_every_member_that_stays_is_read_once_whatever_goes_meanwhile(
        self, redis: Redis, spread: int, reverse: bool
    ) -> None:
        chance = random.Random(spread)
        members = {f"{i:04}".encode(): float(chance.randrange(spread)) for i in range(600)}
        redis.zadd("retry", members)
        leaving = set(chance.sample(sorted(members), 300))
        read: list[bytes] = []
        doomed = sorted(leaving)
        for page in Cursor(jobd.RetrySet().access, "retry", reverse=reverse).pages(7):
            read += [member for _, member in page]
            redis.zrem("retry", page[-1][1] if page[-1][1] in leaving else b"", *doomed[:4])
            del doomed[:4]
        stayed = [member for member in read if member not in leaving]
        order = sorted((score, member) for member, score in members.items() if member not in leaving)
        assert stayed == [member for _, member in (reversed(order) if reverse else order)]
        assert len(set(read)) == len(read)

    @pytest.mark.parametrize("place", [1e6, -1e6])
    def test_of_many_at_one_time_none_is_skipped_when_the_last_one_read_is_moved(
        self, redis: Redis, place: float
    ) -> None:
        members = [f"{i:03}".encode() for i in range(100)]
        redis.zadd("retry", dict.fromkeys(members, 9.0))
        read: list[bytes] = []
        for page in Cursor(jobd.RetrySet().access, "retry", high=9.0).pages(7):
            read += [member for _, member in page]
            if len(read) > 7:
                redis.zadd("retry", {page[-1][1]: place})
        assert read == members

    def test_what_the_loop_itself_puts_off_or_edits_does_not_come_again(self, redis: Redis) -> None:
        fill_set(redis, "schedule", 1_500)
        read = []
        for entry in jobd.ScheduledSet():
            read.append(entry.jid)
            assert entry.reschedule(entry.at + 700)
        assert read == [f"j{i}" for i in range(1_500)]
        edited = [entry.edit({"args": [f"{entry.jid}z"]}) for entry in jobd.ScheduledSet()]
        assert len(edited) == 1_500
        assert {entry.args[0] for entry in jobd.ScheduledSet()} == {f"j{i}z" for i in range(1_500)}

    def test_a_range_of_scores_and_one_score(self, redis: Redis) -> None:
        fill_set(redis, "schedule", 5)
        scheduled = jobd.ScheduledSet()
        assert jids(scheduled.fetch((2.0, 4.0))) == ["j1", "j2", "j3"]
        assert jids(scheduled.fetch((2.0, 4.0), reverse=True)) == ["j3", "j2", "j1"]
        assert jids(scheduled.fetch(3.0)) == ["j2"]

    def test_an_entry_is_found_by_its_key_whatever_its_score(self, redis: Redis) -> None:
        for score in (1795305716.7504678, -3.5, 1e-05, float("inf")):
            redis.flushdb()
            redis.zadd("retry", {payload("a-b"): score, payload("other"): score})
            entry = jobd.RetrySet().find("a-b")
            assert entry is not None
            assert entry.score == score
            assert jobd.RetrySet().get(entry.key) == entry == jobd.RetrySet().get((score, "a-b"))

    @pytest.mark.parametrize("key", ["", "abc", ("x", "y"), 7])
    def test_what_names_no_entry_is_refused(self, key: Any) -> None:
        with pytest.raises(InvalidArguments, match="names no entry"):
            jobd.RetrySet().get(key)

    def test_a_scan_finds_text_and_takes_no_character_for_a_wildcard(self, redis: Redis) -> None:
        fill_set(redis, "retry", 300)
        redis.zadd("retry", {payload("x", args=['50% [off]* "é"']): 1.0, payload("y", args=["50% o*"]): 1.0})
        assert jids(jobd.RetrySet().scan('[off]* "é"')) == ["x"]
        assert sorted(jids(jobd.RetrySet().scan("50%"))) == ["x", "y"]
        assert jids(jobd.RetrySet().scan("???")) == []

    def test_a_scan_can_be_done_in_steps(self, redis: Redis) -> None:
        fill_set(redis, "retry", 2_000)
        cursor, found = jobd.RetrySet().scan_page("j19", count=100)
        steps = 1
        while cursor:
            cursor, more = jobd.RetrySet().scan_page("j19", cursor, count=100)
            found += more
            steps += 1
        assert steps > 10
        assert len(found) == 111

    def test_bytes_that_are_no_job_are_shown(self, redis: Redis) -> None:
        redis.zadd("dead", {b"{bad json": 1.0})
        entry = only_entry(jobd.DeadSet())
        assert (entry.malformed, entry.raw, entry.score) == (True, b"{bad json", 1.0)
        with pytest.raises(MalformedPayload, match=r"no job.*killed or deleted"):
            entry.retry()
        assert entry.delete()

    def test_a_server_that_is_not_there_is_named(self) -> None:
        nowhere = jobd.Client("unix:///nonexistent/redis.sock")
        with pytest.raises(RedisUnavailable, match=r"Redis at unix:///nonexistent/redis\.sock"):
            len(jobd.RetrySet(nowhere))
        with pytest.raises(RedisUnavailable):
            SetEntry(b"{}", 1.0, jobd.RetrySet(nowhere)).delete()

    def test_a_key_of_a_wrong_type_is_told_of(self, redis: Redis) -> None:
        redis.set("retry", "text")
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            list(jobd.RetrySet())


class TestOneEntry:
    def test_a_retry_enters_its_queue_at_the_cost_of_no_attempt(self, redis: Redis) -> None:
        raw = payload(
            "a", queue="mail", retry_count=3, failed_at=NOW, retried_at=NOW, custom={"x": 1.5}, enqueued_at=1.5
        )
        redis.zadd("retry", {raw: 9.0})
        assert only_entry(jobd.RetrySet()).retry()
        [job] = queued(redis, "mail")
        assert job.pop("enqueued_at") > NOW - 1e9
        assert job == {**{k: v for k, v in json.loads(raw).items() if k != "enqueued_at"}, "retry_count": 2}
        assert redis.smembers("queues") == {b"mail"}
        assert len(jobd.RetrySet()) == 0

    def test_a_job_that_never_failed_keeps_no_count(self, redis: Redis) -> None:
        redis.zadd("schedule", {payload("a"): 9.0})
        assert only_entry(jobd.ScheduledSet()).add_to_queue()
        assert "retry_count" not in queued(redis)[0]

    def test_add_to_queue_keeps_the_count(self, redis: Redis) -> None:
        redis.zadd("dead", {payload("a", retry_count=0): 9.0})
        assert only_entry(jobd.DeadSet()).add_to_queue()
        assert queued(redis)[0]["retry_count"] == 0

    def test_a_kill_keeps_the_bytes_and_says_what_the_limits_dropped(self, redis: Redis) -> None:
        fill_set(redis, "retry", 1)
        redis.zadd("dead", {b"older": NOW, b"newer": NOW + 1})
        entry = only_entry(jobd.RetrySet())
        killed = entry.kill(DeadLimits(max_jobs=2, timeout=1e10))
        assert (killed.moved, killed.dropped, bool(killed)) == (True, 1, True)
        assert redis.zrange("dead", 0, -1) == [b"newer", entry.raw]
        assert not entry.kill()

    def test_what_is_dead_is_not_killed_again(self, redis: Redis) -> None:
        fill_set(redis, "dead", 1)
        with pytest.raises(jobd.JobdError, match="j0 is in the dead set already"):
            only_entry(jobd.DeadSet()).kill()

    def test_another_time_keeps_the_bytes_and_is_no_second_entry(self, redis: Redis) -> None:
        raw = b'{"class": "A", "args": [1.0e+20], "jid": "spaced"}'
        redis.zadd("schedule", {raw: 9.0})
        assert only_entry(jobd.ScheduledSet()).reschedule(1_795_320_000.5)
        assert redis.zrange("schedule", 0, -1, withscores=True) == [(raw, 1_795_320_000.5)]
        with pytest.raises(InvalidArguments, match="milliseconds"):
            only_entry(jobd.ScheduledSet()).reschedule(1_795_320_000_500)

    def test_an_edit_changes_what_is_named_and_nothing_else(self, redis: Redis) -> None:
        raw = payload("a", unique_for=60, big=2**70, retry_for=10)
        redis.zadd("retry", {raw: 9.25})
        changed = only_entry(jobd.RetrySet()).edit({"args": [2, "é"], "queue": "low"}, remove=["retry_for"])
        assert changed == only_entry(jobd.RetrySet())
        assert changed is not None
        expected = {**json.loads(raw), "args": [2, "é"], "queue": "low"}
        del expected["retry_for"]
        assert (dict(changed.payload), changed.score) == (expected, 9.25)

    @pytest.mark.parametrize(
        ("changes", "remove", "says"),
        [
            ({"args": "x"}, [], "args='x': give a list"),
            ({"args": [{1, 2}]}, [], r"args\[0\] is a set"),
            ({"queue": "a b"}, [], "queue='a b'"),
            ({"retry": -1}, [], "retry=-1"),
            ({"class": ""}, [], "class=''"),
            ({"at": 5}, [], "`at` is no field"),
            ({}, ["jid"], "`jid` cannot be removed"),
        ],
    )
    def test_an_edit_is_checked_as_a_push_is(
        self, redis: Redis, changes: dict[str, Any], remove: list[str], says: str
    ) -> None:
        redis.zadd("retry", {payload("a"): 9.0})
        with pytest.raises((InvalidPayload, InvalidArguments), match=says):
            only_entry(jobd.RetrySet()).edit(changes, remove=remove)
        assert only_entry(jobd.RetrySet()).raw == payload("a")

    @pytest.mark.parametrize(
        "change",
        [
            lambda entry: entry.delete(),
            lambda entry: entry.retry(),
            lambda entry: entry.add_to_queue(),
            lambda entry: entry.kill(),
            lambda entry: entry.reschedule(5.0),
            lambda entry: entry.edit({"args": [2]}),
        ],
        ids=["delete", "retry", "add_to_queue", "kill", "reschedule", "edit"],
    )
    def test_what_was_promoted_since_it_was_read_is_gone_and_never_doubled(
        self, redis: Redis, change: Callable[[SetEntry], object]
    ) -> None:
        redis.zadd("retry", {payload("a"): 9.0})
        entry = only_entry(jobd.RetrySet())
        redis.zrem("retry", entry.raw)
        redis.lpush("queue:default", entry.raw)
        assert not change(entry)
        assert redis.lrange("queue:default", 0, -1) == [entry.raw]
        assert redis.exists("retry", "dead", "schedule") == 0

    def test_a_queue_of_a_wrong_type_leaves_the_entry_and_is_named(self, redis: Redis) -> None:
        redis.zadd("retry", {payload("a"): 9.0})
        redis.set("queue:default", "text")
        with pytest.raises(jobd.JobdError, match="queue:default is no list"):
            only_entry(jobd.RetrySet()).retry()
        assert len(jobd.RetrySet()) == 1

    def test_a_user_who_may_not_push_loses_no_job(self, redis: Redis, redis_url: str) -> None:
        fill_set(redis, "retry", 20)
        with user_without(redis, redis_url, "lpush") as client:
            with pytest.raises(RedisRefused, match="LPUSH"):
                jobd.RetrySet(client).retry_all()
            with pytest.raises(RedisRefused, match="LPUSH"):
                next(iter(jobd.RetrySet(client))).retry()
        assert redis.zcard("retry") == 20

    @pytest.mark.parametrize(
        "change",
        [
            lambda retries: retries.retry_in_waves(5, 60),
            lambda retries: retries.kill_all(),
            lambda retries: next(iter(retries)).reschedule(NOW + 60),
        ],
        ids=["waves", "kill", "reschedule"],
    )
    def test_a_user_who_may_not_write_sets_loses_no_job(
        self, redis: Redis, redis_url: str, change: Callable[[jobd.RetrySet], object]
    ) -> None:
        fill_set(redis, "retry", 20)
        with user_without(redis, redis_url, "zadd") as client, pytest.raises(RedisRefused, match=r"ZADD.*nothing was"):
            change(jobd.RetrySet(client))
        assert redis.zcard("retry") == 20

    def test_a_dead_set_of_a_wrong_type_leaves_the_entry(self, redis: Redis) -> None:
        redis.zadd("retry", {payload("a"): 9.0})
        redis.set("dead", "text")
        with pytest.raises(RedisRefused, match="dead is no sorted set"):
            only_entry(jobd.RetrySet()).kill()
        assert len(jobd.RetrySet()) == 1

    def test_a_namespace_is_kept_to(self, redis: Redis, redis_url: str) -> None:
        client = jobd.Client(redis_url, namespace="{x}:")
        redis.zadd("{x}:retry", {payload("a"): 9.0})
        assert only_entry(jobd.RetrySet(client)).retry()
        assert sorted(redis.keys()) == [b"{x}:queue:default", b"{x}:queues"]


class TestTheDeadSetsRoom:
    def test_the_widest_limits_of_running_workers_hold(self, redis: Redis) -> None:
        assert jobd.DeadSet().limits() == DeadLimits()
        for name, jobs in (("a", 500), ("b", 20_000)):
            redis.sadd("processes", name)
            redis.hset(name, "info", json.dumps({"dead_max_jobs": jobs, "dead_timeout": 1e6}))
        assert jobd.DeadSet().limits() == DeadLimits(20_000, 1e6)

    def test_it_says_what_would_be_dropped(self, redis: Redis) -> None:
        redis.zadd("dead", {b"old": 1.0, b"a": NOW, b"b": NOW + 1})
        room = jobd.DeadSet().room(DeadLimits(max_jobs=4, timeout=1e9))
        assert (room.size, room.expired, room.free) == (3, 1, 2)
        assert [room.would_drop(jobs) for jobs in (1, 2, 3, 10)] == [0, 0, 1, 8]

    def test_killing_all_into_a_full_set_is_refused_before_anything_is_moved(self, redis: Redis) -> None:
        fill_set(redis, "retry", 5)
        limits = DeadLimits(max_jobs=3)
        with pytest.raises(DeadSetFull, match="killing 5 jobs would drop 2: the dead set holds 0 and keeps 3"):
            jobd.RetrySet().kill_all(limits=limits)
        with pytest.raises(DeadSetFull, match="killing 5 jobs"):
            jobd.RetrySet().kill_all(limits=limits, text="HardJob")
        assert (len(jobd.RetrySet()), len(jobd.DeadSet())) == (5, 0)
        assert jobd.RetrySet().kill_all(limits=limits, only=["1.0-j0"]).moved == 1
        result = jobd.RetrySet().kill_all(limits=limits, drop=True)
        assert (result.moved, result.dropped, len(jobd.DeadSet())) == (4, 2, 3)


def test_a_lost_answer_says_that_the_change_may_have_been_made(redis_url: str) -> None:
    with RedisServer() as server:
        client = jobd.Client(server.url)
        with server.client() as direct:
            direct.zadd("retry", {payload("a"): 9.0})
            entry = only_entry(jobd.RetrySet(client))
            direct.client_pause(60_000, all=False)
        client.connector.socket_timeout = 0.2
        client.connector.close()
        with pytest.raises(jobd.errors.ChangeOutcomeUnknown, match="may have been made"):
            entry.delete()


def test_fields_to_remove_come_as_a_list(redis: Redis) -> None:
    redis.zadd("retry", {payload("a", tags=["x"]): 1.0})
    entry = only_entry(jobd.RetrySet())
    with pytest.raises(InvalidArguments, match=r"give a list of fields, \['tags'\]"):
        entry.edit({}, remove="tags")
    changed = entry.edit({}, remove=["tags"])
    assert changed is not None
    assert changed.tags == []
