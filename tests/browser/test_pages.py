"""What the pages say is what the interface for programs says, and what is in Redis."""

from __future__ import annotations

import contextlib
import re

import pytest
from playwright.sync_api import Page, expect

from jobd.web import render
from jobd.web.vietnamese import VIETNAMESE
from tests.browser.acts import enter, follow
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard
from tests.browser.places import PATTERNS, data_of, path_of, said
from tests.browser.windows import Watch
from tests.waiting import wait_until

FATES = {"processed": 12, "failed": 6, "busy": 1, "enqueued": 3, "retries": 3, "scheduled": 2, "dead": 2}
every_page = pytest.mark.parametrize("pattern", PATTERNS)


def words(page: Page) -> str:
    """The text of what a page is about, in one line, with all that can be unfolded."""
    page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")
    return " ".join(page.locator("main").inner_text().split())


def is_in(text: str, shown: str) -> bool:
    """Whether a page says it; a number as a whole."""
    number = text.replace(",", "").isdigit()
    return re.search(rf"(?<![\d,.]){text}(?![\d,])", shown) is not None if number else text in shown


@pytest.mark.parametrize("javascript", [True, False], ids=["", "no script"])
@every_page
def test_a_page_says_what_the_interface_for_programs_says(
    pattern: str, javascript: bool, dashboard: Dashboard, open_page: OpenPage
) -> None:
    path = path_of(pattern, dashboard)
    page, missing = open_page(javascript=javascript), list[str]()

    def says_all() -> bool:
        """Between the two readings a heartbeat may come."""
        page.goto(path)
        shown = words(page)
        missing[:] = [text for text in said(data_of(dashboard, path)) if not is_in(" ".join(text.split()), shown)]
        return not missing

    with contextlib.suppress(AssertionError):
        wait_until(says_all, "all is said")
    assert missing == []
    assert page.locator("h1").count() == 1
    assert page.title().endswith("jobd")


def test_the_totals_of_every_fate_are_shown(dashboard: Dashboard, page: Page) -> None:
    page.goto("/")
    told = dashboard.api("/overview")["totals"]
    assert {name: told[name] for name in FATES} == FATES
    for name, count in FATES.items():
        expect(page.locator(f"main [data-live={name}]").first).to_have_text(str(count))


@pytest.mark.parametrize(("path", "key"), [("/retries", "retry"), ("/scheduled", "schedule"), ("/dead", "dead")])
def test_each_job_of_a_set_has_a_row_that_leads_to_it(path: str, key: str, dashboard: Dashboard, page: Page) -> None:
    page.goto(path)
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(dashboard.redis.zcard(key))
    for number, job in enumerate(dashboard.api(path)["jobs"]):
        expect(rows.nth(number)).to_contain_text(job["class"])
        expect(rows.nth(number)).to_contain_text(job["args"])
    follow(rows.first.locator("a[href*='/jobs/']").first)
    expect(page.locator("h1")).to_contain_text(dashboard.api(path)["jobs"][0]["class"])
    expect(page.locator("main")).to_contain_text(dashboard.api(path)["jobs"][0]["jid"])


def test_every_page_of_the_menu_is_reached_by_clicking(page: Page) -> None:
    page.goto("/busy")
    for path, title, *_ in render.PAGES:
        follow(page.locator(f'nav li a[href="{path}"]').first)
        expect(page).to_have_title(f"{title} · jobd")
        expect(page.locator(f'nav li a[href="{path}"]').first).to_have_attribute("aria-current", "page")


def test_every_page_of_the_menu_is_a_page_of_the_site() -> None:
    known = set(PATTERNS)
    assert {path for path, *_ in render.PAGES} <= known


def choose_language(page: Page, code: str) -> None:
    """Click it, in its menu where it is in one."""
    link = page.locator(f"a[hreflang={code}]").first
    if not link.is_visible():
        page.locator("details", has=link).locator("summary").first.click()
    follow(link)


def test_the_language_is_chosen_by_clicking_and_kept(page: Page) -> None:
    page.goto("/")
    choose_language(page, "vi")
    expect(page.locator("html")).to_have_attribute("lang", "vi")
    page.goto("/queues")
    expect(page.locator("h1")).to_have_text(VIETNAMESE["Queues"])
    choose_language(page, "en")
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_the_language_of_the_browser_is_spoken_without_a_choice(open_page: OpenPage) -> None:
    expect(open_page("/retries", language="vi-VN").locator("h1")).to_have_text(VIETNAMESE["Retries"])


def test_what_is_not_there_is_said_so(page: Page, watch: Watch) -> None:
    watch.expect(404)
    for path in ("/nothing", "/queues/none", "/jobs/none"):
        page.goto(path)
        expect(page.locator("h1")).to_have_text("Not found")
        expect(page.get_by_role("navigation").first).to_be_visible()


def test_the_job_of_a_running_thread_is_found_by_its_id(dashboard: Dashboard, page: Page) -> None:
    page.goto("/busy")
    follow(page.get_by_role("link", name="ImportCatalogue").first)
    expect(page.locator("main")).to_contain_text("Acme")


def test_a_search_shows_what_matches(page: Page) -> None:
    page.goto("/retries")
    enter(page.locator("main input[name=q]:visible"), "1002")
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main tbody tr")).to_contain_text("1002")
