"""Jobs of a queue are moved to its front or to another queue, and enqueued again: the ticked, or all that match."""

from __future__ import annotations

import json

import pytest
from redis import Redis

import jobd.web
from jobd.client.push import Client
from tests.client.api import fill_queue, payload
from tests.waiting import wait_until
from tests.web.browser import Browser, Page


def queued(redis: Redis, name: str) -> list[str]:
    """The ids of a queue, the next to be taken first."""
    return [json.loads(raw)["jid"] for raw in reversed(redis.lrange(f"queue:{name}", 0, -1))]


def keys(browser: Browser, *jids: str, query: str = "") -> list[str]:
    jobs = browser.data(f"/queues/default{query}")["jobs"]
    return [job["key"] for job in jobs if job["jid"] in jids]


@pytest.mark.parametrize("order", ["", "?order=newest"])
def test_ticked_jobs_go_to_the_front_in_their_order(order: str, browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 9)
    form = [("action", "front"), *(("key", key) for key in keys(browser, "j3", "j7", query=order))]
    answer = browser.post(f"/queues/default{order}", form)
    assert answer.headers["location"].endswith("did=front&moved=2")
    assert queued(redis, "default") == ["j3", "j7", "j0", "j1", "j2", "j4", "j5", "j6", "j8"]
    assert "Moved to the front: 2." in browser.get(answer.headers["location"]).text


def test_ticked_jobs_go_to_the_end_of_another_queue(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 4)
    fill_queue(redis, 1, "low")
    done = browser.act("/queues/default", action="move", to="low", key=keys(browser, "j1", "j2"))
    assert done.json() == {"action": "move", "moved": 2}
    assert (queued(redis, "default"), queued(redis, "low")) == (["j0", "j3"], ["j0", "j1", "j2"])
    assert json.loads(redis.lindex("queue:low", 0))["queue"] == "low"
    assert browser.data("/activity")["records"][0]["target"] == "default → low"


@pytest.mark.parametrize("to", ["", "default", "a\nb", "x" * 201])
def test_another_queue_has_to_be_named(to: str, browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 2)
    answer = browser.act("/queues/default", action="move", to=to, key=keys(browser, "j1"))
    assert (answer.status_code, "give the name of another queue" in answer.text) == (400, True)
    assert redis.llen("queue:default") == 2


def test_ticked_jobs_are_enqueued_again_as_other_ones(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 2)
    done = browser.act("/queues/default", action="copy", key=keys(browser, "j0", "j1"))
    assert done.json()["moved"] == 2
    found = queued(redis, "default")
    assert (found[:2], len(set(found))) == (["j0", "j1"], 4)


def test_all_that_match_are_moved_once_it_is_confirmed(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", "default")
    redis.lpush("queue:default", *(payload(f"j{n}", **{"class": "Odd" if n % 2 else "Even"}) for n in range(1_400)))
    asked = browser.act("/queues/default", action="move", to="low", all="yes", q="class:Odd")
    assert (asked.status_code, asked.json()["count"], asked.json()["to"]) == (409, 700, "low")
    fields = dict(asked.json()["fields"])
    run = browser.act("/queues/default", **fields, confirmed="yes").json()["bulk"]
    wait_until(lambda: browser.data(f"/bulk/{run}")["state"] == "done", "all are moved")
    assert browser.data(f"/bulk/{run}")["moved"] == redis.llen("queue:low") == 700
    assert queued(redis, "low")[:2] == ["j1", "j3"]
    assert "Move to queue low" in Page.of(browser.get(f"/bulk/{run}").text).text


def test_no_more_than_500_go_to_the_front_and_their_order_is_kept(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 100)
    redis.lpush("queue:default", *(payload(f"x{n}", tags=["vip"]) for n in range(450)))
    form = {"action": "front", "all": "yes", "q": "tag:vip", "confirmed": "yes"}
    assert browser.act("/queues/default", **form).json()["moved"] == 450
    assert queued(redis, "default") == [*(f"x{n}" for n in range(450)), *(f"j{n}" for n in range(100))]
    answer = browser.act("/queues/default", action="front", all="yes", confirmed="yes")
    assert (answer.status_code, "search for fewer" in answer.text) == (400, True)


def test_each_needs_a_right_of_its_own(client: Client, redis: Redis) -> None:
    fill_queue(redis, 2)
    browser = Browser(jobd.web.app(client, authorize=lambda user, action: action in ("view", "move")))
    html = browser.get("/queues/default").text
    assert "Move to the front" in html
    assert "Enqueue again" not in html
    key = keys(browser, "j1")
    assert browser.act("/queues/default", action="copy", key=key).status_code == 403
    assert browser.act("/queues/default", action="delete", key=key).status_code == 403
    assert browser.act("/queues/default", action="front", key=key).json()["moved"] == 1
