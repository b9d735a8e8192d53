"""A read-only dashboard has everything to read and nothing to press."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.dashboards import Dashboard, dashboard_of, shop
from tests.browser.places import PATTERNS, path_of
from tests.servers import RedisServer

ANYTHING_TO_PRESS = "form[method=post], button[name=action], input[type=checkbox], [hx-post], [hx-delete]"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The same shop, which may only be looked at."""
    directory = tmp_path_factory.mktemp("shop")
    with (
        RedisServer() as server,
        shop(server, directory) as running,
        dashboard_of(server, running, read_only=True) as found,
    ):
        yield found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_page_has_no_button_and_says_so(pattern: str, dashboard: Dashboard, page: Page) -> None:
    page.goto(path_of(pattern, dashboard))
    expect(page.get_by_text("Read only").first).to_be_visible()
    assert [each.evaluate("each => each.outerHTML") for each in page.locator(ANYTHING_TO_PRESS).all()] == []


def test_what_is_sent_all_the_same_is_refused(dashboard: Dashboard, page: Page) -> None:
    page.goto("/retries")
    for pattern in PATTERNS:
        path = path_of(pattern, dashboard)
        answer = page.request.post(path, form={"action": "delete", "all": "yes", "confirmed": "yes"})
        assert answer.status == 405, path
    assert dashboard.redis.zcard("retry") == 3
