"""A cron entry is made, edited and deleted by clicking; what it would do is said as somebody types."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from jobd.client.cron_set import CronSet
from tests.browser.acts import confirm, enter, follow, press, told
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard


@pytest.fixture(autouse=True)
def entries(dashboard: Dashboard) -> Iterator[CronSet]:
    """Without what a test has made; what it has edited of the configuration stays, a year from being due."""
    found = CronSet(dashboard.client)
    yield found
    found.destroy("by hand")


def step(page: Page, value: str) -> None:
    follow(page.locator(f"button[name=step][value={value}]"))


def test_an_entry_is_made_edited_and_deleted(entries: CronSet, page: Page) -> None:
    page.goto("/cron")
    follow(page.get_by_role("link", name="New entry"))
    says = page.locator("#says")
    page.get_by_label("Schedule").fill("0 4 1 1 *")
    expect(says).to_contain_text("At 04:00 on 1 January")
    page.get_by_label("Time zone").fill("Asia/Ho_Chi_Minh")
    expect(says).to_contain_text("Asia/Ho_Chi_Minh")
    page.get_by_label("Name", exact=True).fill("by hand")
    page.get_by_label("Job", exact=True).fill("SyncStock")
    page.get_by_label("Arguments, a JSON array").fill("[7]")
    step(page, "save")
    expect(told(page)).to_have_text("The entry is made.")
    made = entries.find("by hand")
    assert made is not None
    assert (made.cron, made.job, made.args) == ("0 4 1 1 * Asia/Ho_Chi_Minh", "SyncStock", (7,))
    follow(page.get_by_role("link", name="Edit", exact=True))
    page.get_by_label("Schedule").fill("0 5 1 1 *")
    page.get_by_label("When the last one still runs").select_option("it is skipped")
    expect(page.locator("#check tbody").first).to_contain_text("0 5 1 1 *")
    step(page, "save")
    expect(told(page)).to_have_text("The entry is saved.")
    edited = entries.find("by hand")
    assert edited is not None
    assert (edited.cron, edited.overlap) == ("0 5 1 1 * Asia/Ho_Chi_Minh", "skip")
    press(page.locator("main"), "delete")
    confirm(page)
    expect(told(page)).to_be_visible()
    assert "by hand" not in entries


def test_without_a_script_check_says_what_it_would_do_and_enter_saves_nothing(
    entries: CronSet, open_page: OpenPage
) -> None:
    page = open_page("/cron-edit", javascript=False)
    page.get_by_label("Name", exact=True).fill("by hand")
    page.get_by_label("Job", exact=True).fill("SyncStock")
    enter(page.get_by_label("Schedule"), "0 4 1 1 *")
    expect(page.locator("#says")).to_contain_text("At 04:00 on 1 January")
    page.get_by_label("Schedule").fill("61 4 1 1 *")
    step(page, "check")
    expect(page.get_by_role("alert")).to_contain_text("the minutes field is '61'")
    assert "by hand" not in entries
    page.get_by_label("Schedule").fill("0 4 1 1 *")
    step(page, "save")
    expect(told(page)).to_have_text("The entry is made.")


def test_an_entry_of_the_configuration_is_saved_by_who_knows_that_it_is_set_back(entries: CronSet, page: Page) -> None:
    page.goto("/cron/stock_sync")
    follow(page.get_by_role("link", name="Edit", exact=True))
    expect(page.locator("main")).to_contain_text("It stands in a configuration")
    page.get_by_label("Description").fill("Two warehouses")
    expect(page.locator("#check tbody").first).to_contain_text("Two warehouses")
    page.get_by_label("I know that this is set back").check()
    step(page, "save")
    expect(told(page)).to_have_text("The entry is saved.")
    entry = entries.find("stock_sync")
    assert entry is not None
    assert entry.description == "Two warehouses"
