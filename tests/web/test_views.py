"""Pages that stay up to date: one reading for all who look, sent when something changed, to those who may."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client.errors import RedisUnavailable
from jobd.client.push import Client
from jobd.web import live, render
from jobd.web.auth import ACTIONS
from jobd.web.live import Live, Look, Picture
from tests.client.api import fill_set
from tests.web.browser import Browser, Page

VIEWER = frozenset({"view"})
HEAD = Look("", "en", VIEWER, "")
SOON = 0.02


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings follow each other closely, and each asks for the totals anew."""
    monkeypatch.setattr(live, "PAUSE", SOON)
    monkeypatch.setattr(live, "SHARE", 1.0)
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)


async def always() -> bool:
    """Whoever asks may look."""
    return True


def of_page(page: str) -> Look:
    """A page as somebody sees it who may look."""
    return Look(page, "en", VIEWER, "")


def events(text: str) -> dict[str, Any]:
    """What a piece of a stream says, by the names of its events."""
    found = {}
    for part in text.strip().split("\n\n"):
        name, data = part.split("\n")
        found[name.removeprefix("event: ")] = json.loads(data.removeprefix("data: "))
    return found


async def until(stream: AsyncIterator[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first events for which `wanted` holds."""
    async with asyncio.timeout(30):
        async for text in stream:
            if wanted(found := events(text)):
                return found
    raise AssertionError("the stream ended")


def commands(redis: Redis) -> int:
    """How many commands the server has carried out, those of this test aside."""
    told: dict[str, dict[str, int]] = redis.info("commandstats")
    return sum(each["calls"] for name, each in told.items() if not name.startswith(("cmdstat_info", "cmdstat_config")))


READINGS = 9


def cost_of_readings(client: Client, redis: Redis, listeners: int) -> int:
    """Commands for so many readings of a page at which so many look, each of whom gets the last of them."""
    site = jobd.web.app(client, read_only=True)
    draw, numbers, seen = site.state.live._draw, itertools.count(1), threading.Event()

    def numbered(look: Look) -> Picture:
        number = next(numbers)
        if number > READINGS:
            seen.wait(30)
        return replace(draw(look), figures={"now": number})

    shared = Live(numbered)
    streams = [shared.listen(of_page("/retries"), "", always) for _ in range(listeners)]

    async def run() -> None:
        await asyncio.gather(*(until(each, lambda told: told["head"]["now"] >= READINGS) for each in streams))
        spent.append(commands(redis) - before)
        seen.set()
        for each in streams:
            await each.aclose()

    Browser(site).get("/")  # what a connection says when it is made is not counted
    spent: list[int] = []
    before = commands(redis)
    asyncio.run(run())
    return spent[0]


def test_a_hundred_who_look_cost_redis_what_one_costs(client: Client, redis: Redis, quick: None) -> None:
    fill_set(redis, "retry", 5)
    one = cost_of_readings(client, redis, 1)
    assert one >= READINGS
    assert cost_of_readings(client, redis, 100) == pytest.approx(one, rel=0.1)


def test_the_content_is_sent_when_it_changed_and_the_figures_always(
    client: Client, redis: Redis, quick: None, browser: Browser
) -> None:
    fill_set(redis, "retry", 2)
    [place] = [each for tag, each in Page.of(browser.get("/retries").text).elements if each.get("id") == "fresh"]

    async def run() -> None:
        # Rights are part of a view: this user may do all, as the one of the page.
        look = Look("/retries", "en", frozenset(ACTIONS), "")
        stream = browser.app.state.live.listen(look, str(place["data-digest"]), always)
        for _ in range(5):
            assert list(events(await anext(stream))) == ["head"]
        fill_set(redis, "retry", 1, prefix="late")
        found = await until(stream, lambda told: "page" in told)
        assert found["head"]["retries"] == 3
        assert found["page"]["html"].count("<tr") == 4
        assert "<html" not in found["page"]["html"]
        assert list(events(await anext(stream))) == ["head"]
        await stream.aclose()

    asyncio.run(run())


def test_how_long_ago_things_were_is_no_change() -> None:
    first, second = '<time title="x">3.0 s ago</time> a', '<time title="x">2 min ago</time> a'
    assert render.digest(first) == render.digest(second) != render.digest(first.replace("</time> a", "</time> b"))


def test_a_stream_ends_when_its_user_may_no_longer_look(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RECHECK", SOON)
    answers = [True, True, False]

    async def may() -> bool:
        return answers.pop(0)

    async def run() -> int:
        return len([text async for text in Live(lambda look: Picture({"now": 1.0})).listen(HEAD, "", may)])

    assert asyncio.run(asyncio.wait_for(run(), 30)) >= 1
    assert answers == []


def test_the_rights_of_a_stream_are_asked_for_again_as_those_of_a_request(
    client: Client, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RECHECK", SOON)
    known = ["ann"]
    app = jobd.web.app(client, auth=lambda request: known[0] if known else None, read_only=True)

    async def run() -> list[bytes]:
        sent: list[bytes] = []
        scope = {"type": "http", "method": "GET", "path": "/live", "root_path": "", "headers": [], "query_string": b""}

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if len(sent) == 4:
                known.clear()

        await asyncio.wait_for(app(scope, receive, send), 30)
        return sent

    assert b"event: head" in b"".join(asyncio.run(run()))


def test_a_redis_that_does_not_answer_is_said_and_the_stream_goes_on(quick: None) -> None:
    states: list[Exception | None] = [None, RedisUnavailable("gone"), RedisUnavailable("gone"), None]

    def draw(look: Look) -> Picture:
        state = states.pop(0) if len(states) > 1 else states[0]
        if state:
            raise state
        return Picture({"now": 1.0})

    async def run() -> list[str]:
        stream = Live(draw).listen(HEAD, "", always)
        told = [next(iter(events(await anext(stream)))) for _ in range(4)]
        await stream.aclose()
        return told

    assert asyncio.run(run()) == ["head", "down", "down", "head"]


def test_a_job_that_is_gone_is_said_in_its_page(client: Client, redis: Redis, quick: None) -> None:
    look = of_page("/jobs/none?in=dead&key=1.0~0123456789abcdef")
    picture = asyncio.run(jobd.web.app(client, read_only=True).state.live.picture(look))
    assert "Not found" in str(picture.html)


def test_nobody_who_looks_costs_nothing_and_few_pictures_are_kept(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_KEPT", 3)
    drawn: list[str] = []

    def draw(look: Look) -> Picture:
        drawn.append(look.page)
        return Picture({"now": 1.0}, look.page, look.page)

    async def run() -> None:
        shared = Live(draw)
        stream = shared.listen(of_page("/kept"), "", always)
        await anext(stream)
        for number in range(10):
            await shared.picture(of_page(f"/{number}"))
        assert len(shared._views) == 3
        assert of_page("/kept") in shared._views, "somebody listens to it"
        await stream.aclose()
        before = drawn.count("/kept")
        await asyncio.sleep(5 * SOON)
        assert drawn.count("/kept") == before

    asyncio.run(run())


def test_many_who_poll_share_a_reading() -> None:
    drawn: list[Look] = []

    def draw(look: Look) -> Picture:
        drawn.append(look)
        return Picture({"now": 1.0})

    async def run() -> None:
        shared = Live(draw)
        await asyncio.gather(*(shared.picture(HEAD) for _ in range(50)))

    asyncio.run(run())
    assert len(drawn) == 1


def test_what_was_read_before_a_page_was_takes_nothing_back_from_it(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page follows a change at once, while pictures from before it are still new."""
    fill_set(redis, "retry", 2)
    rights = frozenset(ACTIONS)
    shared, look = browser.app.state.live, Look("/retries", "en", rights, "")

    async def run() -> None:
        before = await shared.picture(look)
        redis.delete("retry")
        answer = await asyncio.to_thread(browser.get, "/retries?did=delete&moved=2")
        [place] = [each for tag, each in Page.of(answer.text).elements if each.get("id") == "fresh"]
        digest, since = str(place["data-digest"]), float(str(place["data-at"]))
        assert await shared.picture(look) is before, "it is new enough for those who saw nothing newer"
        monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
        stream = shared.listen(look, digest, always, since)
        assert list(events(await anext(stream))) == ["head"]
        await stream.aclose()
        assert (await shared.picture(look, since=since)).digest == digest

    asyncio.run(run())


def test_a_reading_that_began_too_early_is_waited_for_and_done_again() -> None:
    began, goes_on = itertools.count(1.0), threading.Event()

    def draw(look: Look) -> Picture:
        at = next(began)
        goes_on.wait(30)
        return Picture({"now": at}, at=at)

    async def run() -> None:
        shared = Live(draw)
        early = asyncio.create_task(shared.picture(HEAD))
        await asyncio.sleep(0)
        late = asyncio.create_task(shared.picture(HEAD, since=1.5))
        await asyncio.sleep(0)
        goes_on.set()
        assert [(await each).at for each in (early, late)] == [1.0, 2.0]

    asyncio.run(run())


@pytest.mark.parametrize("since", ["now", "nan", "-1", "1e9", "1" * 20])
def test_a_moment_that_is_none_is_refused(since: str, browser: Browser) -> None:
    answer = browser.get(f"/live?once=1&since={since}")
    assert answer.status_code == 400
    assert "give epoch seconds" in answer.json()["error"]


def test_a_clock_that_is_ahead_has_nobody_wait(browser: Browser) -> None:
    assert browser.get("/live?once=1&since=99999999999").status_code == 200


def test_who_polls_is_told_what_changed_and_else_that_nothing_did(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    first = browser.get("/live?once=1&page=%2Fretries")
    told = first.json()
    assert told["figures"]["retries"] == 0
    again = browser.get(f"/live?once=1&page=%2Fretries&seen={told['digest']}")
    assert (again.json()["html"], again.headers["etag"]) == (None, first.headers["etag"])
    unchanged = browser.get("/live?once=1&page=%2Fretries", **{"if-none-match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    fill_set(redis, "retry", 1)
    changed = browser.get(
        f"/live?once=1&page=%2Fretries&seen={told['digest']}", **{"if-none-match": first.headers["etag"]}
    )
    assert (changed.status_code, changed.json()["figures"]["retries"]) == (200, 1)
    assert "<table" in changed.json()["html"]


def stream_of(browser: Browser, path: str) -> str:
    """What the page keeps itself up to date by."""
    [found] = [each["data-stream"] for each in Page.of(browser.get(path).text).all("button") if "data-stream" in each]
    return str(found)


def test_pages_that_are_searched_or_deep_in_a_list_keep_their_rows(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 60)
    assert stream_of(browser, "/retries") == "/live?page=%2Fretries"
    assert stream_of(browser, "/?days=7") == "/live?page=%2F%3Fdays%3D7"
    assert stream_of(browser, "/retries?did=retry&moved=3") == "/live?page=%2Fretries"
    for deep in ("/retries?q=x", "/retries?after=5.0~0123456789abcdef", "/queues/default?offset=50", "/nothing"):
        assert stream_of(browser, deep) in ("/live", ""), deep


def test_what_is_no_page_is_not_kept_up_to_date(browser: Browser) -> None:
    for page in ("/nothing", "https://evil.test", "/live", "/api/v1/totals", "/retries" + "?x=" + "y" * 5000):
        assert browser.get("/live?once=1&page=" + page).status_code == 400, page


def test_a_view_shows_what_its_user_may_do(client: Client, redis: Redis) -> None:
    fill_set(redis, "retry", 1)
    app = jobd.web.app(
        client,
        auth=lambda request: request.headers["x-user"],
        authorize=lambda user, action: user == "ann" or action == "view",
    )
    html = {
        name: Browser(app, headers={"x-user": name}).get("/live?once=1&page=/retries").json()["html"]
        for name in ("ann", "bob")
    }
    assert 'value="retry"' in html["ann"]
    assert "<button name=" not in html["bob"]
