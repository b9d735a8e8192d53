"""What people do in a window. Each act ends when the page to which it led is there, so that what follows looks at that.

Playwright's `click` ends before the answer is there: what follows it would see the page of before, or Redis as it was.
Other than by an act, tests look by what waits: `expect` at a page, `wait_until` at what other processes do.
"""

from __future__ import annotations

from playwright.sync_api import Locator, Page

from tests.waiting import wait_until


def follow(target: Locator) -> None:
    """Click a link or a button that leads to a page, and be there."""
    with target.page.expect_navigation():
        target.click()


def enter(field: Locator, text: str) -> None:
    """Fill a field in and send its form by the key Enter; then be on the page to which that leads."""
    field.fill(text)
    with field.page.expect_navigation():
        field.press("Enter")


def press(scope: Page | Locator, action: str) -> None:
    """Click the first button of an action, if need be in the menu of its row, and be on the page that answers."""
    page = scope if isinstance(scope, Page) else scope.page
    menu = scope.locator("details[name=more]:not([open])", has=page.locator(f"button[name=action][value={action}]"))
    if menu.count():
        menu.first.locator("summary").click()
    follow(scope.locator(f"button[name=action][value={action}]:visible").first)


def confirm(page: Page, typed: str | None = None) -> None:
    """Answer the question whether it is meant."""
    form = page.locator("form", has=page.locator("input[name=confirmed]"))
    if typed is not None:
        form.locator("input[name=typed]").fill(typed)
    follow(form.locator("button:visible").first)


def of_all(page: Page) -> Locator:
    """Where the buttons for all jobs, or all that match, are."""
    return page.locator("form", has=page.locator("input[name=all][value=yes]"))


def told(page: Page) -> Locator:
    """Where a page says what came of a change."""
    return page.locator("main > .done[role=status]")


def row_of(page: Page, text: str) -> Locator:
    """The row with a text."""
    return page.locator("main tbody tr", has_text=text).first


def lead(page: Page, key: str) -> None:
    """Go to a page by its key after `g`: in time, however slow the machine is."""
    page.evaluate("const now = Date.now(); Date.now = () => now;")
    page.keyboard.press("g")
    with page.expect_navigation():
        page.keyboard.press(key)


def go_until(page: Page, path: str, text: str) -> None:
    """Open a page until it says something: totals are kept for a second."""

    def says() -> bool:
        page.goto(path)
        return text in page.locator("main").inner_text()

    wait_until(says, f"{path} says {text}")
