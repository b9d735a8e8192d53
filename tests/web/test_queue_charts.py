"""One queue over time: what waited, came, was taken and failed, as a worker process has recorded it."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from jobd.client.history import RINGS, Step
from jobd.client.keys import Keys
from jobd.client.queue_history import QueueSample, offset, pack
from jobd.worker.page import Counted
from jobd.worker.queue_counts import QueueCounts
from tests.client.api import fill_queue
from tests.web.browser import Browser
from tests.web.test_queue_list import course, process

KEYS = {"10s": "jobd:history:10s:default", "5m": "jobd:history:5m:default"}


def record(redis: Redis, step: Step, count: int) -> None:
    """Samples up to now: the queue shrinks by one a second, two of three that are taken come anew."""
    now = time.time()
    with redis.pipeline() as pipeline:
        for nth in range(count):
            at = now - RINGS[step].step * nth
            sample = QueueSample(at, now - at, 5.0, 1e6 + 2 * (at - now), 1e6 + 3 * (at - now), 1e6 + at - now, 7.0)
            pipeline.setrange(KEYS[step], offset(step, at), pack(sample))
        pipeline.execute()


@pytest.mark.parametrize(("name", "points"), [("5m", 30), ("1h", 20), ("6h", 24), ("24h", 24), ("3d", 24)])
def test_each_range_is_drawn_of_what_was_recorded(name: str, points: int, browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 50)
    for step in RINGS:
        record(redis, step, RINGS[step].slots)
    data = browser.data(f"/queues/default?range={name}")
    assert list(data["charts"]) == ["depth", "flow", "wait"]
    assert len(data["charts"]["flow"]["x"]) == points
    came, taken, failed = (line["values"] for line in data["charts"]["flow"]["series"])
    whole = [(round(i / data["width"]), round(o / data["width"])) for i, o in zip(came[1:-1], taken[1:-1], strict=True)]
    assert set(whole) == {(2, 3)}
    assert set(failed[1:-1]) == {0}
    depth = data["charts"]["depth"]["series"][0]["values"]
    assert depth == sorted(depth, reverse=True)
    assert set(data["charts"]["wait"]["series"][0]["values"]) == {5.0}
    html = browser.get(f"/queues/default?range={name}").text
    assert html.count("<figure") == 3
    assert len(html.encode()) < 60_000


@pytest.mark.parametrize(("name", "points"), [("5m", 5), ("1h", 20), ("6h", 12), ("24h", 24), ("3d", 24)])
def test_waits_are_drawn_in_percentiles_beside_the_next_job(
    name: str, points: int, browser: Browser, redis: Redis
) -> None:
    fill_queue(redis, 5)
    counts, now = QueueCounts(), time.time()
    counts.ended(Counted({}, {"default": [0.01] * 90 + [2.0] * 10}))
    with redis.pipeline() as pipeline:
        counts.put(pipeline, Keys(), now)
        pipeline.execute()
    for step in RINGS:
        record(redis, step, RINGS[step].slots)
    chart = browser.data(f"/queues/default?range={name}")["charts"]["wait"]
    assert (len(chart["x"]), chart["log"]) == (points, True)
    told = {line["label"]: line["values"][-1] for line in chart["series"]}
    assert list(told) == ["p50", "p95", "p99", "Next job has waited"]
    assert [abs(told[share] / wait - 1) < 0.5 for share, wait in (("p50", 0.01), ("p95", 2.0), ("p99", 2.0))] == [
        True
    ] * 3
    assert {value for line in chart["series"][:3] for value in line["values"][:-2]} <= {None}
    assert len(browser.get(f"/queues/default?range={name}").content) < 60_000


def test_a_queue_without_samples_says_that_there_are_no_figures_yet(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 3)
    data = browser.data("/queues/default")
    assert (data["charts"], data["recorded"], data["future_now"]) == ({}, False, "unknown")
    html = browser.get("/queues/default").text
    assert "No figures yet: they are recorded while a process of jobd runs." in html
    assert "no figures yet" in html


def test_the_present_rates_and_what_becomes_of_the_queue_stand_above_its_jobs(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 30)
    process(redis, "a:1:x", {"default": 1})
    course(redis, "default", added=1.0, taken=1.5, grown=-0.5)
    data = browser.data("/queues/default")
    assert (data["added"], data["taken"], data["eta"], data["threads"]) == (1, 1.5, 60, 5)
    html = browser.get("/queues/default").text
    for said in ("In 1.00 /s, out 1.50 /s.", "about 1 min", "Failed in the last hour: 25.0%"):
        assert said in html


def test_of_a_queue_that_sidekiq_takes_from_nothing_is_drawn_that_nobody_counts(browser: Browser, redis: Redis) -> None:
    record(redis, "10s", 100)
    fill_queue(redis, 3)
    process(redis, "a:1:x", {"default": 1}, version="7.3.10")
    assert list(browser.data("/queues/default")["charts"]) == ["depth", "wait"]
    assert "Processes of Sidekiq do not count what they take" in browser.get("/queues/default").text


def test_a_search_has_the_jobs_alone_and_a_range_that_is_none_is_refused(browser: Browser, redis: Redis) -> None:
    record(redis, "10s", 100)
    fill_queue(redis, 3)
    assert "<figure" not in browser.get("/queues/default?q=nothing").text
    assert "<figure" in browser.get("/queues/default").text
    assert browser.get("/queues/default?range=2d").status_code == 400
