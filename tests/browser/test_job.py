"""One job and its lists, by clicking: copies, other arguments, bars that lead to jobs, columns."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard
from tests.browser.windows import Watch
from tests.client.api import payload


def put_one(dashboard: Dashboard) -> None:
    """One job among the dead, of a queue that nobody takes from."""
    dashboard.redis.delete("queue:idle", "dead")
    dashboard.redis.zadd("dead", {payload("plain", queue="idle", args=["n7"]): time.time() - 60})


@pytest.fixture(autouse=True)
def a_job_of_its_own(dashboard: Dashboard) -> None:
    """For each test."""
    put_one(dashboard)


def waiting(dashboard: Dashboard) -> list[Any]:
    """The arguments of the jobs that wait in that queue."""
    return [json.loads(raw)["args"] for raw in dashboard.redis.lrange("queue:idle", 0, -1)]


def open_form(page: Page) -> None:
    """From the list to the job and to its form."""
    page.goto("/dead")
    page.locator("main tbody a.jid").click()
    page.get_by_role("link", name="Edit and run as a new job").click()


def test_a_job_is_edited_and_what_was_wrong_stays_typed(
    open_page: OpenPage, dashboard: Dashboard, watch: Watch
) -> None:
    watch.expect(400)
    for javascript in (True, False):
        put_one(dashboard)
        page = open_page("/dead", javascript=javascript)
        open_form(page)
        page.get_by_label("Arguments, a JSON array").fill('["n8"')
        with page.expect_response(lambda answer: answer.request.method == "POST"):
            page.get_by_role("button", name="Run as a new job").click()
        expect(page.get_by_role("alert")).to_contain_text("args is no JSON at line 1")
        expect(page.get_by_label("Arguments, a JSON array")).to_have_value('["n8"')
        page.get_by_label("Arguments, a JSON array").fill('["n8"]')
        page.get_by_role("button", name="Run as a new job").click()
        expect(page.get_by_role("status").first).to_contain_text("Pushed as a new job:")
        assert waiting(dashboard) == [["n8"]]
        assert dashboard.redis.zcard("dead") == 0


def test_a_copy_is_made_by_a_click(open_page: OpenPage, dashboard: Dashboard) -> None:
    page = open_page("/dead", permissions=["clipboard-read", "clipboard-write"])
    page.locator("main tbody a.jid").click()
    for name, text in (("Python", "HardJob.perform_async('n7')"), ("curl", f'"{dashboard.url}/api/v1/dead"')):
        page.get_by_role("button", name=f"Copy as {name}").click()
        expect(page.get_by_role("button", name=f"Copy as {name}")).to_contain_text("✓")
        assert text in page.evaluate("navigator.clipboard.readText()")


def test_a_bar_leads_to_its_jobs_and_a_column_is_hidden(open_page: OpenPage) -> None:
    for javascript in (True, False):
        page = open_page("/dead", javascript=javascript)
        page.locator(".when svg a").first.click()
        expect(page.locator("main tbody tr")).to_have_count(1)
        assert "since:" in page.locator("#q").input_value()
        expect(page.get_by_role("columnheader", name="Arguments")).to_be_visible()
        page.locator("#display summary").click()
        page.locator("#display a[data-set=hide]", has_text="Arguments").click()
        expect(page.get_by_role("columnheader", name="Arguments")).to_be_hidden()
        expect(page.get_by_role("columnheader", name="Error")).to_be_visible()
