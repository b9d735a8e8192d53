"""Deploys on the pages: where they are drawn, what the first page says of the last, and that no label is trusted."""

from __future__ import annotations

import re
import time

import pytest
from redis import Redis

import jobd
from jobd.client.push import Client
from tests.web.browser import Browser, Page

SECRET = "password=hunter2"


def mark(redis: Redis, at: float, label: str) -> float:
    """A mark as Sidekiq sets it."""
    day, field = time.strftime("%Y%m%d-marks", time.gmtime(at)), time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(at))
    redis.hset(day, field, label)
    return at // 60 * 60


def test_the_first_page_tells_of_the_last_deploy_and_draws_those_of_its_range(
    browser: Browser, redis: Redis, client: Client
) -> None:
    now = time.time()
    old, late = mark(redis, now - 40 * 86_400, "v1"), mark(redis, now - 1800, "v2 <b>fast</b>")
    told = browser.data("/overview")
    assert told["last_deploy"] == {"at": late, "label": "v2 <b>fast</b>"}
    assert told["deploys"] == [{"at": late, "label": "v2 <b>fast</b>"}]
    assert [each["at"] for each in browser.data("/overview?days=90")["deploys"]] == [late, old]
    page = Page.of(browser.get("/").text)
    assert re.search("Last deploy 3[01] min", " ".join(page.text.split()))  # a mark is of a whole minute
    assert ("v2 <b>fast</b>" in page.text, page.all("b")[0].get("class")) == (True, None)
    jobd.mark_deploy("v3", client=client)
    assert browser.data("/overview")["last_deploy"]["label"] == "v3"


def test_without_a_deploy_nothing_is_said_of_it(browser: Browser, redis: Redis) -> None:
    redis.set(time.strftime("%Y%m%d-marks", time.gmtime()), "no hash")
    told = browser.data("/overview")
    assert (told["last_deploy"], told["deploys"]) == (None, [])
    assert "Last deploy" not in browser.get("/").text


def test_a_deploy_is_drawn_for_a_class(browser: Browser, redis: Redis) -> None:
    late = mark(redis, time.time() - 1800, "v2")
    assert browser.data("/metrics/HardJob")["deploys"] == [{"at": late, "label": "v2"}]
    assert len([each for each in Page.of(browser.get("/metrics/HardJob").text).all("path") if "200" in each["d"]]) >= 2


@pytest.mark.parametrize("path", ["/overview", "/metrics", "/metrics/HardJob", "/failures"])
def test_secrets_in_a_label_stay_on_the_server(browser: Browser, redis: Redis, path: str) -> None:
    mark(redis, time.time() - 600, f"v2 {SECRET}")
    for address in (f"/api/v1{path}", path.replace("/overview", "/")):
        assert "hunter2" not in browser.get(address).text


def test_of_many_deploys_the_newest_are_shown(browser: Browser, redis: Redis) -> None:
    now = time.time()
    for back in range(150):
        mark(redis, now - 60 * back, f"deploy of minute {back}, with a label of some length")
    told = browser.data("/overview?range=6h")
    assert ([each["label"][:18] for each in told["deploys"][:2]], len(told["deploys"])) == (
        ["deploy of minute 0", "deploy of minute 1"],
        100,
    )
    assert len(browser.get("/?range=6h").content) < 90_000


def test_those_of_past_days_are_read_once_a_minute(browser: Browser, redis: Redis) -> None:
    def read() -> int:
        return int(redis.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"])

    browser.data("/metrics/HardJob?period=90d")
    before = read()
    browser.data("/metrics/HardJob?period=90d")
    assert read() - before < 60
