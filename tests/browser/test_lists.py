"""A job is looked at beside its list, and bars of when jobs run are searched together: by clicking and by keys."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.acts import follow, row_of, told
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard
from tests.browser.test_look import check
from tests.client.api import payload
from tests.waiting import wait_until

HOUR = 3600.0


@pytest.fixture
def peeked(dashboard: Dashboard) -> Iterator[dict[str, bytes]]:
    """Three jobs in each set, at 2, 3 and 5 hours from now (or before, where they died), and in a queue."""
    fields: dict[str, Any] = {
        "class": "PeekedJob",
        "queue": "peeked",
        "error_class": "Timeout",
        "error_message": "slow",
    }
    jobs = {f"peek{i}": payload(f"peek{i}", args=[f"argument-{i}"], retry_count=1, **fields) for i in range(3)}
    now = time.time() // HOUR * HOUR + 60
    for key, way in (("retry", 1), ("schedule", 1), ("dead", -1)):
        for raw, hours in zip(jobs.values(), (2, 3, 5), strict=True):
            dashboard.redis.zadd(key, {raw: now + way * hours * HOUR})
    dashboard.redis.lpush("queue:peeked", *jobs.values())
    dashboard.redis.sadd("queues", "peeked")
    yield {jid: raw.encode() if isinstance(raw, str) else raw for jid, raw in jobs.items()}
    for key in ("retry", "schedule", "dead"):
        dashboard.redis.zrem(key, *jobs.values())
    dashboard.redis.delete("queue:peeked")
    dashboard.redis.srem("queues", "peeked")


def pane(page: Page) -> Locator:
    """What stands beside the list."""
    return page.get_by_role("dialog", name=re.compile("^peek"))


def test_times_are_shown_as_they_are_to_those_who_cannot_hover(page: Page, peeked: dict[str, bytes]) -> None:
    page.goto("/retries")
    at = row_of(page, "peek0").locator("time")
    shown = "[getComputedStyle(each, '::after').content, getComputedStyle(each).fontSize]"
    assert at.evaluate(f"each => {shown}") == ["none", "14px"]
    page.get_by_text("Display", exact=True).click()
    follow(page.locator('[data-set="times"][data-to="exact"]'))
    title = at.get_attribute("title")
    assert title
    assert title.endswith(" UTC")
    assert at.evaluate(f"each => {shown}") == [f'"{title}"', "0px"]
    assert (at.bounding_box() or {"width": 0})["width"] > 50


@pytest.mark.parametrize("path", ["/queues/peeked", "/retries", "/scheduled", "/dead"])
def test_a_click_shows_the_job_beside_its_list(path: str, page: Page, peeked: dict[str, bytes]) -> None:
    page.goto(path)
    row_of(page, "peek1").hover()
    expect(page.locator("main .peek")).to_have_count(1)
    row_of(page, "peek1").get_by_role("button", name="Peek peek1").click()
    expect(pane(page)).to_contain_text("argument-1")
    expect(pane(page)).to_contain_text("slow")
    expect(pane(page)).to_be_focused()
    box = pane(page).bounding_box()
    assert box is not None
    assert (box["width"], box["x"] + box["width"]) == (640, 1280)
    pane(page).get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row_of(page, "peek1").locator("a.jid")).to_be_focused()
    assert page.url.endswith(path)


def test_keys_open_it_lead_it_on_and_close_it(page: Page, peeked: dict[str, bytes]) -> None:
    page.goto("/scheduled?q=class:PeekedJob")
    page.keyboard.press("o")
    expect(pane(page)).to_contain_text("argument-0")
    page.keyboard.press("j")
    expect(pane(page)).to_contain_text("argument-1")
    expect(pane(page)).not_to_contain_text("argument-0")
    expect(row_of(page, "peek1")).to_have_attribute("data-js-row", "")
    page.keyboard.press("k")
    expect(pane(page)).to_contain_text("argument-0")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row_of(page, "peek0").locator("a.jid")).to_be_focused()
    page.keyboard.press("o")
    page.keyboard.press("j")
    expect(pane(page)).to_contain_text("argument-1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "/jobs/peek1" in page.url


def test_what_is_done_in_it_comes_back_to_the_search(
    dashboard: Dashboard, page: Page, peeked: dict[str, bytes]
) -> None:
    page.goto("/dead?q=class:PeekedJob")
    row_of(page, "peek2").hover()
    row_of(page, "peek2").get_by_role("button", name="Peek").click()
    follow(pane(page).get_by_role("button", name="Run now"))
    expect(told(page)).to_be_visible()
    assert "/dead?q=class" in page.url
    assert dashboard.redis.zscore("dead", peeked["peek2"]) is None
    assert dashboard.redis.zscore("dead", peeked["peek1"]) is not None


def test_it_stays_while_the_list_changes(dashboard: Dashboard, page: Page, peeked: dict[str, bytes]) -> None:
    page.goto("/retries")
    row_of(page, "peek0").hover()
    row_of(page, "peek0").get_by_role("button", name="Peek").click()
    expect(pane(page)).to_contain_text("argument-0")
    page.mouse.move(5, 5)
    raw = payload("peek9", args=["argument-9"], **{"class": "PeekedJob", "queue": "peeked", "retry_count": 1})
    dashboard.redis.zadd("retry", {raw: time.time() + 4 * HOUR})
    expect(row_of(page, "peek9")).to_be_visible()
    expect(pane(page)).to_contain_text("argument-0")
    expect(row_of(page, "peek0")).to_have_attribute("data-js-row", "")
    dashboard.redis.zrem("retry", raw, peeked["peek0"])
    expect(row_of(page, "peek0")).to_have_count(0)
    expect(pane(page)).to_contain_text("argument-0")
    page.keyboard.press("Escape")
    expect(page.locator("main")).to_be_focused()


def test_a_job_that_is_gone_is_told_of(dashboard: Dashboard, page: Page, peeked: dict[str, bytes], watch: Any) -> None:
    watch.expect(404)
    page.goto("/retries?q=class:PeekedJob")
    page.get_by_role("button", name="Live").click()
    row_of(page, "peek1").hover()
    for key in ("retry", "schedule", "dead"):
        dashboard.redis.zrem(key, peeked["peek1"])
    dashboard.redis.delete("queue:peeked")
    row_of(page, "peek1").get_by_role("button", name="Peek").click()
    expect(pane(page)).to_contain_text("there is no job peek1")


def test_on_a_phone_each_row_has_the_button_and_the_job_all_the_width(
    open_page: OpenPage, peeked: dict[str, bytes]
) -> None:
    page = open_page("/dead?q=class:PeekedJob", phone=True)
    expect(page.locator("main .peek")).to_have_count(3)
    row_of(page, "peek1").get_by_role("button", name="Peek").tap()
    expect(pane(page)).to_contain_text("argument-1")
    box = pane(page).bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 390)


def test_without_javascript_there_is_the_page(open_page: OpenPage, peeked: dict[str, bytes]) -> None:
    page = open_page("/scheduled", javascript=False)
    expect(page.locator(".peek, #peek")).to_have_count(0)
    expect(page.get_by_text("Drag over bars")).to_be_hidden()
    follow(row_of(page, "peek1").locator("a.jid"))
    expect(page.locator("main")).to_contain_text("argument-1")


def test_the_open_pane_looks_right_everywhere(page: Page, peeked: dict[str, bytes]) -> None:
    page.goto("/dead?q=class:PeekedJob")
    page.keyboard.press("o")
    expect(pane(page)).to_contain_text("argument-0")
    check(Axe(), page)


def brush(page: Page, first: int, last: int) -> None:
    """Draw over the bars of the next hours, from one of those with jobs to another."""
    bars = page.locator(".when svg").first.locator("path")
    boxes = [bars.nth(place).bounding_box() for place in (first, last)]
    assert all(boxes)
    for place, box in enumerate(boxes):
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 1, steps=1 + 4 * place)
        if not place:
            page.mouse.down()


def test_dragging_over_bars_searches_for_their_jobs(page: Page, dashboard: Dashboard, peeked: dict[str, bytes]) -> None:
    dashboard.redis.zremrangebyscore("schedule", "-inf", time.time() + HOUR)
    page.goto("/scheduled")
    for first, last in ((0, 1), (1, 0)):
        brush(page, first, last)
        expect(page.locator("[data-js-in]")).to_have_count(2)
        with page.expect_navigation():
            page.mouse.up()
        expect(page.locator("#q")).to_have_value(re.compile(r"^since:\S+ until:\S+:59:59.999999$"))
        expect(row_of(page, "peek0")).to_be_visible()
        expect(row_of(page, "peek1")).to_be_visible()
        expect(row_of(page, "peek2")).to_have_count(0)
    brush(page, 0, 1)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator("[data-js-in]")).to_have_count(0)
    follow(page.locator(".when svg").first.locator("a").nth(1))
    expect(row_of(page, "peek1")).to_be_visible()
    expect(row_of(page, "peek0")).to_have_count(0)


def test_a_range_is_searched_by_keys(page: Page, peeked: dict[str, bytes]) -> None:
    page.goto("/dead?by=time")
    links = page.locator("#when a").filter(has_text=re.compile(r"^\d\d-\d\d \d\d:"))
    wait_until(lambda: links.count() >= 3, "its hours are there")
    names = links.all_inner_texts()
    first = links.nth(0)
    first.focus()
    page.keyboard.press("Shift+Enter")
    expect(first).to_have_attribute("data-js-in", "")
    links.nth(1).focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    since, until = (name[:8].replace(" ", "T") for name in names[:2])
    expect(page.locator("#q")).to_have_value(re.compile(rf"^since:\d+-{since} until:\d+-{until}:59:59.999999$"))
    expect(row_of(page, "peek2")).to_be_visible()
    expect(row_of(page, "peek1")).to_be_visible()
    expect(row_of(page, "peek0")).to_have_count(0)
