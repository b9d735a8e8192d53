"""The promises of the scripts, one by one, on a real server."""

from __future__ import annotations

import math
from typing import Any

import pytest
from redis import ConnectionPool, Redis
from redis.exceptions import ResponseError

from jobd.client import defaults, scripts
from jobd.client.scripts import (
    Blame,
    DeadLimits,
    Fenced,
    Finished,
    Move,
    Promoted,
    Recovered,
    Resync,
    Settled,
    Taken,
    Takeover,
)
from tests.protocol import state
from tests.protocol.calls import KEYS, NOTHING, NOW, Owner, dead, retry, straggler


@pytest.fixture
def owner(redis: Redis) -> Owner:
    """A registered owner on an empty server."""
    return Owner(redis).register()


def batch_of(owner: Owner, *payloads: bytes) -> None:
    owner.push(*payloads)
    assert isinstance(owner.fetch(len(payloads), mode="batch"), Taken)


def test_jobs_are_taken_oldest_first_and_queues_in_the_order_given(owner: Owner) -> None:
    owner.push(b"a1", b"a2", queue="a")
    owner.push(b"b1", b"b2", queue="b")
    assert owner.fetch(3, "b", "a") == Taken("", 0, [("b", b"b1"), ("b", b"b2"), ("a", b"a1")])
    assert owner.queued("a") == [b"a2"]


def test_each_queue_gives_its_quota_before_any_gives_more(owner: Owner) -> None:
    owner.push(b"a1", b"a2", b"a3", queue="a")
    owner.push(b"b1", b"b2", queue="b")
    assert owner.fetch(4, ("a", 1), ("b", 1)) == Taken("", 0, [("a", b"a1"), ("b", b"b1"), ("a", b"a2"), ("a", b"a3")])
    assert owner.queued("b") == [b"b2"]


def test_a_batch_that_took_from_a_queue_twice_is_shown_and_recovered_in_order(owner: Owner) -> None:
    owner.push(b"a1", b"a2", queue="a")
    owner.push(b"b1", b"b2", queue="b")
    jobs = [("a", b"a1"), ("b", b"b1"), ("a", b"a2"), ("b", b"b2")]
    call = scripts.fetch(owner.record(), NOTHING, call=1, want=4, mode="batch", queues=[("a", 1), ("b", 1)])
    assert [owner.send(call) for _ in range(2)] == [Taken("", 0, jobs)] * 2
    owner.token = "forgotten"
    assert owner.fetch(1) == Resync("1:one", jobs, {}, batch_call=1)
    assert sorted(owner.take().queues) == ["a", "b"]
    assert [owner.recover(["a", "b"], limit=3).given_back, owner.recover(["a", "b"]).given_back] == [3, 1]
    assert (owner.queued("a"), owner.queued("b")) == ([b"a1", b"a2"], [b"b1", b"b2"])


def test_a_paused_queue_is_passed_over_until_it_is_resumed(owner: Owner) -> None:
    owner.push(b"1", queue="a")
    owner.push(b"2", queue="b")
    assert owner.send(scripts.pause(KEYS, "a", "by ann"))
    assert not owner.send(scripts.pause(KEYS, "a", "by bob"))
    assert owner.redis.hgetall(KEYS.paused_by) == {b"a": b"by ann"}
    assert owner.fetch(5, "a", "b") == Taken("", 0, [("b", b"2")])
    assert owner.send(scripts.resume(KEYS, "a"))
    assert not owner.send(scripts.resume(KEYS, "a"))
    assert owner.fetch(5, "a") == Taken("", 0, [("a", b"1")])
    assert not owner.redis.exists(KEYS.paused, KEYS.paused_by)


@pytest.mark.parametrize("mode", ["batch", "single"])
def test_payloads_that_are_no_text_and_queues_with_colons_survive_every_way(owner: Owner, mode: Any) -> None:
    strange = [b"\xff\xfe\x00\n\n7", b"", b"[]", b'{"a":1.0}', b"\n"]
    owner.push(*strange, queue="mail:high:1")
    jobs = [("mail:high:1", payload) for payload in strange]
    assert owner.fetch(9, "mail:high:1", mode=mode) == Taken("", 0, jobs)
    owner.token = "something else"
    resync = owner.fetch(1)
    assert isinstance(resync, Resync)
    assert list(resync.batch) + [resync.jobs[name] for name in sorted(resync.jobs)] == jobs
    assert owner.take() == Takeover("TAKEN", ["mail:high:1"])
    assert owner.recover(["mail:high:1"]) == Recovered(True, 5)
    assert owner.queued("mail:high:1") == strange


def test_two_hundred_jobs_of_100_kilobytes_travel_at_once(owner: Owner) -> None:
    payloads = [str(i).encode() * 100_000 for i in range(200)]
    payloads = [payload[:100_000] for payload in payloads]
    owner.push(*payloads)
    assert owner.fetch(200, mode="batch") == Taken("", 0, [("default", payload) for payload in payloads])
    back = [("", "default", payload) for payload in reversed(payloads)]
    assert owner.settle(back, Finished(close_batch=True)) == Settled("", 0, 200)
    assert owner.queued() == payloads


def test_a_thousand_jobs_are_pushed_fetched_and_acknowledged_in_a_call_each(owner: Owner) -> None:
    owner.push(*(str(i).encode() for i in range(1_000)))
    assert isinstance(taken := owner.fetch(1_000), Taken)
    assert len(taken.jobs) == 1_000
    owner.ack(Finished(done=[f"1.{i}" for i in range(1, 1_001)]))
    assert owner.number(KEYS.stat_processed) == 1_000


def test_a_batch_is_closed_as_a_whole_and_stragglers_stay_as_single_jobs(owner: Owner) -> None:
    batch_of(owner, b"1", b"2", b"3")
    finished = Finished(
        close_batch=True, batch_done=1, stragglers=[straggler("1.2", b"2")], moves=[retry("", b"3 again")]
    )
    assert owner.ack(finished) == Settled("", 0)
    assert not owner.redis.exists(KEYS.batch("one"))
    assert owner.redis.hgetall(KEYS.jobs("one")) == {b"token": b"2:one", b"pid": b"7", b"1.2": b"default\n2"}
    assert (owner.number(KEYS.stat_processed), owner.number(KEYS.stat_failed)) == (2, 1)


def test_a_second_batch_is_not_opened_beside_the_first(owner: Owner) -> None:
    batch_of(owner, b"1")
    owner.push(b"2")
    owner.fetch(1, mode="batch")
    assert owner.redis.lrange(KEYS.batch("one"), 0, -1) == [b"1"]
    assert owner.redis.hget(KEYS.jobs("one"), "2.1") == b"default\n2"


@pytest.mark.parametrize(
    "finished",
    [
        Finished(done=["1.1", "7.7"]),
        Finished(moves=[retry("1.1", b"again")]),
        Finished(moves=[dead("1.1", b"dead")]),
        Finished(moves=[Move("1.1", "", 0.0, b"", 1, 1)]),
        Finished(close_batch=True, batch_done=5, stragglers=[straggler("1.1", b"x")], moves=[dead("", b"dead")]),
    ],
)
def test_what_is_not_in_the_record_is_neither_counted_nor_moved(owner: Owner, finished: Finished) -> None:
    assert owner.ack(finished) == Settled("", 0)
    assert set(state.read(owner.redis)) == {KEYS.jobs("one"), KEYS.owners}
    assert owner.redis.hgetall(KEYS.jobs("one")) == {b"token": b"1:one", b"pid": b"7"}


def test_a_job_in_two_entries_of_a_call_is_counted_once(owner: Owner) -> None:
    owner.push(b"1")
    owner.fetch(1)
    owner.ack(Finished(done=["1.1", "1.1"], moves=[retry("1.1", b"again")]))
    assert (owner.number(KEYS.stat_processed), owner.number(KEYS.stat_failed)) == (1, 0)
    assert not owner.redis.exists(KEYS.retry)


def test_counters_of_a_day_expire_and_those_of_all_time_do_not(owner: Owner) -> None:
    owner.push(b"1")
    owner.fetch(1)
    owner.ack(Finished(moves=[dead("1.1", b"1")]))
    for day, total in (
        (KEYS.stat_processed_on(NOW), KEYS.stat_processed),
        (KEYS.stat_failed_on(NOW), KEYS.stat_failed),
    ):
        left: Any = owner.redis.ttl(day)
        assert defaults.STAT_TTL - 60 < left <= defaults.STAT_TTL
        assert owner.redis.ttl(total) == -1
        assert owner.number(day) == owner.number(total) == 1


def test_a_counter_overwritten_with_text_is_told_of_and_hinders_no_acknowledgement(owner: Owner) -> None:
    owner.push(b"1")
    owner.fetch(1)
    owner.redis.set(KEYS.stat_processed, "many")
    settled = owner.ack(Finished(done=["1.1"]))
    assert isinstance(settled, Settled)
    assert KEYS.stat_processed in settled.note
    assert owner.redis.hkeys(KEYS.jobs("one")) == [b"token", b"pid"]
    assert owner.number(KEYS.stat_processed_on(NOW)) == 1


def test_the_dead_set_keeps_exactly_its_limit_of_the_newest(redis: Redis) -> None:
    owner = Owner(redis, limits=DeadLimits(max_jobs=3, timeout=100.0)).register()
    owner.push(*(b"%d" % i for i in range(5)))
    owner.fetch(5)
    moves = [dead(f"1.{i}", b"%d" % i, NOW + i) for i in range(1, 6)]
    assert owner.ack(Finished(moves=moves)) == Settled("", 2)
    assert owner.members(KEYS.dead) == [b"3", b"4", b"5"]


def test_the_dead_set_drops_what_is_older_than_its_age(redis: Redis) -> None:
    owner = Owner(redis, limits=DeadLimits(max_jobs=9, timeout=100.0)).register()
    redis.zadd(KEYS.dead, {"old": NOW - 100.5, "just old enough to stay": NOW - 100})
    owner.push(b"1")
    owner.fetch(1)
    assert owner.ack(Finished(moves=[dead("1.1", b"new")])) == Settled("", 1)
    assert owner.members(KEYS.dead) == [b"just old enough to stay", b"new"]


def test_jobs_given_back_are_next_in_their_old_order(owner: Owner) -> None:
    batch_of(owner, b"1", b"2", b"3")
    owner.push(b"4")
    back = [("", "default", b"3"), ("", "default", b"2"), ("", "default", b"1")]
    assert owner.settle(back, Finished(close_batch=True)) == Settled("", 0, 3)
    assert owner.queued() == [b"1", b"2", b"3", b"4"]
    assert owner.redis.hgetall(KEYS.jobs("one")) == {b"token": b"2:one", b"pid": b"7"}


def test_only_what_is_in_the_record_is_given_back(owner: Owner) -> None:
    assert owner.settle([("1.1", "default", b"1"), ("", "default", b"2")]) == Settled("", 0, 0)
    assert owner.queued() == []


def test_recovered_jobs_are_next_in_their_old_order_whatever_the_size_of_a_step(owner: Owner) -> None:
    owner.calls = 8
    names = [b"%d" % i for i in range(1, 16)]
    owner.push(*names)
    owner.fetch(1)
    owner.fetch(12)
    owner.fetch(1, mode="batch")
    assert owner.take().state == "TAKEN"
    steps = 0
    while not owner.recover(["default"], limit=2).done:
        steps += 1
    assert steps == 6
    assert owner.queued() == names
    assert set(state.read(owner.redis)) == {KEYS.queues, KEYS.queue("default")}


def test_the_members_of_a_dissolved_batch_can_be_blamed_and_keep_their_order(owner: Owner) -> None:
    owner.push(b"1", b"2", queue="a")
    owner.push(b"3", queue="b")
    owner.fetch(3, "a", "b", mode="batch")
    unbatch = scripts.unbatch(KEYS, "one")
    assert owner.send(unbatch) == 0  # nobody recovers it
    assert owner.take().state == "TAKEN"
    assert [owner.send(unbatch), owner.send(unbatch)] == [3, 0]
    recovered = owner.recover(["a", "b"], blames=[Blame("1.2", "two")])
    assert (recovered.done, recovered.given_back, recovered.blamed) == (True, 3, ("1.2",))
    assert (owner.queued("a"), owner.queued("b")) == ([b"1", b"2"], [b"3"])
    assert owner.redis.get(KEYS.crashes("two")) == b"1"


def test_a_damaged_batch_is_not_dissolved(owner: Owner) -> None:
    owner.push(b"1", b"2")
    owner.fetch(2, mode="batch")
    owner.redis.rpop(KEYS.batch("one"))
    owner.take()
    assert owner.send(scripts.unbatch(KEYS, "one")) == 0
    assert owner.recover(["default"]) == Recovered(True, 1)


def test_several_recoverers_share_the_work_and_give_nothing_back_twice(owner: Owner) -> None:
    owner.push(b"1", b"2", b"3", queue="a")
    owner.push(b"4", b"5", queue="b")
    owner.fetch(4, "a", "b", mode="batch")
    assert owner.take() == Takeover("TAKEN", ["a", "b"])
    assert owner.recover(["a", "b"], limit=2) == Recovered(False, 2)
    assert owner.take() == Takeover("TAKEN", ["a"])
    assert owner.recover(["a"], limit=2) == Recovered(True, 2)
    assert owner.recover(["a", "b"], limit=2) == Recovered(True)
    assert (owner.queued("a"), owner.queued("b")) == ([b"1", b"2", b"3"], [b"4", b"5"])


def test_an_owner_is_taken_only_while_its_last_beat_is_the_one_that_was_seen(owner: Owner) -> None:
    assert owner.send(scripts.beat(KEYS, "one", NOW + 10))
    assert owner.take(NOW) == Takeover("ALIVE")
    assert owner.send(scripts.beat(KEYS, "one", NOW + 20))
    assert owner.take(NOW + 20).state == "TAKEN"


def test_an_entry_without_a_record_is_removed_when_it_is_taken(redis: Redis) -> None:
    redis.zadd(KEYS.owners, {"one": NOW})
    assert Owner(redis).take() == Takeover("GONE")
    assert not redis.exists(KEYS.owners)


def test_an_owner_that_was_not_taken_is_not_recovered(owner: Owner) -> None:
    batch_of(owner, b"1")
    with pytest.raises(ResponseError, match="one is not taken"):
        owner.recover(["default"])
    assert owner.queued() == []


@pytest.mark.parametrize(
    "runs", ["", "1", "1\ndefault", "1\ndefault\n1", "1\ndefault\nx", "1\ndefault\n-1", "1\ndefault\n9"]
)
def test_no_member_of_a_damaged_batch_is_lost(owner: Owner, runs: str) -> None:
    batch_of(owner, b"1", b"2")
    owner.redis.hset(KEYS.jobs("one"), "batch", runs)
    queues = owner.take().queues
    notes = [owner.recover(queues, limit=1) for _ in range(4)]
    assert notes[-1] == Recovered(done=True)
    found = owner.queued() + owner.members(KEYS.dead)
    assert sorted(found) == [b"1", b"2"]
    assert bool(owner.members(KEYS.dead)) == any("unknown source" in step.note for step in notes)


def test_a_damaged_single_job_is_kept_in_the_dead_set(owner: Owner) -> None:
    owner.redis.hset(KEYS.jobs("one"), "3.1", b"no source \xff")
    step = owner.recover(owner.take().queues)
    assert step.done
    assert "unknown source" in step.note
    assert owner.members(KEYS.dead) == [b"no source \xff"]


def test_jobs_whose_queue_is_of_a_wrong_type_go_to_the_dead_set_as_they_are(owner: Owner) -> None:
    batch_of(owner, b"1", b"2")
    owner.redis.set(KEYS.queue("default"), "no list")
    settled = owner.settle([("", "default", b"2")], Finished(close_batch=True, stragglers=[straggler("1.1", b"1")]))
    assert isinstance(settled, Settled)
    assert "queue:default is no list" in settled.note
    assert owner.take().state == "TAKEN"
    assert "queue:default is no list" in owner.recover(["default"]).note
    assert owner.members(KEYS.dead) == [b"1", b"2"]
    assert owner.redis.get(KEYS.queue("default")) == b"no list"


@pytest.mark.parametrize(
    "finished", [Finished(done=["1.1"], moves=[retry("1.2", b"")]), Finished(moves=[dead("1.2", b"")])]
)
def test_when_retry_or_dead_is_of_a_wrong_type_nothing_is_changed(owner: Owner, finished: Finished) -> None:
    owner.push(b"1", b"2")
    owner.fetch(2)
    owner.redis.set(KEYS.retry, "no set")
    owner.redis.set(KEYS.dead, "no set")
    before = state.read(owner.redis)
    with pytest.raises(ResponseError, match=r"WRONGTYPE (retry|dead) is no sorted set; nothing was changed"):
        owner.ack(finished)
    assert state.read(owner.redis) == before


def test_a_batch_is_not_closed_when_a_member_could_go_nowhere(owner: Owner) -> None:
    batch_of(owner, b"1")
    owner.redis.set(KEYS.queue("default"), "no list")
    owner.redis.set(KEYS.dead, "no set")
    before = state.read(owner.redis)
    with pytest.raises(ResponseError, match="queue:default is no list and dead is no sorted set; nothing was changed"):
        owner.settle([("", "default", b"1")], Finished(close_batch=True))
    assert owner.take().state == "TAKEN"
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        owner.recover(["default"])
    assert state.read(owner.redis)[KEYS.batch("one")] == before[KEYS.batch("one")]


def test_a_single_job_that_can_go_nowhere_stays_in_progress(owner: Owner) -> None:
    owner.push(b"1")
    owner.fetch(1)
    owner.redis.set(KEYS.queue("default"), "no list")
    owner.redis.set(KEYS.dead, "no set")
    settled = owner.settle([("1.1", "default", b"1")])
    assert isinstance(settled, Settled)
    assert "stays in progress" in settled.note
    assert owner.redis.hget(KEYS.jobs("one"), "1.1") == b"default\n1"


def test_a_fetch_passes_over_a_queue_of_a_wrong_type_and_says_so(owner: Owner) -> None:
    owner.redis.set(KEYS.queue("a"), "no list")
    owner.push(b"1", queue="b")
    taken = owner.fetch(2, "a", "b")
    assert isinstance(taken, Taken)
    assert list(taken.jobs) == [("b", b"1")]
    assert taken.note.count("queue:a: WRONGTYPE") == 1


def test_each_kind_of_call_is_carried_out_once_when_it_is_sent_twice(owner: Owner) -> None:
    owner.push(b"1", b"2", b"3", b"4")
    first = scripts.fetch(owner.record(), NOTHING, call=1, want=2, mode="batch", queues=[("default", 2)])
    answers = [owner.send(first) for _ in range(2)]
    assert answers[0] == answers[1] == Taken("", 0, [("default", b"1"), ("default", b"2")])
    owner.token = "1:one"
    closing = Finished(close_batch=True, batch_done=2)
    second = scripts.fetch(owner.record(), closing, call=2, want=2, mode="single", queues=[("default", 2)])
    assert [owner.send(second) for _ in range(2)] == [Taken("", 0, [("default", b"3"), ("default", b"4")])] * 2
    owner.token = "2:one"
    third = scripts.ack(owner.record(), Finished(moves=[retry("2.1", b"3 again")]))
    assert [owner.send(third) for _ in range(2)] == [Settled("", 0)] * 2
    owner.token = "3:one"
    fourth = scripts.settle(owner.record(), NOTHING, [("2.2", "default", b"4")])
    assert [owner.send(fourth) for _ in range(2)] == [Settled("", 0, 1), Settled("", 0, 0)]
    assert (owner.number(KEYS.stat_processed), owner.members(KEYS.retry), owner.queued()) == (3, [b"3 again"], [b"4"])


def test_a_name_in_use_is_refused_and_the_same_registration_is_not(owner: Owner) -> None:
    assert owner.send(scripts.register(KEYS, "one", "0", NOW, {}))
    assert not owner.send(scripts.register(KEYS, "one", "another token", NOW, {}))


def test_an_owner_whose_record_is_taken_or_gone_changes_nothing(owner: Owner) -> None:
    batch_of(owner, b"1")
    assert owner.take().state == "TAKEN"
    for _ in range(2):
        before = state.read(owner.redis)
        everything = Finished(close_batch=True, batch_done=1)
        assert owner.fetch(1, finished=everything) == Fenced()
        assert owner.ack(everything) == Fenced()
        assert owner.settle([("", "default", b"1")], Finished(close_batch=True)) == Fenced()
        assert not owner.send(scripts.beat(KEYS, "one", NOW + 1))
        assert state.read(owner.redis) == before
        owner.recover(["default"])


def test_an_unexpected_token_changes_nothing_and_shows_the_record(owner: Owner) -> None:
    batch_of(owner, b"1")
    owner.push(b"2")
    owner.fetch(1)
    before = state.read(owner.redis)
    owner.token = "forgotten"
    assert owner.fetch(1) == Resync("2:one", [("default", b"1")], {"2.1": ("default", b"2")}, batch_call=1)
    assert state.read(owner.redis) == before


def test_only_an_empty_record_leaves(owner: Owner) -> None:
    batch_of(owner, b"1")
    leave = scripts.leave(KEYS, "one")
    assert not owner.send(leave)
    owner.ack(Finished(close_batch=True, stragglers=[straggler("1.1", b"1")]))
    assert not owner.send(leave)
    owner.ack(Finished(done=["1.1"]))
    assert owner.send(leave)
    assert owner.send(leave)
    assert not owner.redis.exists(KEYS.owners, KEYS.jobs("one"), KEYS.batch("one"))


def test_a_server_that_has_forgotten_the_scripts_is_sent_them_again(owner: Owner) -> None:
    owner.push(b"1")
    owner.redis.script_flush()
    assert owner.fetch(1) == Taken("", 0, [("default", b"1")])


def promote(owner: Owner, *members: tuple[bytes, str | None, bytes], source: str = KEYS.schedule) -> Promoted:
    return owner.send(scripts.promote(KEYS, source, NOW, members, DeadLimits()))


def test_what_is_due_is_promoted_once_behind_what_waits(owner: Owner) -> None:
    owner.push(b"waits", queue="a")
    entries = [(NOW, b"due"), (NOW + 0.001, b"not due")]
    owner.send(scripts.push_later(KEYS, entries))
    members: list[tuple[bytes, str | None, bytes]] = [(b"due", "a", b"due, stamped"), (b"not due", "a", b"x")]
    assert promote(owner, *members, (b"removed by a user", "a", b"y")) == Promoted(1, 0, "", 0)
    assert promote(owner, *members) == Promoted(0, 0, "", 0)
    assert owner.queued("a") == [b"waits", b"due, stamped"]
    assert owner.members(KEYS.schedule) == [b"not due"]


def test_for_a_user_who_may_not_push_nothing_leaves_the_set(owner: Owner) -> None:
    owner.send(scripts.push_later(KEYS, [(NOW, b"due")]))
    owner.redis.execute_command("ACL", "SETUSER", "halfway", "on", ">word", "~*", "+@all", "-lpush")
    options = {**owner.redis.connection_pool.connection_kwargs, "username": "halfway", "password": "word"}
    limited = Redis(connection_pool=ConnectionPool(owner.redis.connection_pool.connection_class, **options))
    try:
        with pytest.raises(ResponseError, match="LPUSH"):
            promote(Owner(limited), (b"due", "a", b"due, stamped"))
    finally:
        limited.connection_pool.disconnect()
        owner.redis.execute_command("ACL", "DELUSER", "halfway")
    assert owner.members(KEYS.schedule) == [b"due"]


def test_a_malformed_member_goes_to_the_dead_set_as_raw_bytes(owner: Owner) -> None:
    owner.redis.zadd(KEYS.retry, {b"{no json \xff\x00": NOW - 1})
    assert promote(owner, (b"{no json \xff\x00", None, b""), source=KEYS.retry) == Promoted(0, 1, "", 0)
    assert owner.redis.zrange(KEYS.dead, 0, -1, withscores=True) == [(b"{no json \xff\x00", NOW)]


def test_a_due_job_whose_queue_is_of_a_wrong_type_goes_to_the_dead_set(owner: Owner) -> None:
    owner.redis.set(KEYS.queue("a"), "no list")
    owner.send(scripts.push_later(KEYS, [(NOW, b"1")]))
    done = promote(owner, (b"1", "a", b"1, stamped"))
    assert (done.promoted, done.buried) == (0, 1)
    assert "queue:a is no list" in done.note
    assert owner.members(KEYS.dead) == [b"1"]


def test_nothing_is_promoted_while_the_dead_set_is_of_a_wrong_type(owner: Owner) -> None:
    owner.send(scripts.push_later(KEYS, [(NOW, b"1")]))
    owner.redis.set(KEYS.dead, "no set")
    with pytest.raises(ResponseError, match="WRONGTYPE dead is no sorted set"):
        promote(owner, (b"1", "a", b"1"))
    assert owner.members(KEYS.schedule) == [b"1"]


def test_the_promoting_lease_is_renewed_by_its_holder_and_won_when_it_ends(owner: Owner) -> None:
    assert owner.send(scripts.lead(KEYS, "a", 60.0, [])) == []
    assert owner.send(scripts.lead(KEYS, "b", 60.0, [])) == pytest.approx(60.0, abs=1)
    assert owner.send(scripts.lead(KEYS, "a", 30.0, [])) == []
    left: Any = owner.redis.pttl(KEYS.scheduler)
    assert 29_000 < left <= 30_000
    owner.redis.delete(KEYS.scheduler)
    assert owner.send(scripts.lead(KEYS, "b", 60.0, [])) == []
    assert owner.send(scripts.lead(KEYS, "a", 60.0, [])) == pytest.approx(60.0, abs=1)


def test_a_promoting_lease_without_an_end_is_nobodys(owner: Owner) -> None:
    owner.redis.set(KEYS.scheduler, "left behind")
    assert owner.send(scripts.lead(KEYS, "a", 60.0, [])) == []


def test_who_promotes_is_told_when_the_first_jobs_are_due(owner: Owner) -> None:
    owner.redis.zadd("schedule", {"b": 7.5, "a": 1795305669.9258788})
    owner.redis.set("retry", "no set")
    call = scripts.lead(KEYS, "a", 60.0, ["dead", "schedule", "retry"])
    assert owner.send(call) == [math.inf, 7.5, -math.inf]


def test_a_heartbeat_shows_a_process_and_its_jobs_for_its_time_to_live(owner: Owner) -> None:
    call = scripts.heartbeat(KEYS, "host:1:x", 60, {"info": "{}", "busy": 1}, {"t1": b'{"queue":"a"}'})
    assert owner.send(call) == []
    assert owner.redis.hgetall(KEYS.process("host:1:x")) == {b"info": b"{}", b"busy": b"1"}
    assert owner.redis.smembers(KEYS.processes) == {b"host:1:x"}
    for key in (KEYS.work("host:1:x"), KEYS.workers("host:1:x")):
        assert owner.redis.hgetall(key) == {b"t1": b'{"queue":"a"}'}
    for key in (KEYS.process("host:1:x"), KEYS.work("host:1:x"), KEYS.workers("host:1:x")):
        left: Any = owner.redis.ttl(key)
        assert 58 <= left <= 60


def test_a_heartbeat_without_jobs_clears_those_of_the_last(owner: Owner) -> None:
    for work in ({"t1": b"{}"}, {}):
        owner.send(scripts.heartbeat(KEYS, "p", 60, {"busy": len(work)}, work))
    assert not owner.redis.exists(KEYS.work("p"), KEYS.workers("p"))
    assert owner.redis.hget(KEYS.process("p"), "busy") == b"0"


def test_a_heartbeat_brings_the_signals_in_the_order_in_which_they_were_sent(owner: Owner) -> None:
    owner.redis.lpush(KEYS.signals("p"), "TSTP", "TERM")
    assert owner.send(scripts.heartbeat(KEYS, "p", 60, {"busy": 0}, {})) == ["TSTP", "TERM"]
    assert owner.send(scripts.heartbeat(KEYS, "p", 60, {"busy": 0}, {})) == []


def test_a_retired_process_is_seen_nowhere(owner: Owner) -> None:
    for name in ("p", "q"):
        owner.send(scripts.heartbeat(KEYS, name, 60, {"busy": 1}, {"t": b"{}"}))
    owner.send(scripts.retire(KEYS, "p"))
    shown = {key for key in state.read(owner.redis) if key not in (KEYS.owners, KEYS.jobs("one"))}
    assert shown == {"processes", "q", "q:work", "q:workers"}
    assert owner.redis.smembers(KEYS.processes) == {b"q"}


def test_a_retired_process_hands_the_promoting_lease_over_at_once_and_takes_nobody_elses(owner: Owner) -> None:
    assert owner.send(scripts.lead(KEYS, "p", 60.0, [])) == []
    owner.send(scripts.retire(KEYS, "q"))
    assert owner.send(scripts.lead(KEYS, "q", 60.0, [])) == pytest.approx(60.0, abs=1)
    owner.send(scripts.retire(KEYS, "p"))
    assert owner.send(scripts.lead(KEYS, "q", 60.0, [])) == []


def in_progress(owner: Owner, *payloads: bytes) -> list[str]:
    """Single jobs of one call; returns the queues of the taken record."""
    owner.push(*payloads)
    owner.fetch(len(payloads))
    return list(owner.take().queues)


def expiry(redis: Redis, key: str) -> int:
    left: Any = redis.ttl(key)
    return int(left)


def test_a_job_that_is_blamed_goes_back_in_its_place_and_one_crash_counts_for_72_hours(owner: Owner) -> None:
    queues = in_progress(owner, b"1", b"2", b"3")
    step = owner.recover(queues, blames=[Blame("1.2", "b")])
    assert step == Recovered(True, 3, blamed=("1.2",))
    assert owner.queued() == [b"1", b"2", b"3"]
    assert owner.number(KEYS.crashes("b")) == 1
    assert owner.redis.smembers(KEYS.suspects) == {b"b"}
    for key in (KEYS.crashes("b"), KEYS.suspects):
        assert defaults.CRASH_TTL - 60 < expiry(owner.redis, key) <= defaults.CRASH_TTL
    assert not owner.redis.exists(KEYS.host_crashes("b"), KEYS.stat_processed, KEYS.dead)


def test_the_loss_of_a_host_is_counted_apart(owner: Owner) -> None:
    queues = in_progress(owner, b"1")
    owner.recover(queues, blames=[Blame("1.1", "a", host=True)])
    assert (owner.number(KEYS.host_crashes("a")), owner.number(KEYS.crashes("a"))) == (1, 0)
    assert expiry(owner.redis, KEYS.host_crashes("a")) > defaults.CRASH_TTL - 60
    assert owner.redis.smembers(KEYS.suspects) == {b"a"}


@pytest.mark.parametrize("host", [False, True])
def test_a_job_that_is_condemned_dies_with_its_counts_as_one_processed_and_failed(owner: Owner, host: bool) -> None:
    owner.redis.set(KEYS.crashes("b"), 2)
    owner.redis.set(KEYS.host_crashes("b"), 1)
    owner.redis.sadd(KEYS.suspects, "b", "another")
    queues = in_progress(owner, b"1", b"2", b"3")
    step = owner.recover(queues, blames=[Blame("1.2", "b", host=host, dead=b"2 crashed")])
    assert step == Recovered(True, 2, blamed=("1.2",))
    assert (owner.queued(), owner.members(KEYS.dead)) == ([b"1", b"3"], [b"2 crashed"])
    assert owner.redis.zscore(KEYS.dead, b"2 crashed") == NOW
    assert not owner.redis.exists(KEYS.crashes("b"), KEYS.host_crashes("b"))
    assert owner.redis.smembers(KEYS.suspects) == {b"another"}
    for key in (KEYS.stat_processed, KEYS.stat_failed, KEYS.stat_processed_on(NOW), KEYS.stat_failed_on(NOW)):
        assert owner.number(key) == 1


def test_a_crash_counts_once_whoever_recovers_and_however_often(owner: Owner) -> None:
    queues = in_progress(owner, b"1", b"2", b"3")
    blames = [Blame("1.1", "a"), Blame("1.3", "c", dead=b"3 crashed"), Blame("7.7", "gone")]
    steps = [owner.recover(queues, limit=1, blames=blames) for _ in range(4)]
    assert [step.blamed for step in steps] == [("1.3",), (), ("1.1",), ()]
    assert [step.given_back for step in steps] == [0, 1, 1, 0]
    assert owner.number(KEYS.crashes("a")) == owner.number(KEYS.stat_failed) == 1
    assert owner.redis.smembers(KEYS.suspects) == {b"a"}


def test_a_condemned_job_stays_in_progress_while_the_dead_set_is_of_a_wrong_type(owner: Owner) -> None:
    queues = in_progress(owner, b"1")
    owner.redis.set(KEYS.dead, "no set")
    with pytest.raises(ResponseError, match="WRONGTYPE dead is no sorted set"):
        owner.recover(queues, blames=[Blame("1.1", "a", dead=b"1 crashed")])
    assert owner.redis.hget(KEYS.jobs("one"), "1.1") == b"default\n1"
    assert not owner.redis.exists(KEYS.stat_processed, KEYS.stat_failed)


def test_counts_and_suspects_that_somebody_wrote_over_keep_no_job_from_going_back(owner: Owner) -> None:
    owner.redis.set(KEYS.crashes("a"), "text")
    owner.redis.set(KEYS.suspects, "text")
    queues = in_progress(owner, b"1", b"2")
    step = owner.recover(queues, blames=[Blame("1.1", "a"), Blame("1.2", "b", dead=b"2 crashed")])
    assert step.done
    assert KEYS.crashes("a") in step.note
    assert KEYS.suspects in step.note
    assert (owner.queued(), owner.members(KEYS.dead)) == ([b"1"], [b"2 crashed"])
    assert (owner.redis.get(KEYS.crashes("a")), owner.redis.get(KEYS.suspects)) == (b"text", b"text")
    assert expiry(owner.redis, KEYS.suspects) == -1


def test_a_fetch_that_takes_jobs_says_whether_there_are_suspects(owner: Owner) -> None:
    owner.push(b"1", b"2")
    owner.redis.sadd(KEYS.suspects, "a")
    assert owner.fetch(1) == Taken("", 0, [("default", b"1")], suspects=True)
    owner.redis.delete(KEYS.suspects)
    assert owner.fetch(1) == Taken("", 0, [("default", b"2")], suspects=False)
    owner.redis.sadd(KEYS.suspects, "a")
    assert owner.fetch(1) == Taken("", 0, [], suspects=False)


def test_a_job_that_came_to_an_end_is_absolved_of_all_and_others_are_not(owner: Owner) -> None:
    for jid in ("a", "b"):
        owner.redis.set(KEYS.crashes(jid), 2)
        owner.redis.set(KEYS.host_crashes(jid), 3)
        owner.redis.sadd(KEYS.suspects, jid)
    assert owner.send(scripts.absolve(KEYS, "a"))
    assert not owner.send(scripts.absolve(KEYS, "a"))
    assert owner.redis.smembers(KEYS.suspects) == {b"b"}
    assert not owner.redis.exists(KEYS.crashes("a"), KEYS.host_crashes("a"))
    assert (owner.number(KEYS.crashes("b")), owner.number(KEYS.host_crashes("b"))) == (2, 3)
