"""A server whose memory is full: what is in progress can still end, and pushes are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

import jobd
from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import PushRefused
from jobd.client.scripts import Blame, CronPush, DeadLimits, Finished, Move, Promoted, Recovered, Settled, Taken
from jobd.worker.clock import ServerClock
from jobd.worker.ledger import Ledger
from jobd.worker.outage import Outage
from tests.protocol import state
from tests.protocol.calls import KEYS, NOW, Owner, dead, retry, straggler
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(own_server: RedisServer) -> Iterator[Redis]:
    with own_server.client() as client:
        client.config_set("maxmemory", 0)
        client.flushall()
        client.script_flush()
        yield client


@pytest.fixture
def owner(redis: Redis) -> Owner:
    """An owner with the batch 1, 2, 3 and the single job 4; 5 waits."""
    owner = Owner(redis).register()
    owner.push(b"1", b"2", b"3", b"4", b"5")
    owner.fetch(3, mode="batch")
    owner.fetch(1)
    return owner


def fill(redis: Redis) -> None:
    """Leave no memory; whatever may grow is refused from now on."""
    redis.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        redis.set("anything", "more")


def test_pushes_are_refused_whole(owner: Owner) -> None:
    fill(owner.redis)
    before = state.read(owner.redis)
    with pytest.raises(OutOfMemoryError):
        owner.push(b"6", b"7", queue="new")
    with pytest.raises(OutOfMemoryError):
        owner.send(scripts.push_later(KEYS, [(NOW, b"6"), (NOW, b"7")]))
    assert state.read(owner.redis) == before


def test_acknowledging_works_for_every_fate(owner: Owner) -> None:
    fill(owner.redis)
    finished = Finished(
        close_batch=True,
        batch_done=1,
        stragglers=[straggler("1.2", b"2")],
        moves=[retry("", b"3 again"), dead("2.1", b"4 dead")],
    )
    assert owner.ack(finished) == Settled("", 0)
    assert owner.redis.hget(KEYS.jobs("one"), "1.2") == b"default\n2"
    assert (owner.members(KEYS.retry), owner.members(KEYS.dead)) == ([b"3 again"], [b"4 dead"])
    assert (owner.number(KEYS.stat_processed), owner.number(KEYS.stat_failed)) == (3, 2)


@pytest.mark.parametrize("mode", ["batch", "single"])
def test_fetching_works(owner: Owner, mode: Any) -> None:
    fill(owner.redis)
    assert owner.fetch(2, mode=mode, finished=Finished(close_batch=True, batch_done=3)) == Taken(
        "", 0, [("default", b"5")]
    )
    assert owner.number(KEYS.stat_processed) == 3


def test_giving_back_works(owner: Owner) -> None:
    fill(owner.redis)
    back = [("2.1", "default", b"4"), *(("", "default", payload) for payload in (b"3", b"2", b"1"))]
    assert owner.settle(back, Finished(close_batch=True)) == Settled("", 0, 4)
    assert owner.queued() == [b"1", b"2", b"3", b"4", b"5"]


def test_registering_beating_and_leaving_work(owner: Owner) -> None:
    fill(owner.redis)
    second = Owner(owner.redis, "two").register()
    assert owner.send(scripts.beat(KEYS, "one", NOW + 10))
    assert owner.redis.zscore(KEYS.owners, "one") == NOW + 10
    assert second.send(scripts.leave(KEYS, "two"))


def test_recovery_works(owner: Owner) -> None:
    fill(owner.redis)
    assert owner.take(NOW).state == "TAKEN"
    assert owner.recover(["default"], limit=2) == Recovered(False, 2)
    assert owner.recover(["default"], limit=2) == Recovered(True, 2)
    assert sorted(owner.queued()) == [b"1", b"2", b"3", b"4", b"5"]


def test_blaming_and_absolving_work(owner: Owner) -> None:
    owner.fetch(1)
    fill(owner.redis)
    assert owner.take(NOW).state == "TAKEN"
    blames = [Blame("2.1", "four"), Blame("3.1", "five", dead=b"5 crashed")]
    assert owner.recover(["default"], blames=blames) == Recovered(True, 4, blamed=("3.1", "2.1"))
    assert owner.number(KEYS.crashes("four")) == owner.number(KEYS.stat_failed) == 1
    assert owner.members(KEYS.dead) == [b"5 crashed"]
    assert owner.send(scripts.absolve(KEYS, "four"))


def test_promoting_works(owner: Owner) -> None:
    owner.send(scripts.push_later(KEYS, [(NOW, b"due"), (NOW, b"malformed")]))
    fill(owner.redis)
    members: list[tuple[bytes, str | None, bytes]] = [(b"due", "new", b"due, stamped"), (b"malformed", None, b"")]
    assert owner.send(scripts.promote(KEYS, KEYS.schedule, NOW, members, DeadLimits())) == Promoted(1, 1, "", 0)
    assert (owner.queued("new"), owner.members(KEYS.dead)) == ([b"due, stamped"], [b"malformed"])


def test_heartbeat_and_lead_work(owner: Owner) -> None:
    fill(owner.redis)
    assert owner.send(scripts.heartbeat(KEYS, "p", 60, {"busy": 1}, {"t": b"{}"})) == []
    assert owner.redis.hgetall(KEYS.workers("p")) == {b"t": b"{}"}
    assert owner.send(scripts.lead(KEYS, "p", 2.0, [])) == []
    assert owner.send(scripts.lead(KEYS, "p", 2.0, [])) == []
    owner.send(scripts.retire(KEYS, "p"))
    assert not owner.redis.exists("p", KEYS.processes)


def test_pausing_and_resuming_work(owner: Owner) -> None:
    fill(owner.redis)
    assert owner.send(scripts.pause(KEYS, "default", "until there is memory"))
    assert owner.send(scripts.resume(KEYS, "default"))


@pytest.fixture
def ledger(own_server: RedisServer, redis: Redis) -> Iterator[Ledger]:
    connector, abort = Connector(own_server.url), threading.Event()
    yield Ledger(
        connector,
        KEYS,
        ServerClock(),
        new_owner=lambda: "worker",
        facts={"pid": "1"},
        limits=DeadLimits(),
        outage=Outage(),
        abort=abort,
    )
    connector.close()


def test_a_worker_finishes_gives_back_beats_and_leaves(owner: Owner, ledger: Ledger) -> None:
    owner.push(*(b"%d" % i for i in range(6, 10)))
    [done] = ledger.fetch(1, [("default", 1)])
    fill(owner.redis)
    failed, unfinished = ledger.fetch(2, [("default", 2)])
    assert ledger.finish(done, None)
    assert ledger.finish(failed, Move("", "retry", NOW, b"again", 1, 1))
    assert ledger.beat(owner.send)
    assert ledger.give_back([unfinished]) == 1
    assert ledger.close()
    assert owner.queued() == [b"7", b"8", b"9"]
    assert owner.members(KEYS.retry) == [b"again"]
    assert owner.members(KEYS.owners) == [b"one"]


@pytest.mark.parametrize(
    "push",
    [
        lambda client: client.push({"class": "HardWorker", "args": ["bob", 5], "queue": "new"}),
        lambda client: client.push({"class": "HardWorker", "args": ["bob", 5], "wait": 60}),
        lambda client: client.push_bulk({"class": "HardWorker", "args": [[1], [2]], "queue": "new"}),
    ],
)
def test_an_application_is_told_that_memory_is_full_and_what_to_do(
    own_server: RedisServer, owner: Owner, push: Callable[[jobd.Client], object]
) -> None:
    client = jobd.Client(own_server.url)
    fill(owner.redis)
    before = state.read(owner.redis)
    with pytest.raises(PushRefused, match="its memory is full: raise maxmemory") as caught:
        push(client)
    assert caught.value.pushed == ()
    assert state.read(owner.redis) == before
    client.close()


def test_a_tick_of_the_cron_is_refused_whole_and_its_entry_can_still_be_disabled(owner: Owner) -> None:
    assert owner.send(scripts.cron_save(KEYS, "a", "tick", NOW, "", "* * * * *", {"klass": "A"}))
    push = CronPush("new", b"job", "jid", 60.0, b"{}", "then")
    owner.send(scripts.cron_tick(KEYS, "a", "tick", ("first", NOW), NOW, push, runs=(b"run", b"", b""), expected={}))
    fill(owner.redis)
    before = state.read(owner.redis)
    for claim, job in (("tick", push), ("late", push), ("late", None), ("hand", push)):
        call = scripts.cron_tick(
            KEYS,
            "a",
            claim,
            ("second", NOW + 9),
            NOW + 99,
            job,
            runs=(b"", b"", b""),
            expected={},  # type: ignore[arg-type]
        )
        with pytest.raises(OutOfMemoryError):
            owner.send(call)
    assert state.read(owner.redis) == before
    assert owner.send(scripts.cron_change(KEYS, "a", "", NOW, {"status": "disabled"}))
    assert owner.redis.hget(KEYS.cron_entry("a"), "status") == b"disabled"
    assert owner.send(scripts.cron_note(KEYS, "a", b"run", b"run, and its end"))
    assert owner.redis.lrange(KEYS.cron_runs("a"), 0, -1) == [b"run, and its end"]
    assert not owner.send(scripts.cron_note(KEYS, "a", b"run", b"another end"))
    assert owner.send(scripts.cron_hold(KEYS, "a", "jid", 5))
    assert owner.send(scripts.cron_hold(KEYS, "a", "jid", 0))
    assert not owner.redis.exists(KEYS.cron_running("a"))


def test_a_cron_entry_can_be_disabled_and_destroyed(redis: Redis, own_server: RedisServer) -> None:
    crons = jobd.CronSet(jobd.Client(own_server.url))
    crons.create("a", "@daily", "A", overlap="skip")
    crons.enqueue_now("a")
    fill(redis)
    assert crons.disable("a")
    assert crons.destroy("a")
    assert not crons.destroy("a")
    assert not redis.keys("*cron*")
