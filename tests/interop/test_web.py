"""Every page of Sidekiq's Web UI over a jobd at work, and the forms on them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

import jobd
from tests.interop.conftest import Seen, StartJobd
from tests.interop.ruby_process import Console, WebPages
from tests.interop.test_failures import members
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until


@pytest.fixture
def at_work(start_jobd: StartJobd, client: jobd.Client, seen: Seen, redis: Redis) -> Iterator[Jobd]:
    """A jobd with jobs of every state, and one of a class that it does not know."""
    ours = start_jobd(tag="myapp", labels=["eu"], queues=["python"], concurrency=4, pidfile="jobd.pid")
    client.push({"class": "Hold", "args": ["<é>"], "queue": "python", "jid": "held", "tags": ["red"]})
    for name, retry in (("failed", 3), ("died", 0)):
        options = {"retry": retry, "backtrace": True, "tags": ["blue"], "own": {"a": 1}}
        client.push({"class": "BothBreak", "args": [f"{name} & over"], "queue": "python", "jid": name, **options})
    client.push({"class": "Any", "args": ["soon"], "queue": "idle", "jid": "later", "at": time.time() + 3600})
    client.push_bulk({"class": "Any", "args": [[number] for number in range(60)], "queue": "idle"})
    seen.wait(3)
    wait_until(lambda: redis.exists("retry", "dead") == 2, "both failures")
    wait_until(lambda: redis.hget(ours.identities[0], "busy") == b"1", "the heartbeat")
    yield ours
    redis.set("release", "1")


def key_of(redis: Redis, name: str, jid: str) -> str:
    """How the pages address an entry."""
    return next(f"{score!r}-{jid}" for job, score in members(redis, name) if job["jid"] == jid)


def test_the_dashboard_counts_what_is_there(at_work: Jobd, web: WebPages) -> None:
    words = web.words("/")
    for shown in ("2 Processed", "2 Failed", "1 Busy", "60 Enqueued", "1 Retries", "1 Scheduled", "1 Dead"):
        assert shown in words
    assert web.words("/?days=180") != ""
    assert time.strftime("%Y-%m-%d", time.gmtime()) in web.get("/")


def test_the_figures_for_machines(at_work: Jobd, web: WebPages) -> None:
    stats = json.loads(web.get("/stats"))["sidekiq"]
    assert 0 <= stats.pop("default_latency") < 30
    assert stats == {
        "processed": 2,
        "failed": 2,
        "busy": 1,
        "processes": 1,
        "enqueued": 60,
        "scheduled": 1,
        "retries": 1,
        "dead": 1,
    }
    assert json.loads(web.get("/stats/queues")) == {"idle": 60, "python": 0}


def test_the_busy_page_shows_process_and_job(at_work: Jobd, web: WebPages) -> None:
    words = web.words("/busy")
    host, pid, _ = at_work.identities[0].split(":")
    assert f"{host}:{pid} myapp eu Queues: python" in words
    assert "1 Processes 4 Threads 1 Busy 25% Utilization" in words
    assert at_work.identities[0] in words
    assert 'held python Hold red "<é>"' in words


def test_the_pages_of_queues(at_work: Jobd, web: WebPages) -> None:
    assert "idle 60 " in web.words("/queues")
    assert "Any 59" in web.words("/queues/idle")
    assert "Any 0" in web.words("/queues/idle?page=3")
    assert "Any 0" in web.words("/queues/idle?direction=asc")


@pytest.mark.parametrize(
    ("page", "name", "jid", "shown"),
    [
        ("retries", "retry", "failed", "BothBreak blue"),
        ("morgue", "dead", "died", "BothBreak blue"),
        ("scheduled", "schedule", "later", "Any"),
    ],
)
def test_the_pages_of_a_set_and_of_its_entry(
    page: str, name: str, jid: str, shown: str, at_work: Jobd, web: WebPages, redis: Redis
) -> None:
    key = key_of(redis, name, jid)
    assert f"/{page}/{key}" in web.get(f"/{page}")
    words = web.words(f"/{page}")
    assert shown in words
    entry = web.words(f"/{page}/{key}")
    assert f"JID {jid}" in entry
    if name == "schedule":
        assert 'Arguments "soon"' in entry
        return
    assert f"RuntimeError: {jid} & over" in words
    assert f'Arguments "{jid} & over"' in entry
    assert "Error Class RuntimeError" in entry
    assert f"Error Message {jid} & over" in entry
    assert "in `both_break'" in entry
    assert '"own"=>{"a"=>1}' in entry


@pytest.mark.parametrize("page", ["/retries", "/scheduled", "/morgue", "/queues", "/busy", "/"])
def test_pages_without_anything_to_show(page: str, web: WebPages, redis: Redis) -> None:
    assert "Sidekiq" in web.words(page)


def test_a_job_of_an_unknown_class_waits_where_ruby_shows_it(
    at_work: Jobd, client: jobd.Client, web: WebPages, redis: Redis
) -> None:
    client.push({"class": "Nobody", "args": [1], "queue": "python", "jid": "strange"})
    wait_until(lambda: redis.zcard("retry") == 2, "its waiting")
    assert "Nobody" in web.words("/retries")
    assert "JID strange" in web.words(f"/retries/{key_of(redis, 'retry', 'strange')}")


def test_a_job_that_was_put_off_waits_where_ruby_shows_it(
    at_work: Jobd, client: jobd.Client, web: WebPages, redis: Redis
) -> None:
    client.push({"class": "PutOff", "args": [], "queue": "python", "jid": "later-on"})
    wait_until(lambda: redis.zcard("retry") == 2, "its waiting")
    assert "PutOff" in web.words("/retries")
    assert "JID later-on" in web.words(f"/retries/{key_of(redis, 'retry', 'later-on')}")


class TestForms:
    def test_a_retry_at_once(self, at_work: Jobd, web: WebPages, seen: Seen, redis: Redis) -> None:
        key = key_of(redis, "retry", "failed")
        web.post(f"/retries/{key}", f"/retries/{key}", retry="Retry Now")
        assert [call["jid"] for call in seen.wait(4)].count("failed") == 2
        wait_until(lambda: redis.zcard("retry") == 1, "its next failure")
        [(job, _)] = members(redis, "retry")
        assert (job["jid"], job["retry_count"]) == ("failed", 0)

    def test_a_retry_is_killed(self, at_work: Jobd, web: WebPages, redis: Redis) -> None:
        web.post("/retries", "/retries", keys=[key_of(redis, "retry", "failed")], kill="Kill")
        assert not redis.exists("retry")
        assert {job["jid"] for job, _ in members(redis, "dead")} == {"failed", "died"}

    def test_a_dead_job_runs_again(self, at_work: Jobd, web: WebPages, seen: Seen, redis: Redis) -> None:
        web.post("/morgue", "/morgue", keys=[key_of(redis, "dead", "died")], retry="Retry Now")
        assert [call["jid"] for call in seen.wait(4)].count("died") == 2
        wait_until(lambda: redis.zcard("dead") == 1, "its next death")

    def test_a_scheduled_job_is_put_into_its_queue(self, at_work: Jobd, web: WebPages, redis: Redis) -> None:
        key = key_of(redis, "schedule", "later")
        web.post(f"/scheduled/{key}", f"/scheduled/{key}", add_to_queue="Add to queue")
        assert not redis.exists("schedule")
        newest: Any = redis.lindex("queue:idle", 0)
        assert json.loads(newest)["jid"] == "later"

    @pytest.mark.parametrize(
        ("page", "name", "jid"),
        [("retries", "retry", "failed"), ("morgue", "dead", "died"), ("scheduled", "schedule", "later")],
    )
    def test_an_entry_is_deleted(
        self, page: str, name: str, jid: str, at_work: Jobd, web: WebPages, redis: Redis
    ) -> None:
        web.post(f"/{page}", f"/{page}", keys=[key_of(redis, name, jid)], delete="Delete")
        assert not redis.exists(name)

    def test_a_queued_job_is_deleted_and_the_queue_cleared(self, at_work: Jobd, web: WebPages, redis: Redis) -> None:
        newest: Any = redis.lindex("queue:idle", 0)
        web.post("/queues/idle", "/queues/idle/delete", key_val=newest.decode(), delete="Delete")
        assert redis.llen("queue:idle") == 59
        assert redis.lindex("queue:idle", 0) != newest
        web.post("/queues", "/queues/idle", delete="Delete")
        assert not redis.exists("queue:idle")

    def test_a_process_is_quieted_and_stopped(self, at_work: Jobd, web: WebPages, ruby: Console, redis: Redis) -> None:
        identity = at_work.identities[0]
        web.post("/busy", "/busy", identity=identity, quiet="1")
        wait_until(lambda: redis.hget(identity, "quiet") == b"true", "quiet")
        assert "quiet" in web.words("/busy")
        redis.set("release", "1")
        web.post("/busy", "/busy", identity=identity, stop="1")
        at_work.wait_for("process.ready", count=2)
        assert at_work.wait_for("child.ended")["reason"] == "clean"

    def test_without_a_token_nothing_is_done(self, at_work: Jobd, web: WebPages, redis: Redis) -> None:
        with pytest.raises(OSError, match="403"):
            web.send("/queues/idle", {"delete": "Delete"})
        assert redis.llen("queue:idle") == 60
