"""A Redis that is silent, slow or gone: each page is there within a second, and the application around goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.requests import Request

import jobd.web
from jobd.client.access import Access
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.push import Client
from jobd.web import threads
from jobd.web.context import Shared
from jobd.web.masking import Masker
from jobd.web.outage import PAGES, PAUSE, Outage, Views
from jobd.web.threads import Overloaded, Threads
from jobd.web.totals import Totals
from tests.client.api import fill_queue, fill_set
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.web.browser import Browser, Page

SOON = 3.0
"""Seconds: a page gives up after half of one, and a machine may be slow; without that it would wait for five."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that a test may stop."""
    with RedisServer() as made:
        yield made


def test_a_silent_redis_shows_each_page_within_a_second_with_its_last_figures_and_their_age(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.outage.PAUSE", 0.05)
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    with server.client() as redis:
        fill_set(redis, "retry", 3)
    client = Client(server.url)
    browser = Browser(jobd.web.app(client, read_only=False))
    assert browser.get("/health").text == "ok\n"
    assert browser.get("/retries").status_code == 200
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for path in ("/retries", "/api/v1/retries", "/dead", "/health"):
            began = time.monotonic()
            answer = browser.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert time.monotonic() - began < SOON, path
        began = time.monotonic()
        assert browser.post("/queues/low", {"action": "pause"}).status_code == 503
        assert time.monotonic() - began < SOON
        page = Page.of(browser.get("/retries").text)
        assert "Redis does not answer. What you see is as of 20" in " ".join(page.text.split())
        assert "HardJob" in page.text
        unread = Page.of(browser.get("/dead").text)
        assert "This page was not read before." in unread.text
        assert "Dead" in unread.text
        assert {"href": "/dead", "aria-current": "page"} in unread.all("a")
        told = browser.get("/live?once=1").json()
        assert (told["last"], "Timeout" in told["error"]) == (None, True)
        assert browser.get("/find?q=abc").status_code == 503
        told = browser.get("/api/v1/retries").json()
        assert (told["last"], "Timeout" in told["error"]) == (None, True)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    wait_until(lambda: browser.get("/retries").status_code == 200, "it is back by itself")
    client.close()


def test_a_connection_that_goes_silent_costs_one_page_and_no_more(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.outage.PAUSE", 0.0)
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    with server.client() as redis:
        fill_queue(redis, 3)
    with Proxy(server.socket) as proxy:
        client = Client(proxy.url)
        browser = Browser(jobd.web.app(client, read_only=True))
        assert browser.get("/queues").status_code == 200
        proxy.lose("silence", matches=lambda request: b"LLEN" in request)  # of the second round trip
        began = time.monotonic()
        page = browser.get("/queues")
        assert time.monotonic() - began < SOON
        assert (page.status_code, "default" in page.text) == (503, True)
        assert browser.get("/queues").status_code == 200
        client.close()


def test_what_programs_read_last_comes_with_its_time_when_redis_is_gone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    monkeypatch.setattr("jobd.web.context.READ_SECONDS", 0.0)
    client = Client(server.url)
    browser = Browser(jobd.web.app(client, read_only=True))
    before = time.time()
    assert browser.data("/totals")["retries"] == 0
    browser.get("/")
    server.kill()
    told = browser.get("/api/v1/queues").json()
    assert told["last"] is None
    told = browser.get("/api/v1/totals").json()
    assert (told["last"]["retries"], before <= told["read_at"] <= time.time()) == (0, True)
    client.close()


def test_who_may_not_look_sees_no_old_figures_either(server: RedisServer) -> None:
    client = Client(server.url)
    app = jobd.web.app(client, auth=lambda request: request.headers.get("x-user"), authorize=lambda u, a: u == "ann")
    assert Browser(app).get("/retries", **{"x-user": "ann"}).status_code == 200
    server.kill()
    assert Browser(app).get("/retries", **{"x-user": "ann"}).status_code == 503
    assert Browser(app).get("/retries", **{"x-user": "eve"}).status_code == 403
    assert Browser(app).get("/retries").status_code == 401
    client.close()


def test_while_nobody_can_tell_who_asks_no_figures_are_shown(redis_url: str) -> None:
    def user_of(request: Request) -> str:
        if "x-user" not in request.headers:
            raise RedisUnavailable("the sessions are in Redis too")
        return "ann"

    client = Client(redis_url)
    browser = Browser(jobd.web.app(client, auth=user_of))
    assert 'data-live="retries"' in browser.get("/retries", **{"x-user": "ann"}).text
    answer = browser.get("/retries")
    assert (answer.status_code, 'data-live="retries"' in answer.text) == (503, False)
    client.close()


def test_many_who_wait_for_a_silent_redis_take_no_thread_of_the_application_around(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    client = Client(server.url)
    app = jobd.web.app(client, read_only=True)
    Browser(app).get("/")

    async def visit() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobs.test") as visitor:
            answers = await asyncio.gather(*(visitor.get("/queues") for _ in range(60)))
        return [answer.status_code for answer in answers]

    others, asked, read = set(threading.enumerate()), list[object](), Access.read
    monkeypatch.setattr(Access, "read", lambda self, ask: (asked.append(ask), read(self, ask))[1])
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert asyncio.run(visit()) == [503] * 60
        assert 1 <= len(asked) <= threads.MOST, "only the first wait, not one after the other"
        mine = [each for each in threading.enumerate() if each.name.startswith("jobd-web") and each not in others]
        assert len(mine) < threads.MOST, "one was there before"
    finally:
        os.kill(server.pid, signal.SIGCONT)
    client.close()


def test_the_patience_of_a_page_is_stronger_than_what_the_address_says(server: RedisServer) -> None:
    connector = Connector(f"{server.url}&socket_timeout=30&socket_connect_timeout=30").for_looking(0.1)
    assert connector.pool.connection_kwargs["socket_timeout"] == 0.1
    assert connector.pool.connection_kwargs["socket_connect_timeout"] == 0.1
    assert connector.client().ping()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(RedisUnavailable):
            Access(Client(server.url).for_looking(0.1)).read(lambda redis: redis.ping())
        assert time.monotonic() - began < SOON
    finally:
        os.kill(server.pid, signal.SIGCONT)
    connector.close()


def test_one_at_a_time_finds_out_whether_redis_is_back() -> None:
    now = [100.0]
    outage = Outage(lambda: now[0])

    def ask(works: bool) -> bool:
        try:
            with outage.noticed():
                if not works:
                    raise RedisUnavailable("gone")
                return True
        except RedisUnavailable:
            return False

    assert ask(True)
    assert not ask(False)
    assert not ask(True), "nobody tries for a while"
    now[0] += PAUSE
    with outage.noticed():
        assert not ask(True), "somebody tries already"
    assert ask(True)


def test_few_views_are_kept_and_none_for_long() -> None:
    now = [0.0]
    views = Views(lambda: now[0])
    for number in range(PAGES + 1):
        views.keep(number, f"view {number}")
    assert views.last(0) is None
    kept = views.last(1)
    assert kept is not None
    assert (kept.view, kept.at) == ("view 1", 0.0)
    now[0] = 3600.0
    assert views.last(1) is None


def test_a_request_too_many_is_refused_and_a_second_search_of_one_user_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MOST_WAITING", 1)
    monkeypatch.setattr(threads, "SEARCH_WAIT", 0.01)

    async def run() -> None:
        own, free = Threads(most=1), threading.Event()
        held = [asyncio.create_task(own.run(free.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="too many requests"):
            await own.run(free.wait)
        free.set()
        assert await asyncio.gather(*held) == [True, True]
        async with own.search("ann"), own.search("bob"):
            with pytest.raises(Overloaded, match="your last search") as caught:
                async with own.search("ann"):
                    pass
            assert caught.value.status == 429
        async with own.search("ann"):
            assert list(own._searches) == ["ann"]
        assert own._searches == {}

    asyncio.run(run())


def test_while_one_reads_the_totals_others_are_content_with_those_of_before(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Shared(client, Masker())
    assert shared.totals() is None
    totals = Totals(1.0, 0, 0, 0, 0, 0, (), (), 10_000)
    shared.keep(totals)
    assert shared.totals() is totals
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    assert shared.totals() is None, "the first to come reads them"
    assert shared.totals() is totals, "who comes meanwhile need not wait for that"
    shared.keep(None)
    assert (shared.totals(), shared.last) == (None, totals), "after a change they are read, whoever else does"
