"""A job that ran when its process crashed is followed to its end; while there is none, nothing is asked."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.worker.ledger import Fetched
from jobd.worker.suspects import Suspects
from tests.waiting import wait_until
from tests.worker.conftest import Events, PushRaw, RunWorker


@jobd.job(name="suspects.run")
def run(fails: bool) -> None:
    if fails:
        raise ValueError("it failed")


def suspect(redis: Redis, *jids: str) -> None:
    """Jobs that crashed twice, and once with their host."""
    for jid in jids:
        redis.sadd("jobd:suspects", jid)
        redis.set(f"jobd:crashes:{jid}", 2)
        redis.set(f"jobd:host-crashes:{jid}", 1)


def job(jid: str, *, fails: bool = False, **options: object) -> dict[str, Any]:
    return {"class": "suspects.run", "args": [fails], "jid": jid, "queue": "default", "retry": True, **options}


def processed(redis: Redis) -> int:
    value: Any = redis.get("stat:processed")
    return int(value or 0)


@pytest.mark.parametrize(
    "ending",
    [
        job("a"),
        job("a", fails=True, retry=0),
        job("a", fails=True, retry=False),
    ],
)
def test_the_end_of_a_suspect_clears_it_and_nobody_else(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis, ending: dict[str, Any]
) -> None:
    suspect(redis, "a", "b")
    push_raw(ending)
    with run_worker(concurrency=1):
        wait_until(lambda: redis.smembers("jobd:suspects") == {b"b"}, "the suspect cleared")
    assert sorted(redis.keys("jobd:*crashes:*")) == [b"jobd:crashes:b", b"jobd:host-crashes:b"]


def test_a_suspect_that_is_to_run_again_stays_one(run_worker: RunWorker, push_raw: PushRaw, redis: Redis) -> None:
    suspect(redis, "a", "b")
    push_raw(job("a", fails=True))
    push_raw({"class": "suspects.nobody_knows_it", "args": [], "jid": "b", "retry": True})
    with run_worker(concurrency=1):
        wait_until(lambda: redis.zcard("retry") == 2, "both put off")
    assert redis.smembers("jobd:suspects") == {b"a", b"b"}
    assert redis.get("jobd:crashes:a") == redis.get("jobd:crashes:b") == b"2"


def test_a_suspect_is_cleared_once_redis_has_its_end(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = Suspects.absolve, list[tuple[str, int]]()

    def absolve(self: Suspects, jid: str) -> None:
        seen.append((jid, processed(redis)))
        before(self, jid)

    monkeypatch.setattr(Suspects, "absolve", absolve)
    suspect(redis, "a")
    push_raw(job("a"))
    with run_worker(concurrency=1):
        wait_until(lambda: not redis.exists("jobd:suspects"), "the suspect cleared")
    assert seen == [("a", 1)]


def test_others_run_beside_a_suspect_and_are_asked_after_but_not_cleared(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[str] = []
    monkeypatch.setattr(Suspects, "absolve", lambda self, jid: cleared.append(jid))
    suspect(redis, "elsewhere")
    push_raw(job("b"))
    with run_worker(concurrency=1):
        wait_until(lambda: processed(redis) == 1, "the job done")
    assert cleared == []


def test_nothing_is_asked_while_there_are_no_suspects(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Suspects, "among", lambda self, jobs: asked.append(len(jobs)) or [])
    redis.config_resetstat()
    for i in range(20):
        push_raw(job(f"j{i}"))
    with run_worker(concurrency=2):
        wait_until(lambda: processed(redis) == 20, "all done")
    stats: Any = redis.info("commandstats")
    assert stats["cmdstat_rpop"]["calls"] >= 1
    assert not asked
    assert stats["cmdstat_srem"]["calls"] == 1  # the process leaves the views


def test_a_redis_that_does_not_answer_raises_nothing_and_clears_no_doubt() -> None:
    connector = Connector("redis://127.0.0.1:1/0")
    suspects = Suspects(connector, Keys())
    fetched = Fetched(1, 1, "default", b'{"jid": "a"}'), Fetched(1, 2, "default", b"{}")
    assert suspects.among(fetched) == [fetched[0]]
    suspects.absolve("a")
    connector.close()


def test_suspects_of_a_wrong_type_are_told_of_and_hinder_no_job(
    run_worker: RunWorker, push_raw: PushRaw, redis: Redis, events: Events
) -> None:
    redis.set("jobd:suspects", "no set")
    for i in range(3):
        push_raw(job(f"j{i}"))
    with run_worker(concurrency=1):
        wait_until(lambda: processed(redis) == 3, "all done")
    assert {"jobd:suspects" in str(values["note"]) for values in events.named("redis.damaged")} == {True}
