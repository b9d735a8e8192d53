"""All is reached by the keyboard alone, and it is seen where one is."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Locator, Page, expect

from jobd.client.queues import Queue
from jobd.web import render
from tests.browser.acts import row_of
from tests.browser.dashboards import Dashboard
from tests.client.api import payload
from tests.waiting import wait_until

MOST_TABS = 120


def has_focus(target: Locator) -> bool:
    """Whether the keyboard is there."""
    return bool(target.evaluate("each => each === document.activeElement"))


def tab_to(page: Page, target: Locator) -> None:
    """Go there as people do who have no mouse; the place has to be seen then."""
    expect(target).to_be_visible()
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if has_focus(target):
            shown = target.evaluate("each => getComputedStyle(each).outlineStyle")
            assert shown != "none", f"nothing shows that {target} has the focus"
            return
    pytest.fail(f"{MOST_TABS} times Tab do not lead to {target}")


def action(scope: Locator, name: str) -> Locator:
    """The button of an action that comes first."""
    return scope.locator(f"button[name=action][value={name}]:visible").first


def test_a_job_is_retried(dashboard: Dashboard, page: Page) -> None:
    raw = payload("keys", **{"class": "ResizeImage", "args": [1, 2], "queue": "default", "retry_count": 0})
    dashboard.redis.zadd("retry", {raw: time.time() + 60})
    before, _ = dashboard.jobd.statistics()
    page.goto("/retries")
    tab_to(page, row_of(page, "ResizeImage").get_by_role("checkbox"))
    page.keyboard.press("Space")
    tab_to(page, action(page.locator("main"), "retry"))
    page.keyboard.press("Enter")
    wait_until(lambda: dashboard.jobd.statistics()[0] == before + 1, "a worker ran it")


def test_a_queue_is_paused(dashboard: Dashboard, page: Page) -> None:
    page.goto("/queues")
    tab_to(page, action(row_of(page, "mailers"), "pause"))
    page.keyboard.press("Enter")
    wait_until(lambda: Queue("mailers", dashboard.client).paused, "it is paused")
    Queue("mailers", dashboard.client).resume()


def test_an_entry_of_the_cron_runs_now(dashboard: Dashboard, page: Page) -> None:
    before, _ = dashboard.jobd.statistics()
    page.goto("/cron")
    tab_to(page, action(row_of(page, "stock_sync"), "run"))
    page.keyboard.press("Enter")
    wait_until(lambda: dashboard.jobd.statistics()[0] > before, "a worker took it")


def test_the_first_key_leads_past_the_menu(page: Page) -> None:
    page.goto("/retries")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize("path", [path for path, *_ in render.PAGES])
def test_whatever_can_be_pressed_shows_that_it_has_the_focus(path: str, page: Page) -> None:
    page.goto(path)
    unseen, seen = [], set[str]()
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        outline, html = page.evaluate("""() => {
            const each = document.activeElement;
            const style = getComputedStyle(each);
            return [style.outlineStyle !== 'none' || style.boxShadow !== 'none', each.outerHTML.slice(0, 120)];
        }""")
        if html in seen or html.startswith("<body"):
            break
        seen.add(html)
        if not outline:
            unseen.append(html)
    assert len(seen) > 8
    assert unseen == []
