"""Alert limits on the pages: set on that of a queue, told wherever queues are."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import audit
from jobd.client.push import Client
from jobd.client.queue_limits import Limits
from jobd.client.queues import Queue
from tests.client.api import payload
from tests.web.browser import Browser, Page
from tests.web.test_busy import process

KEY = "jobd:queue-limits"


def waiting(redis: Redis, name: str, count: int, seconds: float) -> None:
    """A queue whose jobs have waited for so long."""
    redis.sadd("queues", name)
    for nth in range(count):
        redis.lpush(f"queue:{name}", payload(f"{name}{nth}", queue=name, enqueued_at=time.time() - seconds))


@pytest.fixture
def shop(redis: Redis) -> None:
    """Three queues that a process takes from."""
    process(redis, "web-1:1:a", queues=["mailers", "low", "default"])
    waiting(redis, "mailers", 1, 360.0)
    waiting(redis, "low", 3, 400.0)
    waiting(redis, "default", 1, 0.0)


def needs(browser: Browser) -> list[str]:
    """What needs attention, as the first page tells it."""
    found = browser.data("/overview")["attention"]
    return [each["text"].format(**each["values"]).split(",")[-1].strip() for each in found]


def dot_is_lit(browser: Browser) -> bool:
    """That of the menu, on a page that looks for nothing itself."""
    [dot] = [each for each in Page.of(browser.get("/retries").text).all("span") if "data-dot" in each]
    return "hidden" not in dot


def text_of(browser: Browser, path: str) -> str:
    return " ".join(Page.of(browser.get(path).text).text.split())


def test_a_queue_over_its_limits_is_told_with_them(shop: None, browser: Browser) -> None:
    assert needs(browser) == ["its limit is 60.0."] * 2
    assert browser.act("/queues/mailers", action="limits", wait="5m").json() == {"action": "limits"}
    assert browser.act("/queues/low", action="limits", wait="none", size=2).json() == {"action": "limits"}
    assert needs(browser) == ["its limit is 2.", "its limit is 300."]
    first = text_of(browser, "/")
    assert "Queue low holds 3 jobs, its limit is 2." in first
    assert "Queue mailers: the next job has waited 6 min, its limit is 5 min." in first
    assert first.count("▲ over its limit") == 2
    queues = text_of(browser, "/queues")
    assert ("▲ over 2 jobs" in queues, "▲ over 5 min" in queues) == (True, True)
    assert [each["name"] for each in browser.data("/queues?sort=state")["queues"]][-1] == "default"
    assert "▲ over its limit of 5 min" in text_of(browser, "/queues/mailers")


def test_no_limit_is_never_and_the_dot_goes_out(shop: None, browser: Browser) -> None:
    for name in ("mailers", "low"):
        browser.act(f"/queues/{name}", action="limits", wait="none")
    assert needs(browser) == []
    assert dot_is_lit(browser) is False
    browser.act("/queues/low", action="limits", size="2")
    assert dot_is_lit(browser) is True


def test_the_form_sets_both_and_says_what_holds(shop: None, browser: Browser, client: Client, redis: Redis) -> None:
    answer = browser.post("/queues/mailers", {"action": "limits", "wait": "10m", "size": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/queues/mailers?did=limits")
    told = text_of(browser, answer.headers["location"])
    assert "The alert limits are set." in told
    assert "Alert limits: the next job may wait 10 min, jobs that may wait: ∞" in told
    fields = {each.get("name"): each.get("value") for each in Page.of(browser.get("/queues/mailers").text).all("input")}
    assert (fields["wait"], fields["size"]) == ("10m", "")
    assert Queue("mailers", client).limits == Limits(wait=600)
    raws: Any = redis.xrange("jobd:audit")
    assert [(each.action, each.target) for each in (audit.read(*raw) for raw in raws)] == [
        ("limits", "mailers: wait 10m, size default")
    ]


@pytest.mark.parametrize("sent", [{}, {"wait": "soon"}, {"size": "1.5"}, {"size": None}])
def test_what_is_no_limit_is_refused(sent: dict[str, Any], browser: Browser, redis: Redis) -> None:
    answer = browser.act("/queues/mailers", action="limits", **sent)
    assert (answer.status_code, "give" in answer.json()["error"], redis.exists(KEY)) == (400, True, 0)


def test_it_needs_the_right_and_those_without_see_the_limits(shop: None, client: Client, redis: Redis) -> None:
    browser = Browser(jobd.web.app(client, authorize=lambda user, action: action != "limits"))
    assert browser.act("/queues/mailers", action="limits", wait="5m").status_code == 403
    html = browser.get("/queues/mailers").text
    assert ("Alert limits: the next job may wait 1 min" in html, 'value="limits"' in html) == (True, False)
    assert redis.exists(KEY) == 0


def test_a_damaged_limit_is_told_and_the_default_holds(shop: None, browser: Browser, redis: Redis) -> None:
    redis.hset(KEY, mapping={"w|mailers": "<b>", "s|default": "-1"})
    assert needs(browser) == ["its limit is 60.0."] * 2
    told = browser.data("/queues/mailers")
    assert (told["damaged_limits"], told["wait_limit"], told["limits"]["wait"]) == (["wait"], 60.0, "default")
    assert "✕ An alert limit of this queue is damaged" in text_of(browser, "/queues/mailers")
    redis.delete(KEY)
    redis.set(KEY, "x")
    assert (browser.get("/").status_code, browser.get("/queues/mailers").status_code) == (200, 200)


def test_a_group_tells_how_many_of_its_queues_are_over_a_limit(redis: Redis, browser: Browser) -> None:
    for name in ("mail:a", "mail:b"):
        waiting(redis, name, 1, 100.0)
    [group] = browser.data("/queues?tree=1")["queues"]
    assert (group["name"], group["over_queues"]) == ("mail", 2)
    assert "▲ over a limit: 2" in text_of(browser, "/queues?tree=1")
