"""A Redis that is silent, slow or gone: each page is there within a second, and the application around goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis
from starlette.requests import Request

import jobd.web
from jobd.client.access import Access
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.push import Client
from jobd.web import site, threads
from jobd.web.context import Shared
from jobd.web.live import Live, Look, Picture
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


@pytest.fixture(autouse=True)
def pages_have_their_own_patience(searches_have_time: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which these tests are."""
    monkeypatch.setattr("jobd.web.context.LOOK_SECONDS", 0.45)


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
    monkeypatch.setattr("jobd.web.outage.PAUSE", 30.0)
    client = Client(server.url)
    app = jobd.web.app(client, read_only=True)
    Browser(app).get("/")

    async def visit() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobs.test") as visitor:
            answers = await asyncio.gather(*(visitor.get("/queues") for _ in range(60)))
        return [answer.status_code for answer in answers]

    began_in, asked, read, start = list[str](), list[object](), Access.read, threading.Thread.start
    monkeypatch.setattr(Access, "read", lambda self, ask: (asked.append(ask), read(self, ask))[1])
    monkeypatch.setattr(threading.Thread, "start", lambda self: (began_in.append(self.name), start(self))[1])
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert asyncio.run(visit()) == [503] * 60
        assert 1 <= len(asked) <= threads.MOST, "only the first wait, not one after the other"
        assert {name for name in began_in if not name.startswith("jobd-web")} == set()
        assert len(began_in) <= threads.MOST
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
                outage.answered()
                return True
        except RedisUnavailable:
            return False

    assert ask(True)
    assert not ask(False)
    assert not ask(True), "nobody tries for a while"
    now[0] += PAUSE
    with outage.noticed():
        assert not ask(True), "somebody tries already"
        outage.answered()
    assert ask(True)


@pytest.mark.parametrize("path", ["/queues/none", "/jobs/none"])
def test_whatever_becomes_of_a_request_redis_is_back_once_it_has_answered(
    path: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.outage.PAUSE", 0.0)
    shared = Shared(client, Masker())
    monkeypatch.setattr("jobd.web.site.Shared", lambda *_: shared)
    browser = Browser(jobd.web.app(client, read_only=True))
    with pytest.raises(RedisUnavailable), shared.outage.noticed():
        raise RedisUnavailable("gone")
    with pytest.raises(ZeroDivisionError), shared.outage.noticed():
        raise ZeroDivisionError("before anybody asked")
    assert shared.outage.lasts
    assert browser.get(path).status_code in (400, 404)
    assert not shared.outage.lasts


def test_pages_that_say_what_is_wrong_are_made_in_threads_too(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made_in, page = set[str](), site.page

    def noted(*args: Any, **values: Any) -> str:
        made_in.add(threading.current_thread().name.partition("_")[0])
        return page(*args, **values)

    monkeypatch.setattr(site, "page", noted)
    for url, path, status in (("redis://127.0.0.1:1/0", "/retries", 503), (redis_url, "/none", 404)):
        client = Client(url)
        assert Browser(jobd.web.app(client, read_only=True)).get(path).status_code == status
        client.close()
    assert made_in == {"jobd-web"}


def test_an_address_of_redis_that_makes_no_sense_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(jobd.web.app(read_only=True))
    with monkeypatch.context() as wrong:
        wrong.setenv("JOBD_REDIS_URL", "nonsense://x")
        for path in ("/", "/none", "/api/v1/totals", "/health"):
            answer = browser.get(path)
            assert answer.status_code in (404, 409, 503), path
            assert path != "/" or "nonsense" in answer.text


def test_a_defect_of_a_page_does_not_end_what_keeps_it_up_to_date(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jobd.web.live.PAUSE", 0.0)
    drawn = iter((ZeroDivisionError("a defect"), Picture({"retries": 1})))

    def draw(look: Look) -> Picture:
        told = next(drawn)
        if isinstance(told, Exception):
            raise told
        return told

    async def run() -> list[str]:
        live = Live(draw)
        told = live.listen(Look("/?a=secret", "en", frozenset(), ""), "", lambda: asyncio.sleep(0, True))
        try:
            return [await asyncio.wait_for(anext(told), 20) for _ in range(2)]
        finally:
            live.close()

    down, fresh = asyncio.run(run())
    assert ("event: down" in down, '"retries": 1' in fresh) == (True, True)
    assert ("web.failed /" in caplog.text, "secret" in caplog.messages[0]) == (True, False)


def test_no_view_is_kept_that_is_large_or_of_a_whole_job(
    client: Client, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, "dead", 1)
    kept = list[object]()
    monkeypatch.setattr(Views, "keep", lambda self, page, view: kept.append(page[0]))
    browser = Browser(jobd.web.app(client, read_only=True))
    key = browser.data("/dead")["jobs"][0]["key"]
    assert browser.get(f"/jobs/j0?in=dead&key={key}").status_code == 200
    assert browser.get(f"/jobs/j0?in=dead&key={key}&whole=yes").status_code == 200
    monkeypatch.setattr(site, "_MOST_KEPT_BYTES", 1_000)
    assert browser.get("/retries").status_code == 200
    assert kept == ["/api/v1/dead", "/jobs/j0"]


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
            assert [who for _, who in own._searches] == ["ann"]
        assert own._searches == {}

    asyncio.run(run())


def test_while_one_reads_the_totals_others_are_content_with_those_of_before(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Shared(client, Masker())
    assert shared.totals() is None
    totals = Totals(1.0, 0, 0, 0, 0, 0, (), (), 10_000)
    shared.keep(totals, began=time.monotonic())
    assert shared.totals() is totals
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    assert shared.totals() is None, "the first to come reads them"
    assert shared.totals() is totals, "who comes meanwhile need not wait for that"
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 60.0)
    began = time.monotonic()
    shared.forget()
    assert (shared.totals(), shared.last) == (None, totals), "after a change they are read, whoever else does"
    shared.keep(totals, began)
    assert shared.totals() is None, "what was read while it was changed is not kept"
