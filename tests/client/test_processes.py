"""Processes and running jobs as their heartbeats show them, jobd's and those of Sidekiq 6.4 to 8.1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.errors import NotControllable
from tests.client.api import jids, payload

INFO_6 = {
    "hostname": "vm",
    "started_at": 1795305700.7473886,
    "pid": 19466,
    "tag": "myapp",
    "concurrency": 3,
    "queues": ["critical", "low"],
    "labels": ["a"],
    "identity": "vm:19466:9f591182bbc3",
}
INFO_8 = {
    "hostname": "vm",
    "started_at": 1795305954.8118587,
    "pid": 30060,
    "tag": "",
    "labels": [],
    "capsules": {
        "default": {"concurrency": 4, "mode": "weighted", "weights": {"critical": 3, "low": 1}},
        "single": {"concurrency": 1, "mode": "strict", "weights": {"single": 0}},
    },
    "identity": "vm:30060:147941547b83",
    "version": "8.1.7",
    "embedded": False,
}


@pytest.fixture(autouse=True)
def each_test_has_an_empty_database(configured: str) -> None:
    """To which the default client goes."""


def beat(redis: Redis, info: dict[str, Any], **fields: Any) -> str:
    """Write a heartbeat as Ruby does."""
    identity = str(info["identity"])
    redis.sadd("processes", identity)
    known = {"busy": 1, "beat": 1795305710.75, "quiet": "false", "rss": 35684, "rtt_us": 58}
    redis.hset(identity, mapping={"info": json.dumps(info), **known, **fields})
    return identity


def test_a_process_of_sidekiq_6_is_read(redis: Redis) -> None:
    beat(redis, INFO_6)
    [process] = jobd.ProcessSet()
    assert (process.identity, process.hostname, process.pid, process.tag) == (INFO_6["identity"], "vm", 19466, "myapp")
    assert (process.concurrency, process.busy, process.quiet, process.rss, process.rtt_us) == (3, 1, False, 35684, 58)
    assert (process.queues, process.labels, process.version) == (("critical", "low"), ("a",), "")
    assert (process.beat, process.started_at, process.embedded) == (1795305710.75, 1795305700.7473886, False)


def test_a_process_of_sidekiq_8_is_read(redis: Redis) -> None:
    beat(redis, INFO_8, concurrency=5, quiet="true")
    [process] = jobd.ProcessSet()
    assert (process.concurrency, process.quiet, process.version) == (5, True, "8.1.7")
    assert process.queues == ("critical", "low", "single")
    assert process.capsules["single"]["mode"] == "strict"
    assert process.weights == ({"critical": 3, "low": 1}, {"single": 0})


def test_a_process_of_sidekiq_7_tells_weights_without_capsules(redis: Redis) -> None:
    weights = [{"critical": 3, "low": 1}, {"single": 0}]
    beat(redis, {**INFO_6, "version": "7.3.10", "weights": [*weights, "?"], "queues": ["critical", "low", "single"]})
    [process] = jobd.ProcessSet()
    assert (process.capsules, process.weights) == ({}, tuple(weights))
    beat(redis, {**INFO_6, "weights": weights, "queues": None})
    [process] = jobd.ProcessSet()
    assert process.queues == ("critical", "low", "single")


def test_totals_are_those_of_all(redis: Redis) -> None:
    beat(redis, INFO_6)
    beat(redis, INFO_8, concurrency=5)
    processes = jobd.ProcessSet()
    assert (len(processes), processes.total_concurrency, processes.total_rss) == (2, 8, 2 * 35684)


@pytest.mark.parametrize("info", [None, b"{bad", b"[]"])
def test_who_shows_no_heartbeat_is_not_listed_and_nothing_is_written(redis: Redis, info: bytes | None) -> None:
    redis.sadd("processes", "gone")
    if info is not None:
        redis.hset("gone", "info", info)
    assert list(jobd.ProcessSet()) == []
    assert redis.scard("processes") == 1


def test_damaged_figures_are_zero(redis: Redis) -> None:
    beat(redis, {**INFO_6, "pid": None, "labels": 5, "capsules": [], "queues": 1}, busy="x", rss="nan", beat="")
    [process] = jobd.ProcessSet()
    assert (process.pid, process.labels, process.queues, process.busy, process.rss) == (0, (), (), 0, 0)


@pytest.mark.parametrize(("method", "signal"), [("quiet", b"TSTP"), ("stop", b"TERM"), ("dump", b"TTIN")])
def test_a_signal_is_left_for_a_minute(redis: Redis, method: str, signal: bytes) -> None:
    identity = beat(redis, INFO_8)
    assert getattr(jobd.ProcessSet(), method)(identity)
    assert redis.lrange(f"{identity}-signals", 0, -1) == [signal]
    assert 0 < redis.ttl(f"{identity}-signals") <= 60
    assert not getattr(jobd.ProcessSet(), method)("vm:1:nobody")
    assert not redis.exists("vm:1:nobody-signals")


def test_a_process_inside_another_program_takes_no_signals(redis: Redis) -> None:
    identity = beat(redis, {**INFO_8, "embedded": True})
    with pytest.raises(NotControllable, match="stop that program"):
        jobd.ProcessSet().quiet(identity)


OURS = {**INFO_8, "version": "jobd-1.0"}


def test_a_quiet_process_of_jobd_is_told_to_resume(redis: Redis) -> None:
    identity = beat(redis, OURS, quiet="true", held=0)
    assert jobd.ProcessSet().resume(identity)
    assert redis.lrange(f"{identity}-signals", 0, -1) == [b"RESUME"]
    assert not jobd.ProcessSet().resume("vm:1:nobody")
    redis.hset(identity, "quiet", "false")
    assert jobd.ProcessSet().resume(identity), "it takes jobs already, and goes on"


@pytest.mark.parametrize(
    ("info", "fields", "why"),
    [
        (INFO_8, {"quiet": "true"}, "no process of jobd"),
        ({**OURS, "embedded": True}, {"quiet": "true", "held": 0}, "another program"),
        (OURS, {"quiet": "true", "held": 1}, "ctl resume"),
        (OURS, {"quiet": "true"}, "ctl resume"),
    ],
)
def test_who_would_not_resume_is_not_told_to(redis: Redis, info: dict[str, Any], fields: Any, why: str) -> None:
    identity = beat(redis, info, **fields)
    with pytest.raises(NotControllable, match=why):
        jobd.ProcessSet().resume(identity)
    assert jobd.ProcessSet().resume_all() == 0
    assert not redis.exists(f"{identity}-signals")


def test_all_that_can_be_are_resumed(redis: Redis) -> None:
    for number, (quiet, held) in enumerate([("true", 0), ("true", 1), ("false", 0), ("true", 0)]):
        beat(redis, {**OURS, "identity": f"vm:{number}:x"}, quiet=quiet, held=held)
    assert jobd.ProcessSet().resume_all(["vm:0:x", "vm:1:x", "vm:2:x"]) == 1
    assert jobd.ProcessSet().resume_all() == 2
    assert redis.llen("vm:0:x-signals") == 2


def running(jid: str, queue: str = "low") -> str:
    return json.dumps({"queue": queue, "payload": payload(jid).decode(), "run_at": 1795305700})


@pytest.mark.parametrize("name", ["work", "workers"])
def test_running_jobs_are_read_under_either_name(redis: Redis, name: str) -> None:
    identity = beat(redis, INFO_6)
    redis.hset(f"{identity}:{name}", mapping={"em2": running("a"), "em3": running("b")})
    work = jobd.WorkSet()
    assert len(work) == 2
    first, _ = work
    assert (first.process, first.thread, first.queue, first.run_at) == (identity, "em2", "low", 1795305700.0)
    assert jids(each.entry for each in work) == ["a", "b"]
    found = work.find("b")
    assert found is not None
    assert found.thread == "em3"
    assert work.find("c") is None


def test_what_is_under_both_names_is_one_job(redis: Redis) -> None:
    identity = beat(redis, INFO_6)
    for name in ("work", "workers"):
        redis.hset(f"{identity}:{name}", mapping={"em2": running("a")})
    assert len(jobd.WorkSet()) == 1


def test_a_payload_that_is_no_text_and_one_that_is_damaged_raise_nothing(redis: Redis) -> None:
    identity = beat(redis, INFO_6)
    odd = {"em2": json.dumps({"queue": "low", "payload": {"class": "A", "jid": "x"}}), "em3": "{bad", "em4": "[]"}
    redis.hset(f"{identity}:work", mapping=odd)
    [work] = jobd.WorkSet()
    assert (work.entry.jid, work.entry.name, work.run_at) == ("x", "A", 0.0)


def test_a_thousand_processes_are_read_in_a_few_round_trips(redis: Redis) -> None:
    for i in range(1_001):
        beat(redis, {**INFO_6, "identity": f"vm:{i}:x"}, busy=0)
    assert list(jobd.ProcessSet())
    redis.config_resetstat()
    assert len(jobd.ProcessSet()) == 1_001
    calls: Any = redis.info("commandstats")
    assert calls["cmdstat_hmget"]["calls"] == 1_001
    assert set(calls) <= {"cmdstat_hmget", "cmdstat_smembers", "cmdstat_config|resetstat"}


def test_an_identity_that_is_no_unicode_is_shown_with_its_jobs(redis: Redis) -> None:
    redis.sadd("processes", b"\xff:1:a")
    redis.hset(b"\xff:1:a", mapping={"info": "{}", "busy": 1})
    redis.hset(b"\xff:1:a:work", "t", json.dumps({"queue": "q", "payload": "{}", "run_at": 1}))
    [work] = jobd.WorkSet()
    assert jobd.ProcessSet().quiet(work.process)
    assert redis.lrange(b"\xff:1:a-signals", 0, -1) == [b"TSTP"]
    assert jobd.Stats().busy == 1
