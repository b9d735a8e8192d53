"""sidekiq-cron drives jobs of which only Python knows."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from jobd.client import cron_edits
from jobd.client.access import Access
from jobd.client.cron_set import CronSet
from jobd.client.push import Client
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console, WebPages
from tests.waiting import wait_until

EVERY_SECOND = {"name": "every second", "cron": "* * * * * *", "class": "PythonSeen", "queue": "python"}


def create(ruby: Console, **entry: Any) -> None:
    """Have sidekiq-cron save an entry."""
    assert ruby("Sidekiq::Cron::Job.create(entry)", entry={**EVERY_SECOND, **entry})


def test_sidekiq_cron_pushes_jobs_of_python(
    ruby: Console, sidekiq: StartSidekiq, start_jobd: StartJobd, seen: Seen, redis: Redis
) -> None:
    start_jobd()
    create(ruby, args=["é", {"a": 1}], date_as_argument=True)
    began = time.time()
    sidekiq("ruby", require="cron.rb")
    calls = seen.wait(3)
    for call in calls:
        assert (call["by"], call["class"], call["args"][:2]) == ("python", "PythonSeen", ["é", {"a": 1}])
        assert began - 1 < call["args"][2] < time.time()
    history: Any = redis.lrange("cron_job:every second:jid_history", 0, -1)
    assert {call["jid"] for call in calls[:3]} <= {json.loads(entry)["jid"] for entry in history}


def test_its_options_travel_with_the_job(ruby: Console, redis: Redis) -> None:
    """Of a class that Ruby does not know it stores a message of its own, which can hold any option."""
    message = {"class": "PythonSeen", "args": [1], "queue": "python", "retry": 3, "tags": ["cron"], "kwargs": {"a": 1}}
    create(ruby, message=json.dumps(message), args=[1])
    ruby("Sidekiq::Cron::Job.find('every second').enque!")
    raw: Any = redis.lindex("queue:python", 0)
    pushed = json.loads(raw)
    assert {name: pushed[name] for name in message} == message


def test_an_entry_that_jobd_has_edited_is_one_of_ruby_still(ruby: Console, redis: Redis, redis_url: str) -> None:
    create(ruby, args=["old", {"a": 1}], description="by Ruby")
    entries, access = CronSet(Client(redis_url)), Access(Client(redis_url))
    before = entries.find("every second")
    assert before is not None
    changed = replace(before, cron="0 3 * * 1 Asia/Tokyo", args=("new", [2]), queue="low", description="by hand")
    assert cron_edits.change(access, before, changed)
    told = ruby("job = Sidekiq::Cron::Job.find('every second'); [job.cron, job.args, job.description, job.status]")
    assert told == ["0 3 * * 1 Asia/Tokyo", ["new", [2]], "by hand", "enabled"]
    ruby("Sidekiq::Cron::Job.find('every second').enque!")
    raw: Any = redis.lindex("queue:low", 0)
    pushed = json.loads(raw)
    assert (pushed["class"], pushed["args"], pushed["queue"]) == ("PythonSeen", ["new", [2]], "low")


def test_a_disabled_entry_pushes_nothing(ruby: Console, redis: Redis) -> None:
    create(ruby)
    ruby("Sidekiq::Cron::Job.find('every second').disable!")
    later = time.time() + 30
    ruby("Sidekiq::Cron::Job.find('every second').test_and_enque_for_time!(Time.at(at).utc)", at=later)
    assert not redis.exists("queue:python")
    ruby("Sidekiq::Cron::Job.find('every second').enable!")
    ruby("Sidekiq::Cron::Job.find('every second').test_and_enque_for_time!(Time.at(at).utc)", at=later)
    assert redis.llen("queue:python") == 1
    found: Any = redis.zrange("cron_job:every second:enqueued", -1, -1, withscores=True)
    [(tick, score)] = found
    assert datetime.fromisoformat(tick.decode()) == datetime.fromtimestamp(score, UTC)


def test_its_page_shows_the_job_and_pushes_it(ruby: Console, web: WebPages, redis: Redis) -> None:
    create(ruby, description="what it is for")
    assert "every second" in web.words("/cron")
    assert "what it is for" in web.words("/cron/every%20second")
    web.post("/cron", "/cron/every%20second/enque")
    wait_until(lambda: redis.llen("queue:python") == 1, "the job")
