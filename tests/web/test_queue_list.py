"""The queues: sorted, as a tree, with rates, what becomes of each, who takes from it; several paused at once."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client.processes import Process
from jobd.client.push import Client
from jobd.client.queue_history import Course, QueueSample
from jobd.web.consumers import consumers
from jobd.web.queue_courses import drains, flow
from tests.client.api import fill_queue
from tests.web.browser import Browser, Page


def course(redis: Redis, name: str, *, at: float | None = None, **rates: float) -> None:
    """The last hour of a queue as a worker process records it."""
    now = time.time() if at is None else at
    ended, failed = rates.pop("ended", 40.0), rates.pop("failed", 10.0)
    bins = ((3.0, 2.0, ended / 20, failed / 20),) * 20 + ((0.0, 0.0, 0.0, 0.0),)
    made = Course(QueueSample(now), 60.0, **rates, bins=bins)
    redis.hset("jobd:queue-courses", name, made.pack())


def process(
    redis: Redis, identity: str, queues: dict[str, int], *, threads: int = 5, version: str = "jobd-1.0"
) -> None:
    """A worker process with one pool."""
    capsules = {"default": {"concurrency": threads, "mode": "weighted", "weights": queues}}
    info = {"queues": list(queues), "concurrency": threads, "capsules": capsules, "version": version}
    redis.sadd("processes", identity)
    redis.hset(identity, mapping={"info": json.dumps(info), "busy": 0, "beat": time.time(), "quiet": "false"})


def rows(browser: Browser, query: str = "") -> dict[str, Any]:
    return {row["name"]: row for row in browser.data(f"/queues{query}")["queues"]}


def names(browser: Browser, query: str = "") -> list[str]:
    return [row["name"] for row in browser.data(f"/queues{query}")["queues"]]


@pytest.fixture
def three(redis: Redis) -> None:
    """Three queues with figures, and one without any."""
    fill_queue(redis, 100, "big")
    fill_queue(redis, 10, "mid")
    redis.sadd("queues", "idle", "new")
    course(redis, "big", added=1.0, taken=3.0, grown=-2.0)
    course(redis, "mid", added=5.0, taken=1.5, grown=3.5, failed=0.0)
    course(redis, "idle", ended=0.0)


@pytest.mark.usefixtures("three")
def test_each_queue_tells_its_rates_its_failures_and_when_it_is_empty(browser: Browser) -> None:
    found = rows(browser)
    big, mid, idle, new = (found[name] for name in ("big", "mid", "idle", "new"))
    assert (big["added"], big["taken"], big["failure_rate"], big["future"], big["eta"]) == (1, 3, 0.25, "drains", 50)
    assert (mid["future"], mid["eta"], mid["failure_rate"]) == ("grows", None, 0.0)
    assert (idle["future"], idle["failure_rate"]) == ("empty", None)
    assert (new["recorded"], new["added"], new["came"]) == (False, None, [])
    assert big["went"] == [2.0] * 20
    html = browser.get("/queues").text
    text = Page.of(html).text
    for said in ("about 50 s", "grows", "no figures yet", "25.0%", "3.00"):
        assert said in text
    assert html.count('class=came d="M0 24V') == 3


def test_figures_of_long_ago_are_not_told_as_those_of_now(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 3)
    course(redis, "default", at=time.time() - 120, added=1.0)
    assert not rows(browser)["default"]["recorded"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "big mid idle new"),
        ("?sort=name", "big idle mid new"),
        ("?sort=size&order=asc", "idle new mid big"),
        ("?sort=added&order=desc", "mid big idle new"),
        ("?sort=taken&order=asc", "idle mid big new"),
        ("?sort=eta&order=asc", "idle new big mid"),
        ("?sort=failure_rate&order=desc", "big mid idle new"),
        ("?sort=state&order=desc", "mid big idle new"),
    ],
)
def test_they_are_sorted_by_any_column(browser: Browser, query: str, expected: str) -> None:
    browser.post("/queues", {"action": "pause", "key": "mid"})
    assert names(browser, query) == expected.split()


@pytest.mark.usefixtures("three")
def test_the_heads_of_the_columns_are_links_that_turn_the_order(browser: Browser) -> None:
    page = Page.of(browser.get("/queues?sort=taken&order=desc").text)
    [head] = [th for th in page.all("th") if "aria-sort" in th]
    assert head["aria-sort"] == "descending"
    links = [str(a.get("href")) for a in page.all("a")]
    assert "/queues?sort=taken&order=asc" in links
    assert "/queues?sort=name&order=asc" in links
    for wrong in ("?sort=nothing", "?sort=size&order=up"):
        assert browser.get(f"/queues{wrong}").status_code == 400


def test_the_order_stays_from_page_to_page(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", *(f"q{nth:03}" for nth in range(150)))
    page = Page.of(browser.get("/queues?sort=name&order=desc").text)
    [link] = [a for a in page.all("a") if a.get("rel") == "next"]
    assert link["href"] == "/queues?sort=name&order=desc&offset=40"
    assert names(browser, "?sort=name&order=desc&offset=40")[0] == "q109"


def test_queues_whose_names_begin_alike_are_one_row_of_the_tree(browser: Browser, redis: Redis) -> None:
    for name, size in (("mailers:high", 3), ("mailers.low", 4), ("a-b", 1), ("solo", 2)):
        fill_queue(redis, size, name)
        course(redis, name, added=1.0, taken=2.0, grown=-1.0)
    assert names(browser, "?tree=1") == ["mailers", "solo", "a-b"]
    group = rows(browser, "?tree=1")["mailers"]
    assert (group["queues"], group["size"], group["added"], group["taken"], group["eta"]) == (2, 7, 2, 4, 3.5)
    assert group["failure_rate"] == 0.25
    assert names(browser, "?tree=1&open=mailers") == ["mailers", "mailers.low", "mailers:high", "solo", "a-b"]
    assert rows(browser, "?tree=1&open=mailers")["mailers:high"]["group"] == "mailers"
    page = Page.of(browser.get("/queues?tree=1").text)
    assert "/queues?sort=size&order=desc&tree=1&open=mailers" in [a.get("href") for a in page.all("a")]
    assert len([box for box in page.all("input") if box.get("name") == "key"]) == 2
    assert "tree=1" in browser.get("/queues").text


def test_without_names_that_begin_alike_there_is_no_tree(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", "a", "b")
    assert "tree=1" not in browser.get("/queues").text


def test_several_queues_are_paused_and_resumed_at_once(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", "a", "b", b"raw\xff", "hex:61")
    keys = [row["key"] for row in browser.data("/queues")["queues"] if row["name"] != "b"]
    page = Page.of(browser.get("/queues").text)
    assert set(keys) < {box.get("value") for box in page.all("input") if box.get("name") == "key"}
    done = browser.post("/queues", [("action", "pause"), *(("key", key) for key in keys)])
    assert done.headers["location"] == "/queues?did=pause_many&moved=3"
    assert redis.smembers("paused") == {b"a", b"raw\xff", b"hex:61"}
    assert "Paused: 3." in browser.get(done.headers["location"]).text
    assert browser.act("/queues", action="resume", key=keys).json()["moved"] == 3
    assert redis.scard("paused") == 0


def test_a_group_of_which_all_queues_are_paused_says_so(browser: Browser, redis: Redis) -> None:
    for name in ("team:a", "team:b"):
        fill_queue(redis, 1, name)
        redis.sadd("paused", name)
    [group] = [each for each in browser.data("/queues?tree=1")["queues"] if each["queues"]]
    assert (group["paused"], group["paused_by"]) == (True, "")
    assert "paused" in Page.of(browser.get("/queues?tree=1").text).text


@pytest.mark.parametrize(
    "document", [{"action": "clear", "key": "a"}, {"action": "pause"}, {"key": "hex:", "action": "pause"}]
)
def test_a_change_of_several_that_makes_no_sense_changes_nothing(
    document: dict[str, str], browser: Browser, redis: Redis
) -> None:
    assert browser.act("/queues", **document).status_code == 400
    assert not redis.exists("paused", "jobd:paused-by")


def test_who_may_not_pause_has_nothing_to_tick(client: Client, redis: Redis) -> None:
    redis.sadd("queues", "a")
    browser = Browser(jobd.web.app(client, authorize=lambda user, action: action == "view"))
    assert Page.of(browser.get("/queues").text).all("input")[-1].get("name") != "key"
    assert browser.post("/queues", {"action": "pause", "key": "a"}).status_code == 403


def test_who_takes_from_a_queue_is_told_with_threads_and_weights(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", "default", "low", "nobody")
    process(redis, "a:1:x", {"default": 3, "low": 1})
    process(redis, "b:1:x", {"default": 3, "low": 1})
    process(redis, "c:1:x", {"low": 2}, threads=7)
    found = rows(browser)
    told = {name: (row["processes"], row["threads"], row["weights"]) for name, row in found.items()}
    assert told == {"default": (2, 10, [3]), "low": (3, 17, [1, 2]), "nobody": (0, 0, [])}
    text = Page.of(browser.get("/queues").text).text
    assert "2 × 5" in text
    assert "weight 1, 2" in text


def test_of_queues_that_sidekiq_takes_from_only_the_change_is_known(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 100, "ruby")
    process(redis, "a:1:x", {"ruby": 0}, version="7.3.10")
    course(redis, "ruby", added=0.0, taken=0.0, grown=-4.0)
    ruby = rows(browser)["ruby"]
    assert (ruby["added"], ruby["taken"], ruby["grown"], ruby["eta"]) == (None, None, -4, 25)
    text = Page.of(browser.get("/queues").text).text
    assert "-4.00 a second in all" in text
    assert "Processes of Sidekiq do not count what they take" in text


def test_weights_without_capsules_are_those_of_sidekiq_7() -> None:
    weights = ({"x": 3, "y": 1}, {"x": 2, "z": 0})
    process = Process("a", concurrency=10, queues=("x", "y", "z"), weights=weights, version="7.3.10")
    told = {name: (each.threads, each.weights) for name, each in consumers([process, process]).items()}
    assert told == {"x": (20, {2, 3}), "y": (20, {1}), "z": (20, {0})}


def test_what_is_quiet_takes_nothing_and_what_tells_no_pools_takes_with_all_its_threads() -> None:
    old = Process("a", concurrency=25, queues=("x",), version="6.4.1")
    assert consumers([Process("b", quiet=True, queues=("x",))]) == {}
    found = consumers([old, old])["x"]
    assert (found.processes, found.threads, found.weights, found.counted) == (2, 50, set(), False)


@pytest.mark.parametrize(
    ("size", "paused", "grown", "future"),
    [
        (0, True, 5.0, ("empty", 0.0)),
        (9, False, None, ("unknown", None)),
        (9, False, -3.0, ("drains", 3.0)),
        (9, True, 0.0, ("paused", None)),
        (9, False, 0.0, ("stays", None)),
        (9, False, 1.0, ("grows", None)),
    ],
)
def test_what_becomes_of_a_queue(
    size: int, paused: bool, grown: float | None, future: tuple[str, float | None]
) -> None:
    assert drains(size, paused, grown) == future


def test_a_course_is_drawn_with_its_gaps() -> None:
    told = {"came": (4.0, None, 0.0, 2.0), "went": (1.0, 2.0, None, 0.0)}
    assert flow(told, "came") == "M0 24V1L8 12V24Z"
    assert flow(told, "went") == "M0 7h1L8 23"
    assert flow({"came": (), "went": (None, None, 1.0, None, None, None, 2.0, 2.0)}, "went") == "M8 17h1M24 1h1"
