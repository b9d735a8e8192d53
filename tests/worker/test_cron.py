"""The cron's ticks: each run once, by whoever comes first; what was missed, what overlaps, what is registered."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

import jobd
from jobd.client import cron, cron_declared, cron_edits, defaults, scripts
from jobd.client.access import Access
from jobd.client.connection import Connector
from jobd.client.cron_expression import parse
from jobd.client.cron_push import CronRun
from jobd.client.cron_set import CronSet
from jobd.client.keys import Keys
from jobd.worker.clock import ServerClock
from jobd.worker.cron import CronTicker
from jobd.worker.cron_due import Due, Reached, due
from jobd.worker.cron_holds import CronHolds
from jobd.worker.ledger import Fetched
from jobd.worker.outcome import DONE
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp()
MINUTELY, DAILY = parse("* * * * *"), parse("0 12 * * *")

started: list[Any] = []
release = threading.Event()


@jobd.job(name="cron.note")
def note(value: Any = None) -> None:
    started.append(value)


@jobd.job(name="cron.hold", retry=1)
def hold(how: str) -> None:
    started.append(how)
    if how == "later":
        raise jobd.RetryLater(50)
    if how == "fail":
        raise RuntimeError(how)
    release.wait(10)


@jobd.job(name="cron.drop", retry=False)
def drop() -> None:
    raise RuntimeError("drop")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing has run, nothing is declared."""
    started.clear()
    release.clear()
    before = dict(cron_declared._declared)
    yield
    cron_declared._declared.clear()
    cron_declared._declared.update(before)


class Clock(ServerClock):
    """A clock that stands."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


@pytest.fixture
def connector(redis_url: str) -> Iterator[Connector]:
    jobd.configure(redis_url=redis_url)
    made = Connector(redis_url)
    yield made
    made.close()


@pytest.fixture
def make(connector: Connector) -> Callable[..., CronTicker]:
    """Makes tickers; `now` is where their clock stands."""

    def make(now: float = NOON, leads: bool = True, **given: Any) -> CronTicker:
        return CronTicker(connector, Keys(), Clock(now), leads=lambda: leads, **given)

    return make


@pytest.fixture
def crons(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> CronSet:
    """The entries, changed at noon."""
    monkeypatch.setattr(CronSet, "_now", lambda self: NOON)
    return CronSet()


def queued(redis: Redis, queue: str = "default") -> list[dict[str, Any]]:
    raw: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(payload) for payload in reversed(raw)]


def ticks(redis: Redis) -> list[float]:
    """What was pushed by entries that pass their tick, less noon."""
    return [payload["args"][-1] - NOON for payload in queued(redis)]


class TestDue:
    """The decision alone."""

    @pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
    def test_nothing_but_the_ticks_since_then(self, catch_up: Any) -> None:
        assert due(MINUTELY, Reached(NOON, NOON), NOON + 59.9, catch_up) == Due([])
        assert due(MINUTELY, Reached(NOON, NOON), NOON + 60, catch_up) == Due([NOON + 60])

    def test_a_tick_of_a_minute_ago_is_on_time_and_an_older_one_late(self) -> None:
        reached = Reached(NOON - 3600, NOON - 3600)
        assert due(DAILY, reached, NOON + 60, "skip") == Due([NOON])
        assert due(DAILY, reached, NOON + 60.1, "skip") == Due([], late=NOON)
        assert due(DAILY, reached, NOON + 60.1, "once") == Due([NOON])
        assert due(DAILY, reached, NOON + 60.1, "all") == Due([NOON])

    def test_after_a_longer_downtime(self) -> None:
        reached, now = Reached(NOON - 90_000, NOON - 600), NOON + 30
        assert due(MINUTELY, reached, now, "skip") == Due([NOON], late=NOON - 60, missed=8)
        assert due(MINUTELY, reached, now, "once") == Due([NOON - 60, NOON], missed=8)
        assert due(MINUTELY, reached, now, "all") == Due([NOON - 60 * i for i in reversed(range(10))])

    def test_ticks_that_another_has_are_left_out(self) -> None:
        reached = Reached(NOON - 90_000, NOON - 90, claimed=frozenset([NOON]))
        found = due(parse("*/30 * * * * *"), reached, NOON + 29, "all")
        assert found.run == [NOON - 60, NOON - 30]

    def test_nothing_before_the_entry_was_there(self) -> None:
        assert due(MINUTELY, Reached(NOON + 1, NOON - 9_000), NOON + 59, "all") == Due([])

    def test_of_a_long_downtime_the_last_thousand_are_made_up_for(self) -> None:
        found = due(parse("* * * * * *"), Reached(0, NOON - 86400), NOON, "all")
        assert (len(found.run), found.run[-1], found.run[0]) == (1_000, NOON, NOON - 999)
        assert found.missed >= 1


def test_each_tick_is_pushed_once_and_leaves_what_sidekiq_cron_would(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis
) -> None:
    crons.create("a", "*/10 * * * * *", "A", args=[1], queue="low")
    tickers = [make(), make()]
    for second in range(31):
        for ticker in tickers:
            ticker.run(NOON + second + 0.5)
    payloads = queued(redis, "low")
    assert len(payloads) == 3
    assert [payload["enqueued_at"] - NOON for payload in payloads] == [10.5, 20.5, 30.5]
    assert payloads[0].keys() == {"retry", "queue", "class", "args", "jid", "created_at", "enqueued_at", "cron_entry"}
    assert redis.zrange("cron_job:a:enqueued", 1, -1, withscores=True) == [
        (cron.tick_name(NOON + at).encode(), NOON + at) for at in (10, 20, 30)
    ]
    assert redis.hget("cron_job:a", "last_enqueue_time") == b"2027-03-01 12:00:30 +0000"
    assert json.loads(redis.lindex("cron_job:a:jid_history", 0)) == {
        "jid": payloads[-1]["jid"],
        "enqueued": "2027-03-01 12:00:30 +0000",
    }
    assert [(run.tick, run.jid) for run in crons.runs("a")] == [
        (NOON + at, payload["jid"]) for at, payload in zip((30, 20, 10), reversed(payloads), strict=True)
    ]


def test_it_sleeps_until_the_next_tick_or_until_others_may_have_changed_something(
    make: Callable[..., CronTicker], crons: CronSet
) -> None:
    assert make().run(NOON) == defaults.CRON_REREAD
    crons.create("daily", "@daily", "A")
    crons.create("soon", "*/3 * * * * *", "A")
    assert make().run(NOON + 0.5) == 2.5
    ticker = make()
    assert ticker.run(NOON + 1) == 2.0
    assert ticker.run(NOON + 3) == 3.0
    assert make(now=NOON + 1).tick() == 2.0


def test_who_does_not_lead_does_not_tick(make: Callable[..., CronTicker], crons: CronSet, redis: Redis) -> None:
    crons.create("a", "* * * * * *", "A")
    assert make(now=NOON + 5, leads=False).tick() == 60.0
    assert queued(redis) == []
    make(now=NOON + 5).tick()
    assert len(queued(redis)) == 5


def test_claimed_ticks_are_forgotten_after_a_day(make: Callable[..., CronTicker], crons: CronSet, redis: Redis) -> None:
    crons.create("a", "0 * * * *", "A")
    ticker = make()
    for hour in range(1, 60):
        ticker.run(NOON + hour * 3600)
    assert len(queued(redis)) == 59
    assert redis.zcard("cron_job:a:enqueued") == 25


def test_what_ruby_has_claimed_is_not_run(make: Callable[..., CronTicker], crons: CronSet, redis: Redis) -> None:
    crons.create("a", "*/10 * * * * *", "A", date_as_argument=True)
    redis.zadd("cron_job:a:enqueued", {cron.tick_name(NOON + 20): NOON + 20})
    make().run(NOON + 35)
    assert ticks(redis) == [10, 30]
    ticker = make()
    ticker.run(NOON + 36)
    redis.zadd("cron_job:a:enqueued", {cron.tick_name(NOON + 40): NOON + 40})
    ticker.run(NOON + 40)
    assert ticks(redis) == [10, 30]


def test_an_entry_that_ruby_has_made_begins_with_the_tick_after(
    make: Callable[..., CronTicker], connector: Connector, redis: Redis
) -> None:
    message = '{"retry":true,"queue":"default","class":"A","args":[]}'
    fields: dict[Any, Any] = {"name": "r", "klass": "A", "cron": "* * * * * *", "args": "[]", "message": message}
    redis.hset("cron_job:r", mapping={**fields, "status": "enabled", "date_as_argument": "true"})
    redis.sadd("cron_jobs", "cron_job:r")
    redis.zadd("cron_job:r:enqueued", {cron.tick_name(NOON - 1): NOON - 1})  # as Ruby's first poll leaves it
    make().run(NOON + 2)
    assert ticks(redis) == [0, 1, 2]


def test_an_operators_change_counts_at_once(make: Callable[..., CronTicker], crons: CronSet, redis: Redis) -> None:
    crons.create("a", "* * * * * *", "A", args=["old"])
    ticker = make()
    ticker.run(NOON + 1)
    crons.create("a", "* * * * * *", "A", args=["new"])
    assert ticker.run(NOON + 2) == 0.0
    ticker.run(NOON + 2)
    crons.disable("a")
    ticker.run(NOON + 3)
    ticker.run(NOON + 3)
    assert [payload["args"] for payload in queued(redis)] == [["old"], ["new"]]
    crons.destroy("a")
    ticker.run(NOON + 20)
    assert redis.keys("*cron*") == []


def test_enabling_makes_up_for_nothing(make: Callable[..., CronTicker], crons: CronSet, redis: Redis) -> None:
    crons.create("a", "* * * * *", "A", catch_up="all", date_as_argument=True)
    ticker = make()
    ticker.run(NOON + 60)
    crons.disable("a")
    ticker.run(NOON + 66)
    ticker.run(NOON + 3594)
    redis.hset("cron_job:a", "status", "enabled")  # as Ruby does
    ticker.run(NOON + 3601)
    assert ticks(redis) == [60, 3600]


@pytest.mark.parametrize(
    ("catch_up", "pushed", "runs"),
    [
        ("skip", [3600], [(3600, None, 0), (3540, "late", 58)]),
        ("once", [3540, 3600], [(3600, None, 0), (3540, None, 58)]),
        ("all", [60 * i for i in range(1, 61)], [(60 * i, None, 0) for i in range(60, 30, -1)]),
    ],
)
def test_after_a_downtime_each_entry_does_as_it_says(
    make: Callable[..., CronTicker],
    crons: CronSet,
    redis: Redis,
    events: Events,
    catch_up: Any,
    pushed: list[int],
    runs: list[Any],
) -> None:
    crons.create("a", "* * * * *", "A", catch_up=catch_up, date_as_argument=True)
    for _ in range(2):
        make().run(NOON + 3601)
    assert ticks(redis) == pushed
    found = crons.runs("a")
    assert [(run.tick - NOON, run.skipped, run.missed) for run in found if run.tick is not None] == runs
    assert [event["ticks"] for event in events.named("cron.missed")] == {
        "skip": [59],
        "once": [58],
        "all": [],
    }[catch_up]


def test_two_that_catch_up_at_once_run_each_tick_once(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis
) -> None:
    crons.create("a", "*/15 * * * *", "A", catch_up="all", date_as_argument=True)
    stale = make()
    stale._read(NOON + 3 * 86400)
    make().run(NOON + 3 * 86400)
    make().run(NOON + 4 * 86400 + 60)
    stale.run(NOON + 3 * 86400)
    found = ticks(redis)
    assert len(found) == len(set(found)) == 4 * 96
    assert found == sorted(found)


def test_the_oldest_of_more_than_a_thousand_are_dropped_with_a_line(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events
) -> None:
    crons.create("a", "* * * * *", "A", catch_up="all")
    make().run(NOON + 86400)
    assert redis.llen("queue:default") == 1_000
    assert [event["ticks"] for event in events.named("cron.missed")] == [440]


def ends(redis: Redis, name: str = "a") -> list[str | None]:
    """How the jobs of the runs of an entry have ended, newest first."""
    raw: Any = redis.lrange(f"jobd:cron:{name}:runs", 0, -1)
    return [json.loads(run).get("outcome") for run in raw]


class TestEnds:
    """What became of the jobs that were pushed is noted at the runs."""

    def test_of_each_run_how_its_job_has_ended(self, crons: CronSet, redis: Redis, run_worker: RunWorker) -> None:
        crons.create("a", "@yearly", note)
        crons.create("dropped", "@yearly", drop)
        crons.enqueue_now("dropped")
        for _ in range(2):
            crons.enqueue_now("a")
        assert ends(redis) == [None, None]
        with run_worker(concurrency=2):
            wait_until(lambda: ends(redis) == ["ok", "ok"], "both have ended")
            wait_until(lambda: ends(redis, "dropped") == ["failed"], "it has failed without retry")
        assert not redis.exists("jobd:cron:a:running")
        assert [(run.outcome, run.due) for run in crons.runs("a")] == [("ok", None)] * 2

    def test_of_one_that_is_retried_until_it_is_dead(self, crons: CronSet, redis: Redis, run_worker: RunWorker) -> None:
        crons.create("a", "@yearly", hold, args=["fail"])
        jid = crons.enqueue_now("a")
        with run_worker(concurrency=1):
            wait_until(lambda: ends(redis) == ["retry"], "it has failed")
            [run] = crons.runs("a")
            first: Any = redis.zrange("retry", 0, 0, withscores=True)
            [(job, due)] = first
            assert (run.jid, run.due) == (jid, pytest.approx(due))
            redis.zadd("retry", {job: 1.0})
            wait_until(lambda: ends(redis) == ["dead"], "it has failed for good")
            assert redis.zcard("dead") == 1

    def test_of_one_that_was_put_off(self, crons: CronSet, redis: Redis, run_worker: RunWorker) -> None:
        crons.create("a", "@yearly", hold, args=["later"])
        crons.enqueue_now("a")
        with run_worker(concurrency=1):
            wait_until(lambda: ends(redis) == ["postponed"], "it is put off")

    def test_of_one_that_a_recovery_put_into_the_dead_set(self, connector: Connector, redis: Redis) -> None:
        redis.lpush("jobd:cron:a:runs", CronRun(NOON, NOON, "j").as_json())
        CronHolds(connector, Keys()).died({"jid": "j", "cron_entry": "a"}, NOON)
        assert ends(redis) == ["dead"]

    def test_a_run_that_is_forgotten_is_not_noted_again(self, connector: Connector, redis: Redis) -> None:
        redis.lpush("jobd:cron:a:runs", *(CronRun(NOON, NOON, f"j{i}").as_json() for i in range(31)))
        CronHolds(connector, Keys()).died({"jid": "j0", "cron_entry": "a"}, NOON)
        CronHolds(connector, Keys()).died({"jid": "j1", "cron_entry": "a"}, NOON)
        assert ends(redis) == [None] * 29 + ["dead"]


class TestOverlap:
    def test_a_tick_is_skipped_while_the_last_job_has_not_ended(
        self, make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events
    ) -> None:
        crons.create("a", "* * * * * *", "A", overlap="skip")
        ticker = make()
        for second in (1, 2, 3):
            ticker.run(NOON + second)
        [payload] = queued(redis)
        assert payload["cron_entry"] == "a"
        assert [run.skipped for run in crons.runs("a")] == ["overlap", "overlap", None]
        assert len(events.named("cron.skipped")) == 2
        assert redis.get("jobd:cron:a:running") == payload["jid"].encode()
        assert 0 < redis.pttl("jobd:cron:a:running") <= defaults.CRON_HOLD * 1000

    def test_the_end_of_the_job_lets_the_next_one_run(
        self, crons: CronSet, redis: Redis, run_worker: RunWorker
    ) -> None:
        crons.create("a", "@yearly", hold, args=["wait"], overlap="skip")
        crons.enqueue_now("a")
        with run_worker(concurrency=1):
            wait_until(lambda: started, "the job runs")
            assert redis.exists("jobd:cron:a:running")
            release.set()
            wait_until(lambda: not redis.exists("jobd:cron:a:running"), "it is over")
        assert redis.get("stat:processed") == b"1"

    def test_a_job_that_will_be_retried_has_not_ended_and_a_dead_one_has(
        self, crons: CronSet, redis: Redis, run_worker: RunWorker
    ) -> None:
        crons.create("a", "@yearly", hold, args=["fail"], overlap="skip")
        crons.enqueue_now("a")
        with run_worker(concurrency=1):
            wait_until(lambda: redis.zcard("retry"), "it has failed")
            wait_until(lambda: redis.pttl("jobd:cron:a:running") > defaults.CRON_HOLD * 1000, "it is kept for longer")
            redis.zadd("retry", {redis.zrange("retry", 0, 0)[0]: 1.0})
            wait_until(lambda: redis.zcard("dead"), "it has failed for good")
            wait_until(lambda: not redis.exists("jobd:cron:a:running"), "it is over")

    def test_a_job_that_puts_itself_off_has_not_ended(
        self, crons: CronSet, redis: Redis, run_worker: RunWorker
    ) -> None:
        crons.create("a", "@yearly", hold, args=["later"], overlap="skip")
        crons.enqueue_now("a")
        with run_worker(concurrency=1):
            wait_until(lambda: redis.zcard("retry") or redis.zcard("schedule"), "it is put off")
            wait_until(lambda: redis.pttl("jobd:cron:a:running") > defaults.CRON_HOLD * 1000, "it is kept for longer")

    def test_a_job_of_another_time_cannot_end_it(self, crons: CronSet, redis: Redis, run_worker: RunWorker) -> None:
        crons.create("a", "@yearly", note, overlap="skip")
        crons.enqueue_now("a")
        redis.set("jobd:cron:a:running", "another")
        with run_worker(concurrency=1) as worker:
            wait_until(lambda: started and not worker.running, "the job has run")
        assert redis.get("jobd:cron:a:running") == b"another"

    def test_a_job_that_runs_for_long_is_kept_for_longer(self, connector: Connector, redis: Redis) -> None:
        moments = iter([0.0, 10.0, 3600.0, 3600.0])
        holds = CronHolds(connector, Keys(), lambda: next(moments))
        payload = b'{"class":"A","args":[],"jid":"j","cron_entry":"a"}'

        class Item:
            job = Fetched(1, 1, "default", payload)

        redis.set("jobd:cron:a:running", "j", ex=5)
        holds.renew([Item()])
        assert redis.ttl("jobd:cron:a:running") <= 5
        holds.renew([Item()])
        assert redis.ttl("jobd:cron:a:running") > 86_000

    @pytest.mark.parametrize("broken", [RedisConnectionError("cut"), ReadOnlyError("READONLY it is a replica")])
    def test_an_end_that_redis_could_not_be_told_is_told_later(
        self, connector: Connector, redis: Redis, monkeypatch: pytest.MonkeyPatch, broken: RedisError
    ) -> None:
        holds = CronHolds(connector, Keys())
        redis.set("jobd:cron:a:running", "j", ex=86_400)
        redis.lpush("jobd:cron:a:runs", CronRun(NOON, NOON, "j").as_json())

        def fail(*given: Any) -> None:
            raise broken

        with monkeypatch.context() as outage:
            outage.setattr(scripts, "send", fail)
            holds.ended(b'{"class":"A","args":[],"jid":"j","cron_entry":"a"}', DONE, NOON)
            holds.renew([])
        assert (redis.exists("jobd:cron:a:running"), ends(redis)) == (1, [None])
        holds.renew([])
        assert (redis.exists("jobd:cron:a:running"), ends(redis)) == (0, ["ok"])

    def test_a_run_whose_job_was_given_back_does_not_end_it(
        self, crons: CronSet, redis: Redis, run_worker: RunWorker, events: Events
    ) -> None:
        crons.create("a", "@yearly", hold, args=["wait"], overlap="skip")
        crons.enqueue_now("a")
        with run_worker(concurrency=1) as worker:
            wait_until(lambda: started, "the job runs")
            worker._pools[0].ledger.give_back([worker.running[0].job])
            redis.delete("queue:default")  # as if another process had taken it
            release.set()
            wait_until(lambda: events.named("job.not_ours"), "its run has ended")
            wait_until(lambda: not worker.running, "nothing runs")
        assert redis.exists("jobd:cron:a:running")


class TestRegistering:
    DAILY = cron.read("nightly", {"cron": "@daily", "class": "cron.note"}, "config")

    def test_code_and_configuration_are_written_once(
        self, make: Callable[..., CronTicker], redis: Redis, events: Events
    ) -> None:
        jobd.job(name="cron.declared", cron="* * * * *", timezone="Asia/Tokyo", queue="low")(lambda: None)
        make(definitions=[self.DAILY], app="shop").register(NOON)
        assert redis.smembers("cron_jobs") == {b"cron_job:nightly", b"cron_job:cron.declared"}
        fields: Any = redis.hgetall("cron_job:cron.declared")
        assert (fields[b"cron"], fields[b"source"], fields[b"app"]) == (b"* * * * * Asia/Tokyo", b"code", b"shop")
        assert fields[b"message"] == b'{"retry":true,"queue":"low","class":"cron.declared","args":[]}'
        before = {key: redis.dump(key) for key in redis.keys("*")}
        make(definitions=[self.DAILY], app="shop").register(NOON + 10)
        assert {key: redis.dump(key) for key in redis.keys("*")} == before
        assert [event["entries"] for event in events.named("cron.registered")] == [2]

    def test_what_an_operator_has_switched_stays_until_the_definition_says_something_else(
        self, make: Callable[..., CronTicker], crons: CronSet
    ) -> None:
        def status(given: str | None, expression: str = "@daily") -> str | None:
            written = {"cron": expression, "class": "cron.note", "status": given}
            make(definitions=[cron.read("nightly", written, "config")]).register(NOON)
            found = crons.find("nightly")
            assert found is not None
            return found.status

        assert status(None) == "enabled"
        crons.disable("nightly")
        assert status(None) == "disabled"
        assert status("enabled") == "enabled"
        crons.disable("nightly")
        assert status("enabled") == "disabled"
        assert status("enabled", "@hourly") == "disabled"
        assert status("disabled") == "disabled"
        crons.enable("nightly")
        assert status("disabled") == "enabled"

    def test_what_is_edited_by_hand_is_set_back_but_for_its_status(
        self, make: Callable[..., CronTicker], crons: CronSet
    ) -> None:
        made = cron.read("by hand", {"cron": "@hourly", "class": "cron.note"}, "web")
        assert cron_edits.add(Access(), made)
        defined = cron.read("nightly", {"cron": "@daily", "class": "cron.note", "args": [1]}, "config")
        make(definitions=[defined], app="shop", prune=True).register(NOON)
        before = crons.find("nightly")
        assert before is not None
        edited = replace(before, cron="0 5 * * *", args=(2,), description="by hand", overlap="skip")
        assert cron_edits.change(Access(), before, edited)
        crons.disable("nightly")
        make(definitions=[defined], app="shop", prune=True).register(NOON)
        found = crons.find("nightly")
        assert found is not None
        assert (found.cron, found.args, found.description, found.overlap) == ("0 0 * * *", (1,), "", "allow")
        assert (found.enabled, "by hand" in crons) == (False, True)

    def test_another_expression_begins_anew(
        self, make: Callable[..., CronTicker], crons: CronSet, redis: Redis
    ) -> None:
        written = {"class": "cron.note", "catch_up": "all", "date_as_argument": True}
        make(definitions=[cron.read("n", {**written, "cron": "@daily"})]).register(NOON)
        make(definitions=[cron.read("n", {**written, "cron": "* * * * *"})]).register(NOON + 86400)
        make().run(NOON + 86400 + 60)
        assert ticks(redis) == [86460]

    def test_what_is_defined_no_more_is_told_of_and_removed_only_if_that_is_set(
        self, make: Callable[..., CronTicker], redis: Redis, events: Events
    ) -> None:
        make(definitions=[self.DAILY], app="shop").register(NOON)
        make(app="other", prune=True).register(NOON)
        make(app="shop").register(NOON)
        assert redis.exists("cron_job:nightly")
        assert [event["entry"] for event in events.named("cron.orphaned")] == ["nightly"]
        make(app="shop", prune=True).register(NOON)
        assert [event["entry"] for event in events.named("cron.removed")] == ["nightly"]
        assert redis.keys("*") == []

    def test_what_does_not_fit_its_job_or_its_key_is_told_of_and_keeps_no_other(
        self, make: Callable[..., CronTicker], redis: Redis, events: Events
    ) -> None:
        misfit = cron.CronEntry(name="misfit", cron="@daily", job="cron.note", args=(1, 2))
        wrong = cron.read("wrong", {"cron": "@daily", "class": "A"})
        redis.set("cron_job:wrong", "text")
        ticker = make(definitions=[misfit, wrong, self.DAILY], app="shop", prune=True)
        assert not ticker.register(NOON)
        assert redis.smembers("cron_jobs") == {b"cron_job:nightly"}
        errors = {event["entry"]: event["error"] for event in events.named("cron.failed")}
        assert errors.keys() == {"misfit", "wrong"}
        assert "too many positional arguments" in errors["misfit"]
        redis.delete("cron_job:wrong")
        assert ticker.register(NOON)
        assert redis.scard("cron_jobs") == 2


@pytest.mark.parametrize("key", ["cron_jobs", "cron_job:a", "cron_job:a:enqueued"])
def test_a_key_of_a_wrong_type_is_no_lost_connection(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events, key: str
) -> None:
    for name in "ab":
        crons.create(name, "* * * * * *", "A", args=[name])
    redis.set(key, "text")
    make(now=NOON + 1).tick()
    assert [payload["args"] for payload in queued(redis)] == ([] if key == "cron_jobs" else [["b"]])
    if key != "cron_job:a":
        assert len(events.named("cron.failed")) + len(events.named("redis.damaged")) == 1


def test_what_cannot_be_run_is_told_of_once_and_holds_nobody_up(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events
) -> None:
    for name, fields in {
        "phrase": {"klass": "A", "cron": "every monday at 9", "message": '{"class":"A"}'},
        "rails": {"klass": "RailsJob", "cron": "* * * * * *", "message": '{"queue":"default","class":"RailsJob"}'},
    }.items():
        redis.hset(f"cron_job:{name}", mapping={**fields, "status": "enabled"})
        redis.sadd("cron_jobs", f"cron_job:{name}")
    crons.create("good", "* * * * * *", "A")
    redis.lpush("cron_job:wrong type", "x")
    redis.sadd("cron_jobs", "cron_job:wrong type")
    ticker = make()
    for second in range(1, 12):
        ticker.run(NOON + second)
    assert len(queued(redis)) == 11
    assert {event["entry"]: event["hint"] for event in events.named("cron.left")} == {
        "phrase": "jobd does not tick it; sidekiq-cron may",
        "rails": "jobd does not tick it; sidekiq-cron may",
    }
    assert len(events.named("cron.left")) == 2


def test_an_entry_that_fails_is_tried_again_and_holds_nobody_up(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events
) -> None:
    crons.create("bad", "* * * * * *", "A", queue="broken", date_as_argument=True)
    crons.create("good", "* * * * * *", "A")
    redis.set("queue:broken", "text")
    ticker = make()
    assert ticker.run(NOON + 1) == 1.0
    assert ticker.run(NOON + 2) == 1.0
    assert len(queued(redis)) == 2
    [failure] = events.named("cron.failed")
    assert "WRONGTYPE queue:broken is no list" in failure["error"]
    redis.delete("queue:broken")
    ticker.run(NOON + 3)
    assert [payload["args"] for payload in queued(redis, "broken")] == [[NOON + i] for i in (1, 2, 3)]


def test_client_middleware_that_fails_or_stops_a_push(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events
) -> None:
    def strict(payload: dict[str, Any], proceed: Any) -> Any:
        if payload["args"] == ["stop"]:
            return None
        raise ZeroDivisionError

    crons.create("fails", "* * * * *", "A")
    crons.create("stops", "* * * * *", "A", args=["stop"])
    jobd.configure(client_middleware=[strict])
    ticker = make()
    ticker.run(NOON + 60)
    assert "ZeroDivisionError" in events.named("cron.failed")[0]["error"]
    assert [run.skipped for run in crons.runs("stops")] == ["middleware"]
    ticker.run(NOON + 121)
    assert [run.skipped for run in crons.runs("fails")] == ["late"]


def test_a_lost_connection_is_for_the_caller_and_costs_no_tick(
    make: Callable[..., CronTicker], crons: CronSet, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    crons.create("a", "* * * * * *", "A", date_as_argument=True)
    ticker = make()
    ticker.run(NOON + 1)
    with monkeypatch.context() as broken:
        broken.setattr(ticker, "_send", lambda call: (_ for _ in ()).throw(RedisError("gone")))
        with pytest.raises(RedisError, match="gone"):
            ticker.run(NOON + 2)
    ticker.run(NOON + 3)
    assert ticks(redis) == [1, 2, 3]


def test_a_worker_runs_the_cron_of_its_code(run_worker: RunWorker, redis: Redis) -> None:
    jobd.job(name="cron.every_second", cron=jobd.Cron("* * * * * *", args=["tick"]))(
        lambda value: started.append(value)
    )
    with run_worker(concurrency=1):
        wait_until(lambda: len(started) >= 2, "two ticks have run")
    assert set(started) == {"tick"}
    runs = jobd.CronSet().runs("cron.every_second")
    assert all(run.tick is not None and 0 <= run.at - run.tick < 1 for run in runs)


def test_of_two_workers_one_ticks_and_the_other_takes_over(run_worker: RunWorker, redis: Redis, events: Events) -> None:
    jobd.CronSet().create("a", "* * * * * *", note, args=["tick"])
    logging.getLogger("jobd").setLevel(logging.DEBUG)
    with run_worker(concurrency=1):
        with run_worker(concurrency=1):
            wait_until(lambda: started, "it ticks")
        first = len(started)
        wait_until(lambda: len(started) > first, "it goes on")
    runs = [run.tick for run in reversed(jobd.CronSet().runs("a"))]
    assert len(runs) == len(set(runs))
    assert runs == [runs[0] + i for i in range(len(runs))]  # type: ignore[operator]
    assert time.time() - runs[-1] < 30  # type: ignore[operator]


class TestSkipping:
    """One tick that somebody wants skipped, by whoever ticks."""

    def test_it_is_not_run_and_noted_and_the_one_after_it_runs(
        self, make: Callable[..., CronTicker], crons: CronSet, redis: Redis, events: Events
    ) -> None:
        crons.create("a", "*/10 * * * * *", "A", date_as_argument=True)
        tickers = [make(), make()]
        for ticker in tickers:
            ticker.run(NOON + 0.5)
        assert crons.skip_next("a") == NOON + 10
        entry = crons.find("a")
        assert entry is not None
        assert (entry.skips, entry.next_time(NOON)) == (NOON + 10, NOON + 20)
        for second in range(1, 31):
            for ticker in tickers:
                ticker.run(NOON + second + 0.5)
        assert ticks(redis) == [20, 30]
        assert [(run.tick, run.skipped) for run in crons.runs("a")] == [
            (NOON + 30, None),
            (NOON + 20, None),
            (NOON + 10, "asked"),
        ]
        assert not redis.hexists("cron_job:a", "skip")
        assert [each["reason"] for each in events.named("cron.skipped")] == ["somebody wanted it skipped"]

    def test_it_can_be_taken_back(self, make: Callable[..., CronTicker], crons: CronSet, redis: Redis) -> None:
        crons.create("a", "*/10 * * * * *", "A", date_as_argument=True)
        crons.skip_next("a")
        assert (crons.unskip("a"), crons.unskip("a"), crons.unskip("none")) == (True, False, False)
        make().run(NOON + 10.5)
        assert ticks(redis) == [10]

    @pytest.mark.parametrize(
        ("catch_up", "run", "noted"),
        [
            ("skip", [], [(70, "asked", 1), (90, None, 0)]),
            ("once", [], [(70, "asked", 1), (90, None, 0)]),
            ("all", [60], [(60, None, 0), (70, "asked", 0), (90, None, 0)]),
        ],
    )
    def test_one_that_comes_late_is_skipped_all_the_same(
        self,
        catch_up: Any,
        run: list[float],
        noted: list[Any],
        make: Callable[..., CronTicker],
        crons: CronSet,
        redis: Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        crons.create("a", "0,10,30 1 12 * * *", "A", date_as_argument=True, catch_up=catch_up)
        make().run(NOON)
        monkeypatch.setattr(CronSet, "_now", lambda self: NOON + 65)
        assert crons.skip_next("a") == NOON + 70
        make().run(NOON + 149)
        assert ticks(redis) == [*run, 90]
        found = [(run.tick - NOON, run.skipped, run.missed) for run in crons.runs("a") if run.tick]
        assert sorted(found) == noted

    @pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
    def test_it_ends_with_a_later_tick(
        self, catch_up: Any, make: Callable[..., CronTicker], crons: CronSet, redis: Redis
    ) -> None:
        crons.create("a", "* * * * *", "A", catch_up=catch_up)
        crons.skip_next("a")
        make().run(NOON + 600)
        assert not redis.hexists("cron_job:a", "skip")

    def test_another_expression_ends_it_and_nothing_else_does(self, crons: CronSet, redis: Redis) -> None:
        crons.create("a", "* * * * *", "A")
        crons.skip_next("a")
        crons.create("a", "* * * * *", "B", description="another")
        crons.enqueue_now("a")
        assert redis.hexists("cron_job:a", "skip")
        crons.create("a", "*/2 * * * *", "B")
        assert not redis.hexists("cron_job:a", "skip")

    def test_what_does_not_come_is_not_skipped(
        self, make: Callable[..., CronTicker], crons: CronSet, redis: Redis
    ) -> None:
        crons.create("off", "* * * * *", "A", status="disabled")
        crons.create("a", "* * * * *", "A")
        redis.hset("cron_job:odd", mapping={"cron": "99 * * * *", "status": "enabled"})
        assert [crons.skip_next(name) for name in ("off", "none", "odd")] == [None, None, None]
        assert crons.skip_next("a", NOON + 120) is None
        make().run(NOON + 60)  # by a clock that is a little ahead
        assert crons.skip_next("a", NOON + 60) is None
        assert not redis.exists("cron_job:none")
        assert not any(redis.hexists(f"cron_job:{name}", "skip") for name in ("off", "a", "odd"))
