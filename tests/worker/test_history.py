"""The totals are recorded while they are there, in rings that cannot grow, by one process for all."""

from __future__ import annotations

import json
import time

import pytest
from redis import Redis

import jobd
from jobd.client.connection import Connector
from jobd.client.errors import InvalidArguments
from jobd.client.history import RINGS, Sample, Samples, highest, increases, pack
from jobd.client.keys import Keys
from jobd.worker import history
from jobd.worker.clock import ServerClock
from jobd.worker.history import Sampler, read_sample
from tests.client.api import fill_queue, fill_set
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process records from its first beat on."""
    monkeypatch.setattr(history, "SETTLED", 0.0)


def sampler(url: str, *, leads: bool = True) -> Sampler:
    return Sampler(Connector(url), Keys(), ServerClock(), leads=lambda: leads)


def fill(redis: Redis) -> None:
    """Totals that can be told apart, and two processes."""
    redis.mset({"stat:processed": 1234, "stat:failed": 56})
    fill_queue(redis, 3)
    for name, count in (("retry", 4), ("schedule", 5), ("dead", 6)):
        fill_set(redis, name, count)
    for identity in ("a:1:x", b"b\xff:1:y"):
        redis.sadd("processes", identity)
        redis.hset(identity, mapping={"info": "{}", "busy": 2, "concurrency": 5})


def test_the_totals_are_recorded(redis: Redis, redis_url: str) -> None:
    jobd.configure(redis_url=redis_url)
    fill(redis)
    redis.lpush("queue:default", json.dumps({"class": "A", "enqueued_at": 1.0}))
    before = time.time()
    sampler(redis_url).tick()
    for step in ("10s", "5m"):
        [found] = Samples().read(step)  # type: ignore[arg-type]
        assert before - 1 < found.at < time.time() + 1
        assert (found.processed, found.failed, found.enqueued, found.busy, found.threads) == (1234, 56, 4, 4, 10)
        assert (found.retries, found.scheduled, found.dead) == (4, 5, 6)
        assert found.memory > 100_000
    assert 0 < redis.ttl("jobd:history:10s") <= 2 * 3600
    assert 0 < redis.ttl("jobd:history:5m") <= 4 * 24 * 3600


def test_a_worker_records_while_it_runs(run_worker: RunWorker, redis: Redis) -> None:
    with run_worker(heartbeat_interval=0.02, lease=60):
        wait_until(lambda: Samples().read(), "a sample")


def test_only_who_leads_records_and_that_each_ten_seconds(redis: Redis, redis_url: str) -> None:
    sampler(redis_url, leads=False).tick()
    assert redis.keys() == []
    mine, now = sampler(redis_url), time.time()
    mine._clock.now = lambda: now  # type: ignore[method-assign]
    mine.tick()
    redis.delete("jobd:history:10s")
    now += 1 if now % 10 < 8 else -1
    mine.tick()
    assert not redis.exists("jobd:history:10s")
    now += 10
    mine.tick()
    assert redis.exists("jobd:history:10s")


def test_a_process_that_has_just_started_does_not_record(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SETTLED", 60.0)
    sampler(redis_url).tick()
    assert redis.keys() == []


def test_a_ring_keeps_its_size_and_its_newest_samples(redis: Redis) -> None:
    for step, ring in RINGS.items():
        now = 1_000_000_000.0
        for turn in range(ring.slots * 2 + 5):
            now += ring.step
            redis.setrange("ring", ring.offset(now), pack(Sample(now, processed=turn)))
        raw = redis.get("ring")
        assert isinstance(raw, bytes)
        assert len(raw) == ring.slots * 96
        found = ring.read(raw, now)
        assert len(found) == ring.slots
        assert [each.at for each in found] == sorted(each.at for each in found)
        assert found[-1].processed == ring.slots * 2 + 4
        assert ring.read(raw, now + ring.step * ring.slots) == []
        assert step in ("10s", "5m")
        redis.delete("ring")


@pytest.mark.parametrize("raw", [None, b"", b"x" * 95, b"\xff" * 960, b"\x7f\xf0" + b"\0" * 94])
def test_what_others_have_written_there_is_passed_over(raw: bytes | None) -> None:
    assert RINGS["10s"].read(raw, time.time()) == []


def test_an_unknown_step_is_refused(redis_url: str) -> None:
    jobd.configure(redis_url=redis_url)
    with pytest.raises(InvalidArguments, match="give one of 10s, 5m"):
        Samples().read("1h")  # type: ignore[arg-type]


def test_keys_of_a_wrong_type_are_told_of_once_and_counted_as_nothing(
    redis: Redis, redis_url: str, events: Events
) -> None:
    for key in ("retry", "queues", "processes", "stat:processed"):
        redis.hset(key, "a", "b")
    redis.hset("jobd:history:10s", "a", "b")
    assert read_sample(redis, Keys(), 5.0).retries == 0
    mine = sampler(redis_url)
    mine.tick()
    mine._last = -1
    mine.tick()
    assert len(events.named("history.refused")) == 1
    assert redis.exists("jobd:history:5m")


def test_figures_grow_between_samples_and_gaps_are_gaps() -> None:
    samples = [Sample(at, processed=at * 2, enqueued=at) for at in (100.0, 110.0, 120.0, 300.0)]
    samples.append(Sample(310.0, processed=5.0, enqueued=7.0))
    edges = [90.0, 100.0, 105.0, 115.0, 120.0, 200.0, 300.0, 310.0]
    assert increases(samples, "processed", edges, 60.0) == [None, 10.0, 20.0, 10.0, None, None, 0.0]
    assert highest(samples, "enqueued", edges) == [None, 100.0, 110.0, None, 120.0, None, 300.0]
    assert increases([], "processed", edges, 60.0) == highest([], "enqueued", edges) == [None] * 7
