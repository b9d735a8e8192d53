"""The ledger on a real server, behind a relay that loses requests and replies."""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from redis import Redis

from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.scripts import DeadLimits, Move
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.outage import Outage
from tests.protocol import state
from tests.proxy import Loss, Proxy
from tests.servers import RedisServer
from tests.waiting import wait_until

KEYS = Keys()
QUEUES = [("default", 1_000)]
SCRIPTS = ("register", "fetch", "ack", "settle", "leave")


@dataclass
class Setup:
    """A ledger, the relay that it is connected through, and the server seen directly."""

    ledger: Ledger
    proxy: Proxy
    redis: Any
    abort: threading.Event
    outage: Outage
    owners: list[str] = field(default_factory=list)
    acknowledged: list[object] = field(default_factory=list)
    """Notes of the acknowledgements that were confirmed."""
    given_back: list[bytes] = field(default_factory=list)

    def push(self, *payloads: bytes, queue: str = "default") -> None:
        self.redis.sadd("queues", queue)
        self.redis.lpush(f"queue:{queue}", *payloads)

    def queued(self, queue: str = "default") -> list[bytes]:
        """Jobs of a queue, the next one first."""
        return list(reversed(self.redis.lrange(f"queue:{queue}", 0, -1)))

    def held(self) -> set[bytes]:
        """Bytes of the jobs in progress, of all owners."""
        return set(self.in_batch() + self.single())

    def in_batch(self) -> list[bytes]:
        """Those of them that lie in a batch."""
        return [job for key in self.redis.keys("jobd:*:batch") for job in self.redis.lrange(key, 0, -1)]

    def single(self) -> list[bytes]:
        """Those of them that have a field of their own."""
        records = (self.redis.hgetall(key) for key in self.redis.keys("jobd:*:jobs"))
        fields = (item for record in records for item in record.items())
        return [scripts.split_value(value)[1] for name, value in fields if scripts.is_job_field(name.decode())]

    def everywhere(self) -> list[bytes]:
        """Every job that has not left Redis, sorted."""
        sets = [job for key in ("retry", "dead") for job in self.redis.zrange(key, 0, -1)]
        return sorted([*self.queued("a"), *self.queued("b"), *self.in_batch(), *self.single(), *sets])

    def processed(self) -> int:
        count: Any = self.redis.get(KEYS.stat_processed)
        return int(count or 0)

    def recover(self) -> None:
        """What another process does once this one is believed dead."""
        connection = self.redis.connection_pool.get_connection()
        owner = self.owners[-1]
        takeover = scripts.send(connection, scripts.take(KEYS, owner, "another", None))
        call = scripts.recover(KEYS, owner, takeover.queues, 1.0, DeadLimits())
        assert scripts.send(connection, call).done
        self.redis.connection_pool.release(connection)

    def fail_over(self, act: Callable[[], object]) -> None:
        """Let `act` happen, and the server forget it."""
        saved = state.save(self.redis)
        act()
        state.restore(self.redis, saved)


@pytest.fixture
def setup(redis: Redis, redis_server: RedisServer) -> Iterator[Setup]:
    for name in SCRIPTS:
        redis.script_load(scripts.load(name).source)
    with Proxy(redis_server.socket) as proxy:
        connector = Connector(proxy.url, socket_timeout=0.5)
        abort, outage, owners = threading.Event(), Outage(), list[str]()
        acknowledged, given_back = list[object](), list[bytes]()

        def name_owner() -> str:
            owners.append(f"owner-{len(owners) + 1}")
            return owners[-1]

        ledger = Ledger(
            connector,
            KEYS,
            ServerClock(),
            new_owner=name_owner,
            facts={"pid": "1"},
            limits=DeadLimits(),
            outage=outage,
            abort=abort,
            on_acknowledged=acknowledged.extend,
            on_given_back=lambda job: given_back.append(job.payload),
        )
        yield Setup(ledger, proxy, redis, abort, outage, owners, acknowledged, given_back)
        abort.clear()
        ledger.close()
        connector.close()


def calling(name: str) -> Callable[[bytes], bool]:
    """Whether a request calls this script."""
    digest = scripts.load(name).sha.encode()
    return lambda request: digest in request


def connections(redis: Redis) -> set[str]:
    """The connections that the server has now."""
    return {entry["id"] for entry in cast("list[dict[str, str]]", redis.client_list())}


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [log.event_of(record).name for record in caplog.records]


losses = pytest.mark.parametrize("loss", ["request", "reply", "silence"])


@losses
def test_a_fetch_whose_exchange_breaks_neither_loses_nor_doubles_a_job(setup: Setup, loss: Loss) -> None:
    setup.push(b"1", b"2", b"3")
    setup.proxy.lose(loss, calling("fetch"))
    jobs = setup.ledger.fetch(2, QUEUES)
    setup.proxy.wait_until_lost()
    assert [job.payload for job in jobs] == [b"1", b"2"]
    assert (setup.held(), setup.queued()) == ({b"1", b"2"}, [b"3"])


@losses
def test_an_acknowledgement_whose_exchange_breaks_counts_once(setup: Setup, loss: Loss) -> None:
    setup.push(b"1", b"2")
    first, second = setup.ledger.fetch(2, QUEUES)
    setup.ledger.finish(first, None, "first")
    setup.ledger.finish(second, Move("", "retry", 99.0, b"2 again", 1, 1), "second")
    setup.proxy.lose(loss, calling("ack"))
    setup.ledger.flush()
    setup.proxy.wait_until_lost()
    assert (setup.processed(), setup.held()) == (2, set())
    assert setup.acknowledged == ["first", "second"]
    assert setup.redis.zrange("retry", 0, -1) == [b"2 again"]


@losses
def test_giving_back_when_the_exchange_breaks_puts_each_job_back_once(setup: Setup, loss: Loss) -> None:
    setup.push(b"1", b"2", b"3")
    jobs = setup.ledger.fetch(2, QUEUES)
    setup.proxy.lose(loss, calling("settle"))
    setup.ledger.give_back(jobs)
    setup.proxy.wait_until_lost()
    assert (setup.queued(), setup.held()) == ([b"1", b"2", b"3"], set())
    assert sorted(setup.given_back) == [b"1", b"2"]


@losses
def test_registering_when_the_exchange_breaks_keeps_the_name(setup: Setup, loss: Loss) -> None:
    setup.push(b"1")
    setup.proxy.lose(loss, calling("register"))
    setup.ledger.fetch(1, QUEUES)
    setup.proxy.wait_until_lost()
    assert setup.owners == ["owner-1"]
    assert setup.redis.zrange(KEYS.owners, 0, -1) == [b"owner-1"]


def test_a_lost_call_is_sent_again_byte_for_byte(setup: Setup) -> None:
    for loss in ("reply", "request"):
        setup.proxy.lose(loss, calling("fetch"))
    setup.ledger.fetch(1, QUEUES)
    sent = [request for request in setup.proxy.requests if calling("fetch")(request)]
    assert len(sent) == 3
    assert len(set(sent)) == 1


def test_what_is_finished_is_acknowledged_with_the_next_fetch(setup: Setup) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    assert setup.ledger.finish(job, None, "its note")
    assert (setup.processed(), setup.acknowledged) == (0, [])
    assert setup.ledger.fetch(1, QUEUES) == []
    assert (setup.processed(), setup.held(), setup.acknowledged) == (1, set(), ["its note"])


def test_a_job_is_finished_once(setup: Setup) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    assert setup.ledger.finish(job, None)
    assert not setup.ledger.finish(job, None)
    setup.ledger.flush()
    assert setup.processed() == 1


def test_jobs_go_back_to_their_own_queues_in_order_next_to_be_taken(setup: Setup) -> None:
    setup.push(b"a1", b"a2", b"a3", queue="a")
    setup.push(b"b1", b"b2", b"b3", queue="b")
    jobs = setup.ledger.fetch(2, [("a", 2)]) + setup.ledger.fetch(2, [("b", 2)])
    assert setup.ledger.give_back([jobs[3], jobs[0], jobs[2], jobs[1]]) == 4
    assert (setup.queued("a"), setup.queued("b")) == ([b"a1", b"a2", b"a3"], [b"b1", b"b2", b"b3"])


def test_a_job_that_is_finished_is_not_given_back(setup: Setup) -> None:
    setup.push(b"1", b"2")
    first, second = setup.ledger.fetch(2, QUEUES)
    setup.ledger.finish(first, None, "first")
    assert setup.ledger.give_back([first, second]) == 1
    assert (setup.queued(), setup.processed()) == ([b"2"], 1)
    assert (setup.acknowledged, setup.given_back) == (["first"], [b"2"])


def test_a_fenced_owner_changes_nothing_and_goes_on_under_a_new_name(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.push(b"1", b"2")
    finished, running = setup.ledger.fetch(2, QUEUES)
    setup.ledger.finish(finished, Move("", "dead", 1.0, b"1 dead", 1, 1), "in vain")
    setup.recover()
    with caplog.at_level(logging.INFO, "jobd"):
        again = setup.ledger.fetch(1, QUEUES)
    assert events(caplog) == ["owner.fenced"]
    assert (setup.ledger.owner, [job.payload for job in again]) == ("owner-2", [b"1"])
    assert not setup.ledger.finish(running, None)
    assert setup.ledger.give_back([running]) == 0
    assert (setup.processed(), setup.redis.exists("dead"), setup.queued()) == (0, 0, [b"2"])
    assert (setup.acknowledged, setup.given_back) == ([], [])


def test_what_was_recovered_meanwhile_is_not_given_back(setup: Setup) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    setup.recover()
    assert setup.ledger.give_back([job]) == 0
    assert (setup.given_back, setup.queued()) == ([], [b"1"])


def test_a_refused_beat_fences_with_the_next_call(setup: Setup) -> None:
    setup.push(b"1")
    setup.ledger.fetch(1, QUEUES)
    connection = setup.redis.connection_pool.get_connection()
    assert setup.ledger.beat(lambda call: scripts.send(connection, call))
    setup.recover()
    assert not setup.ledger.beat(lambda call: scripts.send(connection, call))
    setup.redis.connection_pool.release(connection)
    assert [job.payload for job in setup.ledger.fetch(1, QUEUES)] == [b"1"]
    assert setup.ledger.owner == "owner-2"


def test_a_server_that_came_back_empty_is_met_with_a_new_owner(setup: Setup) -> None:
    setup.push(b"1")
    [old] = setup.ledger.fetch(1, QUEUES)
    setup.redis.flushall()
    setup.push(b"2")
    assert [job.payload for job in setup.ledger.fetch(1, QUEUES)] == [b"2"]
    assert not setup.ledger.finish(old, None)


def test_after_a_fail_over_a_forgotten_acknowledgement_is_told_again(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.push(b"done", b"moved", b"runs")
    done, moved, _ = setup.ledger.fetch(3, QUEUES)

    def work() -> None:
        setup.ledger.finish(done, None, "done")
        setup.ledger.flush()
        setup.ledger.finish(moved, Move("", "retry", 5.0, b"moved again", 1, 1), "moved")
        setup.ledger.flush()

    setup.fail_over(work)
    assert setup.held() == {b"done", b"moved", b"runs"}
    with caplog.at_level(logging.INFO, "jobd"):
        setup.ledger.fetch(1, QUEUES)
    assert events(caplog) == ["owner.resynced"]
    assert (setup.held(), setup.processed(), setup.queued()) == ({b"runs"}, 2, [])
    assert setup.redis.zrange("retry", 0, -1) == [b"moved again"]
    assert setup.owners == ["owner-1"]
    assert setup.acknowledged == ["done", "moved"]


def test_after_a_fail_over_what_nobody_knows_goes_back_and_what_runs_stays(setup: Setup) -> None:
    setup.push(b"runs", b"unknown", b"waits")
    jobs = setup.ledger.fetch(2, QUEUES)

    def work() -> None:
        setup.ledger.give_back(jobs[1:])
        setup.ledger.fetch(0, QUEUES)

    setup.fail_over(work)
    assert setup.held() == {b"runs", b"unknown"}
    assert setup.ledger.fetch(0, QUEUES) == []
    assert (setup.held(), setup.queued()) == ({b"runs"}, [b"unknown", b"waits"])
    assert setup.ledger.finish(jobs[0], None)


def test_after_a_fail_over_what_just_finished_is_acknowledged_too(setup: Setup) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    setup.fail_over(lambda: [setup.ledger.fetch(0, QUEUES) for _ in range(2)])
    setup.ledger.finish(job, None, "just now")
    setup.ledger.flush()
    assert (setup.held(), setup.processed()) == (set(), 1)
    assert setup.acknowledged == ["just now"]


def test_a_refusal_is_told_also_when_an_outage_has_just_ended(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    setup.outage.failed(OSError("away"))
    setup.outage.works()
    setup.redis.set("retry", "text")
    setup.ledger.finish(job, Move("", "retry", 99.0, b"1 again", 1, 1))
    caplog.clear()
    with ThreadPoolExecutor() as threads:
        flushing = threads.submit(setup.ledger.flush)
        try:
            wait_until(lambda: "redis.refused" in events(caplog), "the refusal in the log", seconds=3)
        finally:
            setup.redis.delete("retry")
        flushing.result(10)
    assert events(caplog) == ["redis.refused"]
    assert (setup.redis.zrange("retry", 0, -1), setup.held()) == ([b"1 again"], set())


def test_a_server_that_became_a_replica_is_left_for_a_new_connection(setup: Setup) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    setup.ledger.finish(job, None)
    before = connections(setup.redis)
    setup.redis.replicaof("127.0.0.1", "1")
    with ThreadPoolExecutor() as threads:
        flushing = threads.submit(setup.ledger.flush)
        try:
            wait_until(lambda: before - connections(setup.redis), "the old connection to be closed", seconds=3)
        finally:
            setup.redis.replicaof("NO", "ONE")
        flushing.result(10)
    assert (setup.processed(), setup.held()) == (1, set())


def test_abort_ends_the_wait_for_a_server_that_does_not_answer(setup: Setup) -> None:
    setup.ledger.fetch(0, QUEUES)
    for _ in range(100):
        setup.proxy.lose("request")
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(setup.ledger.fetch, 1, QUEUES)
        setup.proxy.wait_until_lost()
        setup.abort.set()
        with pytest.raises(Aborted):
            waiting.result(5)
    setup.proxy.pass_everything()


def test_a_clean_close_leaves_no_entry(setup: Setup) -> None:
    setup.push(b"1")
    [job] = setup.ledger.fetch(1, QUEUES)
    setup.ledger.finish(job, None)
    assert setup.ledger.close()
    left = [key for key in state.read(setup.redis) if not key.startswith(KEYS.stat_processed)]
    assert left == [KEYS.queues]


def test_a_close_with_jobs_in_progress_leaves_them_for_recovery(setup: Setup) -> None:
    setup.push(b"1")
    setup.ledger.fetch(1, QUEUES)
    assert not setup.ledger.close()
    assert setup.redis.zrange(KEYS.owners, 0, -1) == [b"owner-1"]
    setup.recover()
    assert setup.queued() == [b"1"]


def test_threads_share_one_ledger_and_each_job_is_fetched_once(setup: Setup) -> None:
    setup.push(*(str(i).encode() for i in range(200)))

    def work(_: int) -> list[bytes]:
        done = []
        while jobs := setup.ledger.fetch(3, QUEUES):
            done += [job.payload for job in jobs if setup.ledger.finish(job, None)]
        return done

    with ThreadPoolExecutor(4) as threads:
        done = [payload for found in threads.map(work, range(4)) for payload in found]
    assert (len(done), len(set(done))) == (200, 200)
    setup.ledger.flush()
    assert (setup.processed(), setup.held()) == (200, set())


def test_threads_that_finish_what_another_gives_back_change_nothing_twice(setup: Setup) -> None:
    """All running jobs are given back again and again while their threads finish them."""
    setup.push(*(b"%d" % i for i in range(3_000)))
    ready, over = deque[Fetched](), threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                job = ready.popleft()
            except IndexError:
                over.wait(0.0005)
            else:
                setup.ledger.finish(job, None, job.payload)

    def give_back() -> None:
        while not over.is_set():
            setup.ledger.give_back(setup.ledger.running)

    with ThreadPoolExecutor(4) as threads, switching_often():
        running = [threads.submit(each) for each in (work, work, work, give_back)]
        try:
            for i in range(20_000):
                ready.extend(setup.ledger.fetch(50, QUEUES, batch=i % 4 > 0))
                if setup.processed() == 3_000:
                    break
        finally:
            over.set()
        for each in running:
            each.result()
    assert (setup.processed(), setup.held(), setup.queued()) == (3_000, set(), [])
    assert sorted(setup.acknowledged) == sorted({b"%d" % i for i in range(3_000)})


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """Let threads interrupt each other at almost every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_giving_back_after_a_fail_over_leaves_nothing_that_nobody_knows(setup: Setup) -> None:
    setup.push(b"runs", b"unknown")
    jobs = setup.ledger.fetch(2, QUEUES)

    def lost_calls() -> None:
        setup.ledger.give_back(jobs[1:])
        setup.ledger.fetch(0, QUEUES)

    setup.fail_over(lost_calls)
    setup.ledger.give_back(jobs[:1])
    assert (setup.held(), setup.queued()) == (set(), [b"runs", b"unknown"])


def done(setup: Setup, *jobs: Fetched) -> None:
    """Finish jobs with success, each with its bytes as the note."""
    for job in jobs:
        assert setup.ledger.finish(job, None, job.payload)


def fail(setup: Setup, job: Fetched) -> None:
    """Finish a job with a failure: it is tried again, under the same bytes."""
    assert setup.ledger.finish(job, Move("", "retry", 99.0, job.payload, 1, 1), job.payload)


def test_the_call_after_a_batch_closes_it_and_keeps_what_still_runs_as_single_jobs(setup: Setup) -> None:
    setup.push(b"1", b"2", b"3", b"4")
    first, second, third = setup.ledger.fetch(3, QUEUES, batch=True)
    assert (setup.in_batch(), setup.single()) == ([b"1", b"2", b"3"], [])
    done(setup, first)
    fail(setup, third)
    [fourth] = setup.ledger.fetch(3, QUEUES, batch=True)
    assert (setup.in_batch(), setup.single()) == ([b"4"], [b"2"])
    assert (setup.processed(), setup.acknowledged) == (2, [b"1", b"3"])
    assert setup.redis.zrange("retry", 0, -1) == [b"3"]
    assert setup.ledger.running == [second, fourth]
    done(setup, second, fourth)
    setup.ledger.flush()
    assert (setup.processed(), setup.held(), setup.acknowledged) == (4, set(), [b"1", b"3", b"2", b"4"])


def test_a_flush_closes_the_batch(setup: Setup) -> None:
    setup.push(b"1", b"2")
    first, second = setup.ledger.fetch(2, QUEUES, batch=True)
    setup.ledger.flush()
    assert setup.in_batch() == [b"1", b"2"]
    done(setup, first)
    setup.ledger.flush()
    assert (setup.in_batch(), setup.single(), setup.processed()) == ([], [b"2"], 1)
    fail(setup, second)
    assert setup.ledger.close()
    assert (setup.redis.zrange("retry", 0, -1), setup.processed()) == ([b"2"], 2)


def test_what_is_given_back_of_a_batch_is_next_to_be_taken_from_its_own_queue(setup: Setup) -> None:
    setup.push(b"a1", b"a2", b"a3", queue="a")
    setup.push(b"b1", b"b2", b"b3", queue="b")
    [single] = setup.ledger.fetch(1, [("b", 1)])
    a1, a2, b2, b3 = setup.ledger.fetch(4, [("a", 2), ("b", 2)], batch=True)
    done(setup, a1)
    assert setup.ledger.give_back([b3, a2, single, b3]) == 3
    assert (setup.queued("a"), setup.queued("b")) == ([b"a2", b"a3"], [b"b1", b"b3"])
    assert (setup.single(), setup.in_batch(), setup.acknowledged) == ([b"b2"], [], [b"a1"])
    assert (sorted(setup.given_back), setup.ledger.running) == ([b"a2", b"b1", b"b3"], [b2])
    assert not setup.ledger.finish(a2, None)
    done(setup, b2)


@losses
@pytest.mark.parametrize("script", ["fetch", "ack", "settle"])
def test_a_call_with_an_open_batch_whose_exchange_breaks_is_carried_out_once(
    setup: Setup, loss: Loss, script: str
) -> None:
    setup.push(*(b"%d" % i for i in range(6)))
    jobs = setup.ledger.fetch(4, QUEUES, batch=True)
    done(setup, *jobs[:2])
    setup.proxy.lose(loss, calling(script))
    if script == "fetch":
        assert [job.payload for job in setup.ledger.fetch(1, QUEUES, batch=True)] == [b"4"]
        expected = [b"4"], [b"2", b"3"], [b"5"]
    elif script == "ack":
        setup.ledger.flush()
        expected = [], [b"2", b"3"], [b"4", b"5"]
    else:
        assert setup.ledger.give_back(jobs[3:]) == 1
        expected = [], [b"2"], [b"3", b"4", b"5"]
    setup.proxy.wait_until_lost()
    assert (setup.in_batch(), sorted(setup.single()), setup.queued()) == expected
    assert (setup.processed(), setup.acknowledged) == (2, [b"0", b"1"])


@losses
def test_a_batch_whose_fetch_broke_is_acknowledged_as_a_whole(setup: Setup, loss: Loss) -> None:
    setup.push(*(b"%d" % i for i in range(4)))
    setup.proxy.lose(loss, calling("fetch"))
    done(setup, *setup.ledger.fetch(3, QUEUES, batch=True))
    setup.proxy.wait_until_lost()
    setup.ledger.flush()
    assert (setup.processed(), setup.held(), setup.queued()) == (3, set(), [b"3"])


def test_a_fenced_owner_holds_nothing_of_its_batch(setup: Setup) -> None:
    setup.push(b"1", b"2", b"3")
    [straggler] = setup.ledger.fetch(1, QUEUES)
    finished, runs = setup.ledger.fetch(2, QUEUES, batch=True)
    done(setup, finished)
    setup.recover()
    assert setup.ledger.fetch(0, QUEUES) == []
    assert (straggler.held, runs.held, setup.ledger.running) == (False, False, [])
    assert not setup.ledger.finish(runs, None)
    assert setup.ledger.give_back([straggler, runs]) == 0
    assert (setup.queued(), setup.processed(), setup.acknowledged) == ([b"1", b"2", b"3"], 0, [])


def test_after_a_fail_over_each_member_of_the_batch_is_told_what_became_of_it(setup: Setup) -> None:
    """The server has forgotten the calls that closed it and acknowledged two of its members."""
    setup.push(*(b"%d" % i for i in range(7)))
    acknowledged, failed, runs, back, *pending = setup.ledger.fetch(6, QUEUES, batch=True)

    def work() -> None:
        done(setup, acknowledged)
        fail(setup, failed)
        setup.ledger.flush()
        setup.ledger.give_back([back])

    setup.fail_over(work)
    assert len(setup.in_batch()) == 6
    done(setup, *pending)
    setup.ledger.flush()
    assert (setup.in_batch(), setup.single(), setup.queued()) == ([], [b"2"], [b"3", b"6"])
    assert (setup.processed(), setup.redis.zrange("retry", 0, -1)) == (4, [b"1"])
    assert setup.acknowledged == [b"0", b"1", b"4", b"5"]
    pending[0].held = True  # as if its thread had been interrupted before it let it go
    assert setup.ledger.running == [runs]
    done(setup, runs)
    setup.ledger.flush()
    assert (setup.processed(), setup.held(), setup.owners) == (5, set(), ["owner-1"])


def test_a_batch_that_the_server_has_forgotten_is_not_taken_for_the_one_that_it_remembers(setup: Setup) -> None:
    """Both have members with the same places; what is done of the younger one says nothing of the older one."""
    setup.push(*(b"%d" % i for i in range(6)))
    old = setup.ledger.fetch(3, QUEUES, batch=True)

    def work() -> None:
        done(setup, *old[:1])
        done(setup, *setup.ledger.fetch(3, QUEUES, batch=True)[1:])

    setup.fail_over(work)
    setup.ledger.flush()
    assert (setup.in_batch(), sorted(setup.single()), setup.queued()) == ([], [b"1", b"2"], [b"3", b"4", b"5"])
    assert setup.processed() == 1


def test_a_single_job_of_the_batch_that_the_server_remembers_stays_one(setup: Setup) -> None:
    setup.push(*(b"%d" % i for i in range(4)))
    [single] = setup.ledger.fetch(1, QUEUES)
    members = setup.ledger.fetch(2, QUEUES, batch=True)
    setup.fail_over(lambda: [setup.ledger.fetch(0, QUEUES) for _ in range(2)])
    assert setup.ledger.give_back(members[1:]) == 1
    assert (sorted(setup.single()), setup.queued()) == ([b"0", b"1"], [b"2", b"3"])
    done(setup, single, members[0])
    setup.ledger.flush()
    assert (setup.held(), setup.processed()) == (set(), 2)


def test_acknowledgements_are_remembered_up_to_a_limit(setup: Setup) -> None:
    """Those of the oldest calls are forgotten first: after a fail-over such jobs run again."""
    setup.push(*(b"%d" % i for i in range(2_102)))
    oldest = setup.ledger.fetch(2, QUEUES)
    later = setup.ledger.fetch(100, QUEUES, batch=True)

    def work() -> None:
        done(setup, *oldest, *later)
        for _ in range(20):
            done(setup, *setup.ledger.fetch(95, QUEUES, batch=True))
        setup.ledger.flush()

    setup.fail_over(work)
    setup.ledger.fetch(0, QUEUES)
    assert (setup.processed(), setup.held()) == (100, set())
    assert setup.queued()[:3] == [b"0", b"1", b"102"]


def test_a_thread_that_finishes_what_is_being_given_back_is_told_apart(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """It found the job held and was interrupted: what it then says is late."""
    setup.push(b"1", b"2")
    late, runs = setup.ledger.fetch(2, QUEUES, batch=True)
    assert setup.ledger.give_back([late]) == 1
    late.held = True
    assert setup.ledger.finish(late, None, "late")
    done(setup, runs)
    with caplog.at_level(logging.INFO, "jobd"):
        setup.ledger.flush()
    assert events(caplog) == ["job.not_ours"]
    assert (setup.acknowledged, setup.processed(), setup.queued()) == ([b"2"], 1, [b"1"])


def test_what_its_thread_has_just_finished_is_acknowledged_and_not_given_back(setup: Setup) -> None:
    """Its thread has noted it, and was interrupted before it let it go."""
    setup.push(b"1", b"2")
    finished, runs = setup.ledger.fetch(2, QUEUES, batch=True)
    done(setup, finished)
    finished.held = True
    assert setup.ledger.give_back([finished, runs]) == 1
    finished.held = True
    assert setup.ledger.give_back([finished]) == 0
    assert (setup.acknowledged, setup.given_back, setup.queued()) == ([b"1"], [b"2"], [b"2"])
    assert (setup.processed(), setup.held()) == (1, set())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_breaks_every_job_is_in_exactly_one_place(setup: Setup, seed: int) -> None:
    """Batches and single jobs from two queues, with losses and fail-overs between and within calls."""
    rng = random.Random(seed)
    setup.push(*(b"a%d" % i for i in range(60)), queue="a")
    setup.push(*(b"b%d" % i for i in range(60)), queue="b")
    pushed, saved = setup.everywhere(), state.save(setup.redis)
    for _ in range(60):
        for _ in range(rng.choice((0, 0, 0, 0, 1, 2))):
            setup.proxy.lose(rng.choice(("request", "reply")), lambda request: b"EVALSHA" in request)
        act(setup, rng)
        setup.proxy.pass_everything()
        assert setup.everywhere() == pushed
        if rng.random() < 0.1:
            saved = state.save(setup.redis)
        elif rng.random() < 0.1:
            state.restore(setup.redis, saved)
    for job in setup.ledger.running:
        fail(setup, job)
    assert setup.ledger.close()
    assert (setup.everywhere(), setup.held()) == (pushed, set())
    assert setup.processed() == len(setup.redis.zrange("retry", 0, -1))


def act(setup: Setup, rng: random.Random) -> None:
    """Finish some jobs, all into the retry set where they can be counted; then make one call."""
    running = setup.ledger.running
    rng.shuffle(running)
    some = len(running) // rng.choice((1, 2, 4))
    for job in running[:some]:
        fail(setup, job)
    match rng.choice(("fetch", "fetch", "flush", "give back")):
        case "fetch":
            want, quota = rng.randint(0, 12), rng.randint(0, 8)
            setup.ledger.fetch(want, [("a", quota), ("b", max(want - quota, 0))], batch=rng.random() < 0.7)
        case "flush":
            setup.ledger.flush()
        case _:
            setup.ledger.give_back(running[some // 2 : some + 3])


def test_a_fetch_that_is_under_way_when_all_is_given_back_leaves_no_job_behind(setup: Setup) -> None:
    assert setup.ledger.fetch(1, QUEUES) == []
    setup.push(b"a", b"b")
    setup.redis.execute_command("CLIENT", "PAUSE", 300, "ALL")
    with ThreadPoolExecutor(2) as threads:
        fetched = threads.submit(setup.ledger.fetch, 1, QUEUES)
        wait_until(lambda: fetched.running() and setup.ledger._lock.locked(), "the fetch to be under way")
        assert threads.submit(setup.ledger.give_back_all).result() == len(fetched.result()) == 1
    assert setup.ledger.fetch(1, QUEUES) == []
    assert setup.queued() == [b"a", b"b"]
    assert setup.ledger.close()
    assert setup.held() == set()
    assert len(setup.owners) == 1


def test_what_ended_while_the_refused_call_was_on_its_way_is_told_too(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.push(b"1", b"2")
    first, second = setup.ledger.fetch(2, QUEUES)
    setup.ledger.finish(first, None)
    setup.recover()
    setup.proxy.lose("silence", calling("ack"))
    flushing = threading.Thread(target=setup.ledger.flush)
    with caplog.at_level(logging.INFO, "jobd"):
        flushing.start()
        setup.proxy.wait_until_lost()
        setup.ledger.finish(second, None)
        flushing.join()
    [fenced] = [found.values for found in map(log.event_of, caplog.records) if found.name == "owner.fenced"]
    assert (fenced["running"], fenced["unacknowledged"]) == (0, 2)


def test_a_connection_from_before_an_outage_is_opened_anew(setup: Setup) -> None:
    setup.ledger.fetch(1, QUEUES)
    before = connections(setup.redis)
    setup.outage.failed(ConnectionError("another one broke"))
    setup.outage.works()
    setup.ledger.fetch(1, QUEUES)
    assert connections(setup.redis) != before
