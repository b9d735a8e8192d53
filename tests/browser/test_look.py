"""No violation of axe and nothing that runs over the side, in both themes on screen and phone; small pages."""

from __future__ import annotations

import contextlib
import gzip
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.acts import follow
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard
from tests.browser.places import PATTERNS, path_of
from tests.browser.windows import DESKTOP, PHONE, Watch
from tests.client.api import payload
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Response

LARGEST_PAGE = 60_000
LARGEST_PACKED = 10_000
LARGEST_VISIT = 90_000
"""Bytes of a page of 50 rows, packed, and of all that a first visit loads, packed."""
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""What axe looks at that a theme changes."""
CONFIRMATIONS = (("/retries", "kill"), ("/dead", "delete"), ("/queues", "clear"))


@pytest.fixture(scope="module")
def axe() -> Axe:
    """The checker, read once."""
    return Axe()


def violations(axe: Axe, page: Page, *rules: str) -> list[str]:
    """What axe finds; by these of its rules alone if any are given."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.axe_script)
    options = {"resultTypes": ["violations"], **({"runOnly": {"type": "rule", "values": rules}} if rules else {})}
    found: list[dict[str, Any]] = page.evaluate("(options) => axe.run(options)", options)["violations"]
    return [f"{each['id']}: {node['target']} {node['html'][:150]}" for each in found for node in each["nodes"]]


def too_wide(page: Page) -> list[str]:
    """Elements that run over the side of a page that can be scrolled sideways."""
    return page.evaluate("""() => {
        const root = document.documentElement;
        if (root.scrollWidth <= root.clientWidth) return [];
        const wide = [...document.querySelectorAll('body *')].filter((each) =>
            each.getBoundingClientRect().right > root.clientWidth + 1);
        const shown = wide.slice(0, 5).map((each) => each.outerHTML.slice(0, 150));
        return [`${root.scrollWidth} of ${root.clientWidth} pixels`, ...shown];
    }""")


def small_targets(page: Page) -> list[str]:
    """What a finger has to hit and is less than 44 pixels high."""
    return page.evaluate("""() => [...document.querySelectorAll(
            'main button, main select, main input:not([type=checkbox]):not([type=hidden]), nav a')]
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 43.5)
        .map((each) => `${each.getBoundingClientRect().height} px: ${each.outerHTML.slice(0, 120)}`)""")


def looks(axe: Axe, page: Page) -> Iterator[tuple[str, list[str]]]:
    """What is wrong with a page on each kind of screen, in each theme."""
    for screen, size in (("screen", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not too_wide(page), "charts have its width", 10)
        yield f"{screen}: sideways", too_wide(page)
        if screen == "phone":
            yield f"{screen}: small", small_targets(page)
        page.emulate_media(color_scheme="light")
        yield f"{screen}, light", violations(axe, page)
        page.emulate_media(color_scheme="dark")
        yield f"{screen}, dark", violations(axe, page, *OF_COLOURS)


def check(axe: Axe, page: Page) -> None:
    """Fail with all that is wrong with a page."""
    assert {where: found for where, found in looks(axe, page) if found} == {}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_page_looks_right_everywhere(pattern: str, dashboard: Dashboard, page: Page, axe: Axe) -> None:
    page.goto(path_of(pattern, dashboard))
    check(axe, page)


@pytest.mark.parametrize(("path", "action"), CONFIRMATIONS)
def test_a_question_looks_right_everywhere(path: str, action: str, page: Page, axe: Axe) -> None:
    page.goto(path)
    if path == "/queues":
        page.locator("details[name=more] summary").last.click()
    follow(page.locator(f"button[name=action][value={action}]:visible").last)
    expect(page.locator("input[name=confirmed]").first).to_be_attached()
    check(axe, page)


def test_an_error_looks_right_everywhere(page: Page, axe: Axe, watch: Watch) -> None:
    watch.expect(404)
    page.goto("/nothing")
    check(axe, page)


def test_vietnamese_looks_right_on_a_phone(open_page: OpenPage, axe: Axe) -> None:
    page = open_page(phone=True, language="vi-VN")
    for path in ("/", "/queues", "/retries", "/busy", "/cron"):
        page.goto(path)
        assert (too_wide(page), small_targets(page), violations(axe, page)) == ([], [], [])


@pytest.fixture
def fifty(dashboard: Dashboard) -> Iterator[Dashboard]:
    """Fifty jobs and more everywhere, each with what is usual."""
    fields: dict[str, Any] = {
        "class": "Billing::ChargeSubscription",
        "queue": "payments",
        "error_class": "Payments::CardDeclined",
        "error_message": "Your card was declined (insufficient_funds): order 1234567 of customer 7654321",
        "retry_count": 4,
        "failed_at": 1_795_305_670.0,
        "tags": ["eu"],
    }
    jobs = [
        payload(f"{i:024x}", args=[1_234_567 + i, {"currency": "EUR", "amount": 1999 + i}], **fields) for i in range(60)
    ]
    for key in ("retry", "schedule", "dead"):
        dashboard.redis.zadd(key, {job: 4_000_000_000.0 + place for place, job in enumerate(jobs)})
    dashboard.redis.lpush("queue:many", *jobs)
    dashboard.redis.sadd("queues", "many", *(f"queue_{i}" for i in range(49)))
    yield dashboard
    for key in ("retry", "schedule", "dead"):
        dashboard.redis.zrem(key, *jobs)
    dashboard.redis.delete("queue:many")
    dashboard.redis.srem("queues", "many", *(f"queue_{i}" for i in range(49)))


def test_a_page_of_fifty_rows_is_small(fifty: Dashboard) -> None:
    sizes = {}
    for path in ("/queues", "/queues/many", "/retries", "/scheduled", "/dead"):
        shown = b"queue_" if path == "/queues" else b"ChargeSubscription"
        wait_until(lambda path=path, shown=shown: fifty.read(path).count(shown) >= 49, f"{path} is full")
        html = fifty.read(path)
        sizes[path] = len(html), len(gzip.compress(html, 6))
    assert {path: size for path, size in sizes.items() if size > (LARGEST_PAGE, 0) or size[1] > LARGEST_PACKED} == {}


def test_a_first_visit_loads_little_and_all_of_it_from_here(fifty: Dashboard, page: Page) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto("/retries")
    page.goto("/")
    loaded = {answer.url for answer in answers if "/live" not in answer.url and not answer.url.startswith("data:")}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    packed = {}
    for url in loaded:
        with opener.open(url, timeout=10) as answer:
            packed[url.removeprefix(fifty.url)] = len(gzip.compress(answer.read(), 6))
    assert "/" in packed
    assert sum(packed.values()) < LARGEST_VISIT, packed
