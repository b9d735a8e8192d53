"""A queue through the API: what waits in it, read while workers take from it, and changes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.access import Access
from jobd.client.bulk import BulkResult
from jobd.client.errors import InvalidArguments, RedisRefused
from jobd.client.scripts import Call, DeadLimits
from tests.client.api import fill_queue, jids, payload, queued, user_without


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def numbers(start: int, stop: int) -> list[str]:
    return [f"j{i}" for i in range(start, stop)]


def test_the_job_next_to_be_taken_comes_first(redis: Redis) -> None:
    fill_queue(redis, 2_500)
    queue = jobd.Queue()
    assert (len(queue), queue.size) == (2_500, 2_500)
    assert jids(queue) == numbers(0, 2_500)
    assert jids(queue.page(0, 3)) == ["j0", "j1", "j2"]
    assert jids(queue.page(2_499, 3)) == ["j2499"]
    assert jids(queue.page(1, 2, reverse=True)) == ["j2498", "j2497"]
    assert jids(jobd.Queue("empty")) == []


def test_all_queues_are_listed_by_name(redis: Redis) -> None:
    fill_queue(redis, 1, "b")
    fill_queue(redis, 1, "a")
    redis.sadd("queues", "drained")
    assert [queue.name for queue in jobd.Queue.all()] == ["a", "b", "drained"]


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_queue_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidArguments, match="give its name"):
        jobd.Queue(name)


def test_its_latency_is_that_of_the_job_next_to_be_taken(redis: Redis) -> None:
    queue = jobd.Queue()
    assert queue.latency == 0.0
    now = time.time()
    redis.lpush("queue:default", payload("a", enqueued_at=now - 60), payload("b", enqueued_at=now))
    assert 60 <= queue.latency < 70
    redis.rpush("queue:default", b"{bad")
    assert queue.latency == 0.0


class TestReadingWhileItChanges:
    def read(self, redis: Redis, meanwhile: Callable[[], object]) -> list[str]:
        """The jids of a queue of 5,000, to which something happens after 2,998, three pages, were read."""
        fill_queue(redis, 5_000)
        read = []
        for entry in jobd.Queue():
            read.append(entry.jid)
            if entry.jid == "j2500":
                meanwhile()
        return read

    def test_jobs_taken_by_workers_make_it_skip_nothing(self, redis: Redis) -> None:
        assert self.read(redis, lambda: redis.rpop("queue:default", 1_700)) == numbers(0, 5_000)

    def test_when_all_that_was_read_is_taken_it_goes_on_with_the_rest(self, redis: Redis) -> None:
        assert self.read(redis, lambda: redis.rpop("queue:default", 3_500)) == [
            *numbers(0, 2_998),
            *numbers(3_500, 5_000),
        ]

    def test_new_jobs_come_last(self, redis: Redis) -> None:
        read = self.read(redis, lambda: redis.lpush("queue:default", payload("new")))
        assert read == [*numbers(0, 5_000), "new"]

    def test_jobs_given_back_make_nothing_come_twice(self, redis: Redis) -> None:
        back = [payload(f"back{i}") for i in range(1_500)]
        assert self.read(redis, lambda: redis.rpush("queue:default", *back)) == numbers(0, 5_000)

    def test_what_is_read_may_be_deleted(self, redis: Redis) -> None:
        fill_queue(redis, 3_500)
        read = [entry.jid for entry in jobd.Queue() if entry.delete()]
        assert read == numbers(0, 3_500)
        assert len(jobd.Queue()) == 0

    def test_a_whole_page_deleted_makes_nothing_be_skipped(self, redis: Redis) -> None:
        def delete() -> None:
            for entry in jobd.Queue().page(1_500, 1_000):
                entry.delete()

        fill_queue(redis, 3_500)
        read = []
        for entry in jobd.Queue():
            read.append(entry.jid)
            if entry.jid == "j2600":
                delete()
        assert read == numbers(0, 3_500)

    def test_when_all_that_was_read_last_is_deleted_few_come_twice(self, redis: Redis) -> None:
        def delete() -> None:
            for entry in list(jobd.Queue())[1_900:3_100]:
                entry.delete()

        read = self.read(redis, delete)
        assert sorted(set(read)) == sorted([*numbers(0, 2_998), *numbers(3_100, 5_000)])
        assert len(read) - len(set(read)) < 100


def test_a_job_is_found_by_its_jid_and_by_text(redis: Redis) -> None:
    fill_queue(redis, 1_500)
    redis.lpush("queue:default", payload("x", args=["é*"]))
    queue = jobd.Queue()
    found = queue.find("j1400")
    assert found is not None
    assert found.jid == "j1400"
    assert queue.find("nobody") is None
    assert jids(queue.scan("é*")) == ["x"]


def test_a_job_is_deleted_once(redis: Redis) -> None:
    fill_queue(redis, 3)
    queue = jobd.Queue()
    entry = queue.page(1, 1)[0]
    assert queue.delete("j1")
    assert not entry.delete()
    assert not queue.delete("j1")
    assert jids(queue) == ["j0", "j2"]


def test_a_job_is_killed_where_it_waits_unless_a_worker_was_faster(redis: Redis) -> None:
    fill_queue(redis, 2)
    first, second = jobd.Queue()
    redis.rpop("queue:default")
    assert not first.kill()
    assert second.kill(DeadLimits(max_jobs=1)).moved
    assert redis.zrange("dead", 0, -1) == [second.raw]
    assert len(jobd.Queue()) == 0


class TestDeletingMany:
    def begun(self, redis: Redis, meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[Call[Any]]:
        """The steps of what is deleted from now on; before each of them something happens."""
        steps: list[Call[Any]] = []
        change = Access.change

        def changing(self: Access, call: Call[Any]) -> Any:
            meanwhile()
            steps.append(call)
            return change(self, call)

        monkeypatch.setattr(Access, "change", changing)
        return steps

    def test_pages_read_before_are_found_again_whatever_was_deleted_and_taken_since(self, redis: Redis) -> None:
        fill_queue(redis, 5_000)
        chosen = [entry for page in jobd.Queue().pages() for entry in page if 700 < entry.place < 2_000]
        queue = jobd.Queue()
        portions = [chosen[start : start + 300] for start in range(0, len(chosen), 300)]
        assert [queue.delete_all(each).moved for each in portions] == [300, 300, 300, 300, 99]
        assert [job["jid"] for job in queued(redis)] == numbers(0, 701) + numbers(2_000, 5_000)

    def test_jobs_taken_before_each_step_leave_none_behind(self, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        fill_queue(redis, 9_000)
        chosen = [entry for page in jobd.Queue().pages() for entry in page if entry.place % 100 == 99]
        queue = jobd.Queue()
        steps = self.begun(redis, lambda: redis.rpop("queue:default", 150), monkeypatch)
        result = queue.delete_all(chosen[::-1])
        taken = 150 * len(steps)
        assert result.moved + result.gone == 90
        assert result.moved >= 90 - taken // 99
        assert result.gone < 90
        assert not [job for job in queued(redis) if job["jid"].endswith("99")]

    def test_a_job_that_is_gone_is_looked_for_up_to_the_tail(self, redis: Redis) -> None:
        fill_queue(redis, 5_000)
        queue = jobd.Queue()
        [*_, last] = list(queue.pages())
        redis.lrem("queue:default", 0, last[-1].raw.decode())
        redis.rpop("queue:default", 4_000)
        assert queue.delete_all(last[-2:]) == BulkResult(moved=1, gone=1)

    def test_no_step_looks_at_many_jobs_at_once(self, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        fill_queue(redis, 20_000)
        chosen = [entry for page in jobd.Queue().pages() for entry in page if entry.place % 3_000 == 0]
        steps = self.begun(redis, lambda: None, monkeypatch)
        assert jobd.Queue().delete_all(chosen).moved == 7
        assert max(int(step.arguments[2]) for step in steps) < 2_200


def test_a_pause_is_noted_and_ends(redis: Redis) -> None:
    queue = jobd.Queue("mail")
    assert (queue.paused, queue.pause_note) == (False, None)
    assert queue.pause("ann")
    assert not queue.pause("bob")
    note = queue.pause_note
    assert note is not None
    assert (note.by, queue.paused) == ("ann", True)
    assert abs(note.at - time.time()) < 60
    assert queue.resume()
    assert not queue.resume()
    assert not queue.paused


@pytest.mark.parametrize(("note", "by"), [(b"by hand", "by hand"), (b"[1]", "[1]"), (None, "")])
def test_a_pause_by_others_is_shown_too(redis: Redis, note: bytes | None, by: str) -> None:
    redis.sadd("paused", "mail")
    if note is not None:
        redis.hset("jobd:paused-by", "mail", note)
    found = jobd.Queue("mail").pause_note
    assert found is not None
    assert (found.by, found.at) == (by, 0.0)


def test_clearing_removes_the_jobs_and_the_name(redis: Redis) -> None:
    fill_queue(redis, 7)
    assert jobd.Queue().clear() == 7
    assert redis.keys() == []


def test_what_is_no_list_is_not_cleared(redis: Redis) -> None:
    redis.set("queue:default", "text")
    with pytest.raises(RedisRefused, match="queue:default is no list; nothing was changed"):
        jobd.Queue().clear()
    assert redis.get("queue:default") == b"text"


def test_a_name_that_is_no_unicode_is_shown_and_obeys(redis: Redis) -> None:
    redis.sadd("queues", b"\xff")
    redis.lpush(b"queue:\xff", payload("a"), payload("b"))
    [queue] = jobd.Queue.all()
    assert queue.pause("ann")
    assert redis.smembers("paused") == {b"\xff"}
    assert queue.paused
    assert queue.pause_note is not None
    assert [each.paused for each in jobd.Stats().queues] == [True]
    assert queue.resume()
    entry = queue.find("a")
    assert entry is not None
    assert entry.kill()
    assert queue.clear() == 1
    with pytest.raises(InvalidArguments, match="is no Unicode"):
        jobd.Queue("\ud800")


def test_jobs_are_moved_to_the_front_in_their_order_from_wherever_they_stand(redis: Redis) -> None:
    fill_queue(redis, 2_500)
    queue = jobd.Queue("default")
    page = [entry for page in queue.pages() for entry in page]
    meant = [page[place] for place in (2_400, 7, 1_200, 3)]
    redis.rpop("queue:default", 2)
    assert queue.move_to_front(meant) == BulkResult(4)
    found = jids(queue)
    assert found[:6] == ["j3", "j7", "j1200", "j2400", "j2", "j4"]
    assert len(set(found)) == 2_498
    assert queue.move_to_front([page[0]]) == BulkResult(gone=1)


def test_jobs_are_moved_to_the_end_of_another_queue_and_say_so(redis: Redis) -> None:
    fill_queue(redis, 5)
    fill_queue(redis, 1, "other")
    redis.lpush("queue:default", b"{broken")
    queue, other = jobd.Queue("default"), jobd.Queue("other")
    [page] = queue.pages()
    before = page[3].enqueued_at
    assert queue.move_all([page[3], page[1], page[5]], "other") == BulkResult(2, malformed=1)
    assert [entry.jid for entry in queue][:3] == ["j0", "j2", "j4"]
    assert jids(other)[1:] == ["j1", "j3"]
    last = list(other)[-1]
    assert (last.queue, last.enqueued_at) == ("other", before)
    assert queue.move_all([page[1]], "new") == BulkResult(gone=1)
    assert b"new" not in redis.smembers("queues")
    for wrong in ("default", "", "a\nb"):
        with pytest.raises(InvalidArguments):
            queue.move_all(page, wrong)


def test_a_copy_of_a_job_is_pushed_with_an_id_of_its_own(redis: Redis) -> None:
    redis.sadd("queues", b"raw\xff")
    old = {"enqueued_at": 5.0, "created_at": 4.0, "retry_count": 3, "error_class": "E", "extra": 10**30}
    old |= {"postponed_count": 2, "retry_on_counts": {"E": 3}, "unknown_since": 1.0, "edited_into": "j0"}
    redis.lpush(b"queue:raw\xff", payload("j1", **old), b"{broken")
    queue = jobd.Queue("raw\udcff")
    assert queue.copy_all(queue.page(0, 9)) == BulkResult(1, malformed=1)
    copy = next(entry for entry in queue if entry.jid not in ("", "j1") and not entry.malformed)
    assert (copy.name, copy.args, copy.payload["extra"], copy.retry_count) == ("HardJob", [1], 10**30, None)
    assert copy.created_at is not None
    assert copy.created_at > 1e9
    assert set(copy.payload) == {"class", "args", "jid", "queue", "retry", "created_at", "enqueued_at", "extra"}
    assert queue.size == 3


@pytest.mark.parametrize("command", ["lpush", "rpush"])
def test_a_user_who_may_not_push_moves_and_loses_no_job(redis: Redis, redis_url: str, command: str) -> None:
    fill_queue(redis, 20)
    with user_without(redis, redis_url, command) as client:
        queue = jobd.Queue("default", client)
        with pytest.raises(RedisRefused, match="nothing was changed"):
            queue.move_all(queue.page(0, 10), "other") if command == "lpush" else queue.move_to_front(queue.page(5, 10))
    assert jids(jobd.Queue()) == numbers(0, 20)
