"""The keys do what the buttons and links of a page do."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.browser.acts import follow, lead
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard

BOXES = "main input[name=key]"


def ticked(page: Page) -> list[bool]:
    """Which rows are ticked."""
    found: list[bool] = page.evaluate(f"[...document.querySelectorAll('{BOXES}')].map((box) => box.checked)")
    return found


def test_g_and_a_letter_go_to_a_page_and_slash_to_the_finder(page: Page) -> None:
    page.goto("/")
    for letter, path in (("q", "/queues"), ("b", "/busy"), ("r", "/retries"), ("d", "/dead"), ("o", "/")):
        lead(page, letter)
        assert urlsplit(page.url).path == path
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("gr?")
    expect(page.locator("#find")).to_have_value("gr?")
    page.keyboard.press("Escape")
    expect(page.locator("#find")).not_to_be_focused()


def test_rows_are_walked_and_ticked_alone_in_ranges_and_all(page: Page) -> None:
    page.goto("/retries")
    for key in ("j", "x", "j", "j"):
        page.keyboard.press(key)
    assert ticked(page) == [True, False, False]
    page.keyboard.press("Shift+X")
    assert ticked(page) == [True, True, True]
    expect(page.locator(".bar").first).to_contain_text("3 of 3 selected")
    page.keyboard.press("k")
    page.keyboard.press("x")
    assert ticked(page) == [True, False, True]
    page.keyboard.press("a")
    assert ticked(page) == [True, True, True]
    page.keyboard.press("a")
    assert ticked(page) == [False, False, False]


def test_shift_and_a_click_tick_a_range(page: Page) -> None:
    page.goto("/retries")
    page.locator(BOXES).nth(0).click()
    page.locator(BOXES).nth(2).click(modifiers=["Shift"])
    assert ticked(page) == [True, True, True]
    page.locator("main input[data-all]").click()
    assert ticked(page) == [False, False, False]


def test_enter_opens_the_row(page: Page) -> None:
    page.goto("/dead")
    page.keyboard.press("j")
    with page.expect_navigation(url="**/jobs/**"):
        page.keyboard.press("Enter")


def test_capitals_change_what_is_ticked_after_a_question(dashboard: Dashboard, page: Page) -> None:
    page.goto("/dead")
    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("Shift+D")
    expect(page.locator("main form.warn")).to_contain_text("Delete")
    lead(page, "d")
    assert dashboard.redis.zcard("dead") == 2


def test_p_pauses_t_changes_the_colours_and_a_question_mark_helps(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("p")
    expect(page.locator("#live")).to_have_text("‖ Paused")
    page.keyboard.press("p")
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.locator("#shortcuts").click()
    expect(page.locator("#help")).to_be_visible()


def test_the_keys_can_be_turned_off(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("?")
    follow(page.get_by_role("link", name="Turn the keys off"))
    expect(page.locator("html")).to_have_attribute("data-keys", "off")
    page.keyboard.press("p")
    page.keyboard.press("g")
    page.keyboard.press("q")
    expect(page.locator("#live")).to_have_text("● Live")
    assert page.url.endswith("/")


def test_times_are_those_of_the_device_when_that_is_chosen(open_page: OpenPage) -> None:
    page = open_page("/retries", timezone_id="Asia/Ho_Chi_Minh")
    assert "UTC" in str(page.locator("main time").first.get_attribute("title"))
    page.locator("#display summary").click()
    follow(page.locator('[data-set="clock"][data-to="local"]'))
    expect(page.locator("main time").first).to_have_attribute("title", re.compile("Asia/(Ho_Chi_Minh|Saigon)"))


def test_a_phone_reaches_all_pages_by_its_bar(open_page: OpenPage) -> None:
    page = open_page("/", phone=True)
    follow(page.locator(".tabs").get_by_role("link", name="Retries"))
    assert page.url.endswith("/retries")
    page.locator(".tabs").get_by_role("link", name="More").click()
    follow(page.locator(".rail").get_by_role("link", name="Metrics"))
    assert page.url.endswith("/metrics")
