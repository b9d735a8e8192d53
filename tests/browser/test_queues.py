"""Queues are sorted, opened as a tree, paused several at once, and their jobs moved, by clicking."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from jobd.client.queues import Queue
from tests.browser.dashboards import Dashboard
from tests.browser.test_actions import go_until, press, row_of, told
from tests.client.api import fill_queue

NAMES = ("team:fast", "team:slow")


@pytest.fixture(autouse=True)
def two(dashboard: Dashboard) -> Iterator[None]:
    """Two queues from which nobody takes."""
    for name in NAMES:
        fill_queue(dashboard.redis, 4, name)
    yield
    for name in (*NAMES, "team:other"):
        Queue(name, dashboard.client).resume()
        Queue(name, dashboard.client).clear()


def waiting(dashboard: Dashboard, name: str) -> list[str]:
    """The ids of a queue, the next to be taken first."""
    return [json.loads(raw)["jid"] for raw in reversed(dashboard.redis.lrange(f"queue:{name}", 0, -1))]


def tick(page: Page, *texts: str) -> None:
    for text in texts:
        row_of(page, text).get_by_role("checkbox").check()


def test_the_head_of_a_column_sorts_and_turns_the_order(page: Page) -> None:
    go_until(page, "/queues", "team:slow")
    for order in ("ascending", "descending"):
        page.locator("thead").get_by_role("link", name="Queue").click()
        expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", order)
        names = page.locator("tbody td.text a").all_inner_texts()
        assert names == sorted(names, reverse=order == "descending")


def test_the_tree_opens_a_group(page: Page) -> None:
    go_until(page, "/queues", "team:slow")
    page.get_by_role("link", name="Tree").click()
    expect(page.locator("main")).not_to_contain_text("team:slow")
    page.locator("tbody").get_by_role("link", name="team").click()
    expect(row_of(page, "team:slow")).to_be_visible()


def test_several_are_paused_and_resumed(dashboard: Dashboard, page: Page) -> None:
    for action, said in (("pause", "Paused: 2."), ("resume", "Resumed: 2.")):
        go_until(page, "/queues", "team:slow")
        tick(page, *NAMES)
        press(page.locator(".bar"), action)
        expect(told(page)).to_contain_text(said)
        assert {Queue(name, dashboard.client).paused for name in NAMES} == {action == "pause"}


def test_enter_on_a_ticked_row_pauses_the_ticked_queues_alone(dashboard: Dashboard, page: Page) -> None:
    go_until(page, "/queues", "team:slow")
    # Only where jobd's own keys are off does the browser get this one.
    page.evaluate("() => { document.documentElement.dataset.keys = 'off'; }")
    tick(page, "team:slow")
    with page.expect_navigation():
        row_of(page, "team:slow").get_by_role("checkbox").press("Enter")
    expect(told(page)).to_contain_text("Paused: 1.")
    assert [name for name in NAMES if Queue(name, dashboard.client).paused] == ["team:slow"]


@pytest.mark.parametrize(("form", "query"), [(0, ""), (0, "?q=class:HardJob"), (1, "?q=class:HardJob")])
def test_enter_in_the_field_for_the_other_queue_presses_no_button(page: Page, form: int, query: str) -> None:
    page.goto(f"/queues/team:fast{query}")
    tick(page, "j2")
    page.evaluate("() => document.addEventListener('submit', () => { document.title = 'sent'; })")
    field = page.locator("input[name=to]").nth(form)
    field.fill("team:other")
    field.press("Enter")
    expect(page).not_to_have_title("sent")
    assert page.locator("input[name=to]").nth(form).input_value() == "team:other"


def test_ticked_jobs_are_moved_to_the_front_and_to_another_queue_and_enqueued_again(
    dashboard: Dashboard, page: Page
) -> None:
    page.goto("/queues/team:fast")
    tick(page, "j2")
    press(page.locator(".bar"), "front")
    expect(told(page)).to_contain_text("Moved to the front: 1.")
    assert waiting(dashboard, "team:fast") == ["j2", "j0", "j1", "j3"]
    tick(page, "j0")
    page.locator(".bar input[name=to]").fill("team:other")
    press(page.locator(".bar"), "move")
    expect(told(page)).to_contain_text("Moved to the other queue: 1.")
    assert waiting(dashboard, "team:other") == ["j0"]
    tick(page, "j2")
    press(page.locator(".bar"), "copy")
    expect(told(page)).to_contain_text("Enqueued again: 1.")
    assert len(waiting(dashboard, "team:fast")) == 4


def test_alert_limits_are_set_and_the_queue_says_that_it_is_over_them(dashboard: Dashboard, page: Page) -> None:
    go_until(page, "/queues/team:slow", "Alert limits")
    limits = page.locator("#limits")
    limits.locator("summary").click()
    limits.get_by_label("Jobs that may wait").fill("3")
    press(limits, "limits")
    expect(told(page)).to_contain_text("The alert limits are set.")
    expect(page.locator("main")).to_contain_text("▲ over its limit of 3 jobs")
    go_until(page, "/queues", "team:slow")
    expect(row_of(page, "team:slow")).to_contain_text("▲ over 3 jobs")
    go_until(page, "/queues/team:slow", "Alert limits")
    limits.locator("summary").click()
    limits.get_by_label("Jobs that may wait").fill("")
    press(limits, "limits")
    expect(page.locator("main")).not_to_contain_text("over its limit of 3 jobs")
    assert dashboard.redis.exists("jobd:queue-limits") == 0
