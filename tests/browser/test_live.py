"""Pages follow what happens, and take nothing from the hands of who works on them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from jobd.web import render
from jobd.web.text import translate
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard, dashboard_of
from tests.client.api import payload
from tests.servers import RedisServer
from tests.waiting import wait_until

ROWS = "main tbody tr"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings follow each other closely."""
    monkeypatch.setattr("jobd.web.live.PAUSE", 0.3)


@contextlib.contextmanager
def more_retries(dashboard: Dashboard, name: str, count: int) -> Iterator[list[bytes]]:
    """Further retries that fire before the others, so that all rows move; they are gone after the test."""
    made = [payload(f"{name}{i}", queue="default", error_class="LateError") for i in range(count)]
    try:
        yield made
    finally:
        dashboard.redis.zrem("retry", *made)


def at(row: int) -> float:
    """A time for a retry that comes before those of the shop."""
    return time.time() + 60 + row


def test_rows_move_in_place_and_the_figures_follow(dashboard: Dashboard, page: Page) -> None:
    page.goto("/retries")
    expect(page.locator(ROWS)).to_have_count(3)
    page.evaluate("document.querySelector('main').firstElementChild.known = true")
    with more_retries(dashboard, "moved", 2) as late:
        dashboard.redis.zadd("retry", {each: at(i) for i, each in enumerate(late)})
        expect(page.locator(ROWS)).to_have_count(5)
        expect(page.locator(".rail [data-live=retries]")).to_have_text("5")
        assert page.evaluate("document.querySelector('main').firstElementChild.known"), "the page was not replaced"
    expect(page.locator(ROWS)).to_have_count(3)


def test_ticks_focus_scroll_and_open_parts_survive_ten_refreshes_under_load(dashboard: Dashboard, page: Page) -> None:
    with more_retries(dashboard, "load", 60) as late:
        dashboard.redis.zadd("retry", {each: at(i) for i, each in enumerate(late[:30])})
        page.goto("/retries")
        ticked = [page.locator(f"{ROWS} input[name=key]").nth(i) for i in (2, 5, 7)]
        keys = [box.get_attribute("value") for box in ticked]
        for box in ticked:
            box.check()
        page.evaluate("window.scrollTo(0, 200)")
        page.evaluate(
            "document.addEventListener('jobd:fresh', () => { window.swaps = (window.swaps ?? 0) + 1; });"
            "window.heads = 0; new EventSource(document.getElementById('live').dataset.stream)"
            ".addEventListener('head', () => { window.heads += 1; });"
        )
        for i, each in enumerate(late[30:]):
            dashboard.redis.zadd("retry", {each: at(-i)})
            page.wait_for_timeout(100)
        wait_until(lambda: page.evaluate("window.heads") >= 10, "ten readings", 60)
        values = "[...document.querySelectorAll('input[name=key]:checked')].map((box) => box.value)"
        assert page.evaluate("window.swaps ?? 0") == 0, "the page waits while rows are ticked"
        assert page.evaluate(values) == keys
        assert page.evaluate("window.scrollY") == 200
        assert page.evaluate("document.activeElement.value") == keys[2]
        expect(page.locator("#pending")).to_have_text("New: 30")
        page.locator("#pending").click()
        expect(page.locator(ROWS)).to_have_count(50)
        assert sorted(page.evaluate(values)) == sorted(
            key for key in keys if page.locator(f'input[value="{key}"]').count()
        )


def test_an_open_part_and_typed_text_stay(dashboard: Dashboard, page: Page) -> None:
    page.goto("/")
    page.locator("main details summary").first.click()
    page.goto("/retries")
    search = page.locator("main input[type=search]").first
    search.fill("half a thought")
    with more_retries(dashboard, "typed", 1) as late:
        dashboard.redis.zadd("retry", {late[0]: at(0)})
        expect(page.locator("#pending")).to_be_visible()
        page.locator("h1").click()
        expect(page.locator(ROWS)).to_have_count(4)
        expect(search).to_have_value("half a thought")


def test_paused_it_stays_as_it_is_until_it_goes_on(dashboard: Dashboard, page: Page) -> None:
    page.goto("/retries")
    pill = page.locator("#live")
    expect(pill).to_have_text("● Live")
    expect(page.locator(".rail [data-live=retries]")).to_have_text("3")
    expect(page.locator(ROWS)).to_have_count(3)
    pill.click()
    expect(pill).to_have_text("‖ Paused")
    with more_retries(dashboard, "paused", 1) as late:
        dashboard.redis.zadd("retry", {late[0]: at(0)})
        page.wait_for_timeout(1000)
        expect(page.locator(".rail [data-live=retries]")).to_have_text("3")
        pill.click()
        page.mouse.move(0, 0)
        expect(page.locator(ROWS)).to_have_count(4)


def test_a_hidden_page_asks_for_nothing(dashboard: Dashboard, page: Page) -> None:
    page.goto("/retries")
    expect(page.locator("#live")).to_have_text("● Live")
    hide = "Object.defineProperty(document, 'hidden', {configurable: true, value: %s});"
    told = "document.dispatchEvent(new Event('visibilitychange'));"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(hide % "true" + told)
    page.wait_for_timeout(1000)
    assert asked == []
    page.evaluate(hide % "false" + told)
    wait_until(lambda: page.title() and len(asked) == 1, "it asks again")


def test_without_a_stream_it_asks_again_and_again(dashboard: Dashboard, open_page: OpenPage) -> None:
    page = open_page(alone=True)
    page.add_init_script("delete window.EventSource")
    statuses: list[int] = []
    page.on("response", lambda answer: "/live?" in answer.url and statuses.append(answer.status))
    page.clock.install()
    page.goto("/retries")

    def asked_until(condition: Callable[[], object], what: str) -> None:
        """Have the page ask again and again; an answer may be of before, as they are kept for a moment."""

        def asked() -> object:
            page.clock.run_for(5000)
            return condition()

        wait_until(asked, what, 30)

    rows = page.locator(ROWS)
    with more_retries(dashboard, "polled", 1) as late:
        dashboard.redis.zadd("retry", {late[0]: at(0)})
        asked_until(lambda: rows.count() == 4, "it has come")
        expect(page.locator("#live")).to_have_text("● Live")
    asked_until(lambda: rows.count() == 3, "it has gone")
    asked_until(lambda: 304 in statuses, "nothing has changed")


def test_a_dead_redis_is_said_with_the_age_of_the_figures(chrome: Browser) -> None:
    with RedisServer() as server, dashboard_of(server) as found, chrome.new_context(base_url=found.url) as context:
        page = context.new_page()
        page.goto("/retries")
        expect(page.locator("#live")).to_have_text("● Live")
        server.kill()
        expect(page.locator("#live")).to_contain_text("Stale")
        assert page.locator("html").get_attribute("data-js-stale") is not None


@pytest.mark.parametrize("dark", [False, True])
def test_charts_are_drawn_over_those_of_the_server_under_the_same_policy(page: Page, dark: bool) -> None:
    page.emulate_media(color_scheme="dark" if dark else "light")
    series = [
        {"label": "Processed", "state": "done", "values": [i % 7 for i in range(60)]},
        {"label": "Failed", "state": "dead", "values": [None, *range(59)]},
    ]
    data = {"x": [1_790_000_000 + 60 * i for i in range(60)], "series": series, "unit": "count", "unfinished": True}
    macros = render._environment().from_string(
        '{% from "charts.html" import chart %}{{ chart("one", "Jobs", data, _) }}{{ chart("two", "Wait", data, _) }}'
    )
    html = macros.render(data=data, _=lambda text, **values: translate(text, "en", values))

    def with_charts(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("</h1>", f"</h1>{html}", 1))

    page.route("**/metrics", with_charts)
    # As soon as the page has other figures they would take the charts away, which the server does not know.
    page.route("**/live?*", lambda route: route.fulfill(content_type="text/event-stream", body="retry: 1000000\n\n"))
    page.goto("/metrics")
    expect(page.locator("figure.chart[data-js-drawn] canvas")).to_have_count(2)
    expect(page.locator("figure.chart svg.drawing").first).to_be_hidden()
    page.locator("#one .u-over").hover()
    expect(page.locator("#one .at")).to_contain_text("Processed")
    expect(page.locator("#two .at")).to_contain_text("Failed")
    page.locator("#one summary").click()
    expect(page.locator("#one table")).to_be_visible()
