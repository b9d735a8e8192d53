"""jobd's cron and sidekiq-cron on the same entries. `JOBD_INTEROP_TICKS` says for how many ticks [200]."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import psutil
import pytest
from redis import Redis

import jobd
from jobd.client import cron
from jobd.client.connection import Connector
from jobd.client.cron_expression import parse
from jobd.client.keys import Keys
from jobd.worker.clock import ServerClock
from jobd.worker.cron import CronTicker
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console, WebPages
from tests.interop.test_cron import EVERY_SECOND, create
from tests.waiting import wait_until

TICKS = int(os.environ.get("JOBD_INTEROP_TICKS", "200"))
ENTRIES = 10


def claims(redis: Redis, name: str) -> set[float]:
    """The ticks of an entry that somebody has claimed. The first is none: the last one before the entry was made."""
    found: Any = redis.zrange(f"cron_job:{name}:enqueued", 0, -1)
    return set(sorted(tick for tick in map(cron.tick_time, found) if tick is not None)[1:])


def pushed(redis: Redis) -> dict[str, list[float]]:
    """What was pushed for each entry: jobd's jobs say their tick, Ruby's the moment of the push, which is not whole."""
    raws: Any = redis.lrange("queue:ticks", 0, -1)
    found: dict[str, list[float]] = {}
    for name, moment in (json.loads(raw)["args"] for raw in raws):
        found.setdefault(name, []).append(moment)
    return found


class Killer:
    """Kills worker processes of jobd and processes of sidekiq-cron at random, with SIGKILL."""

    def __init__(self, sidekiq: StartSidekiq, ours: Any) -> None:
        self._dice, self._sidekiq, self._ours = random.Random(), sidekiq, ours
        self._rubies = [self._start(), self._start()]
        self.of_jobd = self.of_ruby = 0

    def _start(self) -> Any:
        return self._sidekiq("ruby", require="cron.rb")

    def run(self, until: float) -> None:
        """Go on until a time."""
        while time.time() < until:
            threading.Event().wait(self._dice.uniform(0.2, 1.2))
            if self._dice.random() < 0.2:
                self._rubies.pop(self._dice.randrange(2)).close()
                self.of_ruby += 1
                self._rubies.append(self._start())
                continue
            workers = self._ours.workers
            # All of them at times, so that Ruby has its turn.
            for worker in self._dice.sample(workers, min(len(workers), self._dice.choice((1, 4)))):
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.send_signal(signal.SIGKILL)
                    self.of_jobd += 1

    def stop_ruby(self) -> None:
        """End sidekiq-cron in order."""
        assert [ruby.stop() for ruby in self._rubies] == [0, 0]


def test_beside_each_other_each_tick_is_pushed_once(
    ruby: Console, client: jobd.Client, sidekiq: StartSidekiq, start_jobd: StartJobd, redis: Redis
) -> None:
    """Ten entries, made by either side, tick each second; four processes of jobd and two of Ruby are killed meanwhile.

    A process of Ruby that is killed between its claim and its push loses that tick; nothing else may be missing.
    """
    ours = start_jobd(processes=4, concurrency=1)
    killer = Killer(sidekiq, ours)
    entries, cron_set = jobd.CronSet(client), [f"entry {number}" for number in range(ENTRIES)]
    for number, name in enumerate(cron_set):
        if number % 2:
            entries.create(name, "* * * * * *", "PythonSeen", queue="ticks", args=[name], date_as_argument=True)
        else:
            create(ruby, name=name, args=[name], date_as_argument=True, queue="ticks")
    began = time.time()
    end = began + TICKS / ENTRIES
    killer.run(end)
    killer.stop_ruby()
    last = float(int(time.time()))
    wait_until(lambda: all(last in claims(redis, name) for name in cron_set), "the ticks until now", 30)
    wait_until(lambda: set(range(int(began) + 2, int(last))) <= claims(redis, cron_set[0]), "those in between", 30)
    for name in cron_set:
        entries.disable(name)
    assert ours.stop() == 0

    jobs, lost, by_ruby = pushed(redis), 0, 0
    for name in cron_set:
        claimed, moments = claims(redis, name), jobs[name]
        assert claimed >= set(range(int(began) + 2, int(last) + 1)), "a tick that nobody has claimed"
        by_jobd = [moment for moment in moments if moment == int(moment)]
        assert len(by_jobd) == len(set(by_jobd)), "a tick pushed twice by jobd"
        assert set(by_jobd) <= claimed
        assert len(moments) <= len(claimed), "a tick pushed by both"
        lost += len(claimed) - len(moments)
        by_ruby += len(moments) - len(by_jobd)
    total = sum(map(len, jobs.values()))
    assert total >= TICKS * 0.9
    assert lost <= killer.of_ruby, f"{lost} ticks are lost, and {killer.of_ruby} processes of Ruby were killed"
    assert killer.of_jobd > 0
    assert 0 < by_ruby < total, f"one side has pushed them all: {by_ruby} of {total} were Ruby's"


@pytest.mark.parametrize("maker", ["jobd", "ruby"])
def test_whoever_comes_first_to_a_tick_has_it_though_the_other_knows_nothing_of_it(
    maker: str, ruby: Console, client: jobd.Client, redis: Redis, redis_url: str
) -> None:
    """By a clock of the test; both have read the entry before, so that nothing but the claim keeps them apart."""
    if maker == "ruby":
        create(ruby, name="shared", queue="ticks")
    else:
        jobd.CronSet(client).create("shared", "* * * * * *", "PythonSeen", queue="ticks")
    start, dice = float(int(time.time()) + 1), random.Random(TICKS)
    ticker = CronTicker(Connector(redis_url), Keys(), ServerClock(), leads=lambda: True)
    ticker.run(start)
    ruby("$read = Sidekiq::Cron::Job.find('shared'); nil")
    redis.delete("queue:ticks")
    for tick in range(1, TICKS + 1):
        sides = ["jobd", "ruby", "ruby"] if dice.random() < 0.5 else ["ruby", "jobd", "jobd"]
        for side in sides:
            if side == "jobd":
                ticker.run(start + tick)
            else:
                ruby("$read.dup.test_and_enque_for_time!(Time.at(at).utc); nil", at=start + tick + 1)
        assert redis.llen("queue:ticks") == tick


def test_ruby_shows_and_switches_what_jobd_made(
    ruby: Console, client: jobd.Client, web: WebPages, redis: Redis
) -> None:
    entries = jobd.CronSet(client)
    entries.create(
        "from python",
        "0 8 * * *",
        "PythonSeen",
        timezone="Asia/Ho_Chi_Minh",
        queue="python",
        args=["é", {"a": 1.5}],
        description="what for",
        overlap="skip",
        catch_up="once",
    )
    read = "j = Sidekiq::Cron::Job.find('from python'); [j.name, j.cron, j.klass, j.args, j.status, j.description]"
    zoned = "0 8 * * * Asia/Ho_Chi_Minh"
    assert ruby(read) == ["from python", zoned, "PythonSeen", ["é", {"a": 1.5}], "enabled", "what for"]
    assert ruby("Sidekiq::Cron::Job.all.map(&:valid?)") == [True]
    words = web.words("/cron")
    assert "from python" in words
    assert zoned in words
    web.post("/cron", "/cron/from%20python/disable")
    found = entries.find("from python")
    assert found is not None
    assert (found.enabled, found.overlap, found.catch_up) == (False, "skip", "once")
    web.post("/cron", "/cron/from%20python/enable")
    found = entries.find("from python")
    assert found is not None
    assert found.enabled
    web.post("/cron", "/cron/from%20python/enque")
    wait_until(lambda: redis.llen("queue:python") == 1, "the job")
    raw: Any = redis.lindex("queue:python", 0)
    assert (json.loads(raw)["class"], json.loads(raw)["args"]) == ("PythonSeen", ["é", {"a": 1.5}])
    assert [run.jid for run in entries.runs("from python")] == [json.loads(raw)["jid"]]
    assert abs((entries.last_time("from python") or 0) - time.time()) < 5
    web.post("/cron", "/cron/from%20python/disable")
    web.post("/cron", "/cron/from%20python/delete")
    assert "from python" not in entries
    assert list(entries) == []


def test_jobd_shows_and_switches_what_ruby_made(ruby: Console, client: jobd.Client, redis: Redis) -> None:
    entries = jobd.CronSet(client)
    create(ruby, name="from ruby", cron="0 8 * * * Asia/Ho_Chi_Minh", args=["é", {"a": 1.5}], description="what for")
    [found] = entries
    assert (found.name, found.job, found.args, found.enabled) == ("from ruby", "PythonSeen", ("é", {"a": 1.5}), True)
    assert (found.description, found.timezone, found.problem) == ("what for", "Asia/Ho_Chi_Minh", None)
    status = "Sidekiq::Cron::Job.find('from ruby').status"
    assert entries.disable("from ruby")
    assert ruby(status) == "disabled"
    assert entries.enable("from ruby")
    assert ruby(status) == "enabled"
    jid = entries.enqueue_now("from ruby")
    raw: Any = redis.lindex("queue:python", 0)
    job = json.loads(raw)
    assert (job["jid"], job["class"], job["args"], job["retry"]) == (jid, "PythonSeen", ["é", {"a": 1.5}], True)
    shown = "j = Sidekiq::Cron::Job.find('from ruby'); [j.jid_history_from_redis[0]['jid'], j.last_enqueue_time.to_f]"
    last_jid, last_time = ruby(shown)
    assert last_jid == jid
    assert abs(last_time - time.time()) < 5
    assert entries.destroy("from ruby")
    assert ruby("Sidekiq::Cron::Job.all.size") == 0


def test_what_ruby_disabled_stays_so_when_jobd_starts_again(
    ruby: Console, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    entry = {"cron": "* * * * * *", "class": "PythonSeen", "queue": "python", "args": [1]}
    ours = start_jobd(cron={"of the configuration": entry})
    seen.wait(2)
    ruby("Sidekiq::Cron::Job.find('of the configuration').disable!")
    assert ours.stop() == 0
    redis.delete("seen")
    again = start_jobd(cron={"of the configuration": entry})
    assert ruby("Sidekiq::Cron::Job.find('of the configuration').status") == "disabled"
    again.push("PythonSeen", "other", queue="python")
    assert [call["args"] for call in seen.wait(1)] == [["other"]]
    ruby("Sidekiq::Cron::Job.find('of the configuration').enable!")
    assert [call["args"] for call in seen.wait(2)][1] == [1]


EXPRESSIONS = [
    "* * * * *",
    "*/5 * * * *",
    "15,45 9-17 * * 1-5",
    "5-50/15 * * * *",
    "0 0 1,15 * 1",
    "0 0 * * 0",
    "0 0 * * 7",
    "0 0 * JAN,JUL SUN",
    "*/7 * * * * *",
    "0 0 12 * * *",
    "30 */15 * * * *",
    "@hourly",
    "@daily",
    "@noon",
    "@weekly",
    "every 3 hours",
    "every 10 seconds",
    "every day",
]


def both(ruby: Console, expression: str, timezone: str, start: datetime, count: int) -> tuple[list[str], list[str]]:
    """The ticks that jobd sees after `start`, and those that Ruby sees just after each and just before the next."""
    schedule = parse(expression, timezone)
    ticks = [schedule.after(start.timestamp())]
    for _ in range(count):
        ticks.append(schedule.after(ticks[-1]))
    ask = "j = Sidekiq::Cron::Job.new('name' => 'a', 'class' => 'A', 'cron' => cron); j.valid? or raise j.errors.to_s\n"
    ask += "moments.map { |moment| j.formated_last_time(Time.at(moment).utc) }"
    # To Ruby the last tick at a moment is one of an earlier second.
    moments = [moment for tick, after in pairwise(ticks) for moment in (tick + 1, after)]
    names = [cron.tick_name(tick) for tick in ticks[:-1] for _ in range(2)]
    return names, ruby(ask, cron=schedule.text, moments=moments)


@pytest.mark.parametrize("timezone", ["UTC", "America/Chicago", "Asia/Kolkata"])
def test_both_see_the_same_ticks(timezone: str, ruby: Console) -> None:
    """Of what each of them stores; a tick of one that the other does not see would be one more run."""
    for expression in EXPRESSIONS:
        ours, theirs = both(ruby, expression, timezone, datetime(2026, 1, 9, 11, 58, 30, tzinfo=UTC), 8)
        assert ours == theirs, expression


@pytest.mark.parametrize(
    ("expression", "timezone", "start", "ours", "theirs"),
    [
        # The clock is put forward: jobd runs right after the gap what Ruby leaves out.
        ("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12), "2026-03-29T01:00:00Z", "2026-03-28T01:30:00Z"),
        # Put back: jobd runs at the first of the two times, Ruby at both.
        ("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12), "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
        # Steps of days beside weekdays: to jobd, as to Debian's cron, both must fit, to Ruby one of them.
        ("0 0 */2 * 1", "UTC", datetime(2026, 1, 10), "2026-01-19T00:00:00Z", "2026-02-07T00:00:00Z"),
    ],
    ids=["forward", "back", "days and weekdays"],
)
def test_where_they_do_not(
    expression: str, timezone: str, start: datetime, ours: str, theirs: str, ruby: Console
) -> None:
    names, seen_by_ruby = both(ruby, expression, timezone, start.replace(tzinfo=UTC), 1)
    assert names[0] == ours
    assert seen_by_ruby[1] == theirs


@pytest.mark.parametrize("expression", ["@every 30s", "0 0 LW * *", "0 0 * * 5L"])
def test_what_ruby_does_not_read_it_leaves_to_jobd(
    expression: str, ruby: Console, client: jobd.Client, web: WebPages, redis: Redis
) -> None:
    """Its poller passes it over, its list shows it."""
    jobd.CronSet(client).create("of jobd", expression, "PythonSeen", queue="python")
    create(ruby, **EVERY_SECOND)
    ruby("Sidekiq::Cron::Poller.new('cron_poll_interval' => 1).tap { |poller| sleep(1.1) }.enqueue")
    wait_until(lambda: redis.llen("queue:python") == 1, "the job of the other entry")
    assert claims(redis, "of jobd") == set()
    assert expression in web.words("/cron")
