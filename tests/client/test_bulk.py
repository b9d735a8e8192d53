"""Changes of many entries: by pages, on a snapshot, with counts that add up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from redis._parsers import _HiredisParser

import jobd
from jobd.client import defaults
from jobd.client.bulk import BulkResult, Selection
from jobd.client.errors import InvalidArguments
from jobd.client.queues import Queue
from tests.client.api import NOW, fill_set, jids, payload, queued

ENTRIES = int(os.environ.get("JOBD_API_ENTRIES", "50000"))


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def test_all_are_retried_the_earliest_next_to_be_taken(redis: Redis) -> None:
    fill_set(redis, "retry", 700, retry_count=1)
    redis.zadd("retry", {b"{bad": 3.5})
    assert jobd.RetrySet().retry_all() == BulkResult(moved=700, malformed=1)
    jobs = queued(redis)
    assert [job["jid"] for job in jobs] == [f"j{i}" for i in range(700)]
    assert {job["retry_count"] for job in jobs} == {0}
    assert [entry.raw for entry in jobd.RetrySet()] == [b"{bad"]


def test_all_of_one_score_are_moved_too(redis: Redis) -> None:
    fill_set(redis, "schedule", 1_500, score=9.0)
    redis.zadd("schedule", {b"!bad%d" % i: 9.0 for i in range(400)})
    assert jobd.ScheduledSet().add_all_to_queue() == BulkResult(moved=1_500, malformed=400)


def test_only_what_holds_a_text_is_deleted(redis: Redis) -> None:
    fill_set(redis, "dead", 1_200)
    fill_set(redis, "dead", 30, **{"class": "OtherJob"})
    assert jobd.DeadSet().delete_all(text="OtherJob").moved == 30
    assert len(jobd.DeadSet()) == 1_200
    assert jobd.DeadSet().delete_all() == BulkResult(moved=1_200)


def test_only_what_is_named_is_moved_and_what_is_not_there_counts_as_gone(redis: Redis) -> None:
    fill_set(redis, "retry", 10)
    fill_set(redis, "retry", 60, score=100.0, queue="ties")
    retries = jobd.RetrySet()
    entry = retries.page(3, 1)[0]
    names: Any = [(1.0, "j0"), "2.0-j1", entry, entry, (100.0, "j59"), (1.0, "nobody"), (77.0, "j0")]
    assert retries.retry_all(only=names) == BulkResult(moved=4, gone=3)
    assert [job["jid"] for job in queued(redis)] == ["j0", "j1", "j3"]
    assert [job["jid"] for job in queued(redis, "ties")] == ["j59"]


def test_a_text_and_names_together_are_refused() -> None:
    with pytest.raises(InvalidArguments, match="give one of them"):
        jobd.RetrySet().retry_all(text="a", only=[])


def test_a_queue_of_a_wrong_type_keeps_its_entries_and_is_named(redis: Redis) -> None:
    redis.set("queue:bad", "text")
    redis.zadd("retry", {payload("a", queue="bad"): 1.0, payload("b"): 2.0, payload("c", queue="bad"): 3.0})
    result = jobd.RetrySet().retry_all()
    assert (result.moved, result.note) == (1, "queue:bad is no list: its jobs stay in retry; ")
    assert jids(jobd.RetrySet()) == ["a", "c"]


def during_the_first_page(redis: Redis, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have `act` happen after the first page was read and before it is moved."""
    acts = [act]
    change = jobd.client.access.Access.change

    def changing(self: Any, call: Any) -> Any:
        while acts:
            acts.pop()()
        return change(self, call)

    monkeypatch.setattr("jobd.client.access.Access.change", changing)


def test_what_others_move_meanwhile_is_gone_and_never_doubled(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_set(redis, "retry", 10)

    def promote() -> None:
        [(raw, _)] = redis.zpopmin("retry")
        redis.lpush("queue:default", raw)

    during_the_first_page(redis, monkeypatch, promote)
    assert jobd.RetrySet().retry_all() == BulkResult(moved=9, gone=1)
    assert sorted(job["jid"] for job in queued(redis)) == [f"j{i}" for i in range(10)]


def test_what_fails_again_meanwhile_is_not_taken_twice(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 1e6
    redis.zadd("retry", {payload(f"j{i}", failed_at=NOW): later + i for i in range(400)})
    redis.zadd("retry", {payload(f"u{i}", unknown_since=NOW): later + i for i in range(400)})
    back = [payload("j0", failed_at=NOW, retried_at=time.time() + 1), payload("new", failed_at=time.time() + 1)]

    def fail() -> None:
        redis.zadd("retry", dict.fromkeys(back, later + 399.5))

    during_the_first_page(redis, monkeypatch, fail)
    assert jobd.RetrySet().retry_all().moved == 800
    assert sorted(entry.raw for entry in jobd.RetrySet()) == sorted(back)


@pytest.mark.parametrize("timestamps", ["s", "ms"])
@pytest.mark.parametrize("mark", [{"unknown_since": NOW, "failed_at": NOW}, {"postponed_count": 1, "failed_at": NOW}])
def test_what_comes_back_without_a_new_failure_is_not_taken_twice(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, mark: dict[str, Any], timestamps: Any
) -> None:
    jobd.configure(timestamps=timestamps)
    redis.zadd("retry", {payload(f"u{i:03}", **mark): 1.0 + i for i in range(400)})
    change = jobd.client.access.Access.change

    def changing(self: Any, call: Any) -> Any:
        moved = change(self, call)
        [raw] = redis.rpop("queue:default", 1)  # type: ignore[misc, union-attr]
        redis.zadd("retry", {raw: 399.5})
        return moved

    monkeypatch.setattr("jobd.client.access.Access.change", changing)
    assert jobd.RetrySet().retry_all().moved == 400
    assert jids(jobd.RetrySet()) == ["u000", "u001"]


def test_what_comes_behind_the_last_entry_is_left_alone(redis: Redis) -> None:
    fill_set(redis, "retry", 5_000)
    pages = Selection(jobd.RetrySet(), "HardJob", None).pages(100)
    read = next(pages)
    redis.zadd("retry", {payload(f"new{i}"): 1e10 + i for i in range(5_000)})
    read += [entry for page in pages for entry in page]
    assert {jid for jid in jids(read) if jid.startswith("new")} == set()
    assert set(jids(read)) == {f"j{i}" for i in range(5_000)}


def test_what_is_put_off_or_dies_meanwhile_is_left_alone(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_set(redis, "schedule", 400)
    fill_set(redis, "dead", 400)
    fresh = payload("fresh", created_at=time.time() + 1)
    during_the_first_page(redis, monkeypatch, lambda: redis.zadd("schedule", {fresh: 399.5}))
    assert jobd.ScheduledSet().add_all_to_queue().moved == 400
    during_the_first_page(redis, monkeypatch, lambda: redis.zadd("dead", {fresh: time.time() + 1}))
    assert jobd.DeadSet().retry_all().moved == 400
    assert jids(jobd.ScheduledSet()) == jids(jobd.DeadSet()) == ["fresh"]


def longest_answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all lists that redis-py and the scripts of jobd are answered from now on."""
    lengths: list[int] = []
    read = _HiredisParser.read_response

    def reading(self: Any, *args: Any, **options: Any) -> Any:
        answer = read(self, *args, **options)
        if isinstance(answer, list):
            lengths.append(max([len(answer), *(len(each) for each in answer if isinstance(each, list))]))
        return answer

    monkeypatch.setattr(_HiredisParser, "read_response", reading)
    return lengths


def test_nothing_reads_a_whole_set_or_queue_at_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_set(redis, "retry", ENTRIES, retry_count=0)
    lengths = longest_answers(monkeypatch)
    redis.config_resetstat()
    assert sum(1 for _ in jobd.RetrySet()) == ENTRIES
    assert sum(1 for _ in jobd.RetrySet().scan("no such text")) == 0
    assert jobd.RetrySet().retry_all() == BulkResult(moved=ENTRIES)
    assert sum(1 for _ in Queue()) == ENTRIES
    assert Queue().find(f"j{ENTRIES - 1}") is not None
    # Members and scores alternate in an answer.
    assert 300 < max(lengths) <= 2_000
    calls: Any = redis.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] <= ENTRIES / defaults.API_MOVES + 2
    assert calls["cmdstat_evalsha"]["usec_per_call"] < 5_000
    assert jobd.Queue().clear() == ENTRIES


def test_an_empty_text_does_not_stand_for_everything(redis: Redis) -> None:
    fill_set(redis, "retry", 3)
    for change in (jobd.RetrySet().delete_all, jobd.RetrySet().retry_all, jobd.RetrySet().kill_all):
        with pytest.raises(InvalidArguments, match="leave it out if all are meant"):
            change(text="")
    assert len(jobd.RetrySet()) == 3
