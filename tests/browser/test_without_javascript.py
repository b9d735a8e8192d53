"""Reading and single actions need no JavaScript."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

from jobd.client.queues import Queue
from jobd.web import render
from tests.browser.acts import confirm, enter, follow, go_until, press, row_of, told
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard
from tests.browser.test_pages import choose_language
from tests.client.api import fill_set, payload
from tests.waiting import wait_until


@pytest.fixture
def plain(open_page: OpenPage) -> Page:
    """A window that runs no script."""
    return open_page(javascript=False)


def test_the_menu_leads_to_its_pages(plain: Page) -> None:
    plain.goto("/")
    for path, title, *_ in render.PAGES:
        follow(plain.locator(f'nav li a[href="{path}"]').first)
        expect(plain).to_have_title(f"{title} · jobd")


def test_what_needs_a_script_is_not_shown(plain: Page) -> None:
    plain.goto("/retries")
    assert not plain.get_by_text("● Live").is_visible()
    assert not plain.locator("input[data-all]").first.is_visible()


def test_lists_are_read_to_their_end_and_searched(dashboard: Dashboard, plain: Page) -> None:
    fill_set(dashboard.redis, "schedule", 120, score=5_000_000_000.0)
    plain.goto("/scheduled")
    pages = 1
    while (link := plain.locator("a[rel=next]")).count():
        follow(link.first)
        pages += 1
    assert pages == 3
    dashboard.redis.zremrangebyscore("schedule", 5_000_000_000.0, "+inf")
    enter(plain.locator("main input[name=q]:visible"), "SendReminder")
    expect(plain.locator("main tbody tr")).to_have_count(2)


def test_a_job_is_retried_and_another_deleted_after_a_question(dashboard: Dashboard, plain: Page) -> None:
    fields = {"queue": "idle", "retry_count": 0}
    dashboard.redis.zadd("retry", {payload("one", args=["n1"], **fields): time.time() + 60})
    dashboard.redis.zadd("retry", {payload("two", args=["n2"], **fields): time.time() + 60})
    plain.goto("/retries")
    row_of(plain, '"n1"').get_by_role("checkbox").check()
    press(plain, "retry")
    expect(told(plain)).to_contain_text("1")
    follow(row_of(plain, '"n2"').locator("a[href*='/jobs/']").first)
    press(plain.locator("main"), "delete")
    confirm(plain)
    expect(told(plain)).to_contain_text("1")
    assert dashboard.redis.zcard("retry") == 3


def test_a_queue_is_paused_and_resumed(dashboard: Dashboard, plain: Page) -> None:
    plain.goto("/queues")
    press(row_of(plain, "mailers"), "pause")
    expect(row_of(plain, "mailers")).to_contain_text("paused")
    assert Queue("mailers", dashboard.client).paused
    press(row_of(plain, "mailers"), "resume")
    assert not Queue("mailers", dashboard.client).paused


def test_an_entry_of_the_cron_runs_now(dashboard: Dashboard, plain: Page) -> None:
    before, _ = dashboard.jobd.statistics()
    plain.goto("/cron")
    press(row_of(plain, "stock_sync"), "run")
    wait_until(lambda: dashboard.jobd.statistics()[0] > before, "a worker took it")


def test_the_language_is_chosen(plain: Page) -> None:
    plain.goto("/")
    choose_language(plain, "vi")
    expect(plain.locator("html")).to_have_attribute("lang", "vi")


def test_a_process_takes_no_more_jobs(dashboard: Dashboard, plain: Page) -> None:
    """The last of this file."""
    [identity] = dashboard.jobd.identities
    plain.goto("/busy")
    press(plain.locator("main"), "quiet")
    wait_until(lambda: dashboard.redis.hget(identity, "quiet") == b"true", "it is quiet")
    go_until(plain, "/busy", "‖ quiet")
