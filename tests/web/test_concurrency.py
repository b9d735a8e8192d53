"""The number of threads of a process is changed on its page, by those who may, where the process takes the order."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import audit
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments, NotControllable
from jobd.client.processes import ProcessSet
from jobd.client.push import Client
from jobd.web.questions import answer
from jobd.web.totals import ask_totals
from jobd.worker.config import Capsule, WorkerConfig
from jobd.worker.process import WorkerProcess
from tests.waiting import wait_until
from tests.web.browser import Browser, Page
from tests.web.test_busy import process

CAPSULES = {"default": {"concurrency": 5}, "other": {"concurrency": 2}}
NAME = "web-1:7:abc"


@pytest.fixture
def there(redis: Redis) -> str:
    """A process with two capsules and room for 20 threads."""
    return process(redis, NAME, capsules=CAPSULES, most_threads=20)


def orders(redis: Redis) -> list[bytes]:
    found: Any = redis.lrange(f"{NAME}-signals", 0, -1)
    return list(found)


def test_the_page_sends_the_order_and_says_for_how_long_it_holds(there: str, browser: Browser, redis: Redis) -> None:
    page = Page.of(browser.get(f"/busy/{NAME}").text)
    assert [each.get("value") for each in page.all("input") if each.get("name") == "threads"] == ["5", "2"]
    assert "a new one has the configured number again" in page.text
    sent = browser.post(f"/busy/{NAME}", {"action": "concurrency", "capsule": "other", "threads": "7"})
    assert sent.status_code == 303
    assert "Told to have so many threads" in browser.get(sent.headers["location"]).text
    assert browser.act(f"/busy/{NAME}", action="concurrency", threads=18).json() == {
        "action": "concurrency",
        "moved": 1,
    }
    assert orders(redis) == [b"THREADS 18 default", b"THREADS 7 other"]
    assert 0 < redis.ttl(f"{NAME}-signals") <= 60
    raws: Any = redis.xrange("jobd:audit")
    assert [(each.action, each.target) for each in (audit.read(*raw) for raw in raws)] == [
        ("concurrency", f"{NAME}: other 7"),
        ("concurrency", f"{NAME}: default 18"),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        {"threads": "0"},
        {"threads": "19"},
        {"threads": "x"},
        {"threads": "-1"},
        {},
        {"threads": "3", "capsule": "no"},
        {"threads": "16", "capsule": "other"},
    ],
)
def test_what_cannot_be_is_refused_with_what_can(there: str, sent: Any, browser: Browser, redis: Redis) -> None:
    refused = browser.act(f"/busy/{NAME}", action="concurrency", **sent)
    assert (refused.status_code, orders(redis)) == (400, [])
    assert any(text in refused.json()["error"] for text in ("from 1", f"{NAME} has default, other"))


@pytest.mark.parametrize("more", [{"version": "7.3.1"}, {"embedded": True}, {"most_threads": 0}])
def test_a_process_that_takes_no_such_order_has_no_form(more: Any, browser: Browser, redis: Redis) -> None:
    process(redis, NAME, capsules=CAPSULES, **{"most_threads": 20, **more})
    assert 'name="threads"' not in browser.get(f"/busy/{NAME}").text
    assert browser.act(f"/busy/{NAME}", action="concurrency", threads=3).status_code == 400
    assert orders(redis) == []


def test_it_needs_the_right(there: str, client: Client, redis: Redis) -> None:
    browser = Browser(jobd.web.app(client, authorize=lambda user, action: action != "concurrency"))
    assert 'name="threads"' not in browser.get(f"/busy/{NAME}").text
    assert browser.act(f"/busy/{NAME}", action="concurrency", threads=3).status_code == 403
    assert browser.act("/busy/a:1:b", action="concurrency", threads=3).status_code == 403
    may = Browser(jobd.web.app(client, authorize=lambda user, action: action in ("view", "concurrency")))
    assert may.act("/busy/a:1:b", action="concurrency", threads=3).status_code == 404


def test_programs_are_told_what_is_wrong(there: str, client: Client, redis: Redis) -> None:
    processes = ProcessSet(client)
    assert processes.set_concurrency("a:1:b", 3) is False
    for threads in (True, 1.0, "3", 0, 19):
        with pytest.raises(InvalidArguments, match=r"threads is .*; give a whole number from 1 to 18"):
            processes.set_concurrency(NAME, threads)  # type: ignore[arg-type]
    process(redis, NAME, capsules=CAPSULES, version="7.3.1")
    with pytest.raises(NotControllable, match="can be given threads"):
        processes.set_concurrency(NAME, 3)


def test_the_totals_follow_a_process_that_has_other_threads(there: str, client: Client, redis: Redis) -> None:
    access = Access(client)

    def read() -> tuple[int, int]:
        [totals] = answer(access, ask_totals(access))
        [found] = totals.processes
        return totals.threads, found.capsules["default"]["concurrency"]

    assert read() == (5, 5)
    process(redis, NAME, capsules={"default": {"concurrency": 9}}, most_threads=20)
    redis.hset(NAME, "concurrency", 9)
    assert read()[0] == 9
    assert read() == (9, 9)


def test_a_process_of_jobd_obeys(client: Client, redis_url: str) -> None:
    config = WorkerConfig(
        redis_url=redis_url,
        concurrency=2,
        heartbeat_interval=0.05,
        capsules=(Capsule(name="other", concurrency=1, queues=(("other", 0),)),),
    )
    worker = WorkerProcess(config)
    worker.start()
    try:
        processes = ProcessSet(client)
        wait_until(lambda: processes.get(worker.identity), "its first heartbeat")
        assert processes.set_concurrency(worker.identity, 4, "other")
        wait_until(lambda: getattr(processes.get(worker.identity), "concurrency", 0) == 6, "it to have them")
        found = processes.get(worker.identity)
        assert found
        assert found.capsules["other"]["concurrency"] == 4
    finally:
        worker.stop()
