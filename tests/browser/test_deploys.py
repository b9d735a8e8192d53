"""A deploy that is marked: drawn into the charts by the server and by the script, and checked by axe where it shows."""

from __future__ import annotations

import json
import re
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from jobd.client.deploys import mark_deploy
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard
from tests.browser.test_look import OF_COLOURS, small_targets, too_wide, violations
from tests.waiting import wait_until

LABEL = "v2.18.1 Ask the bank once more"


@pytest.fixture(autouse=True)
def a_deploy_and_a_muted_cause(dashboard: Dashboard) -> None:
    """Ten minutes ago, and the cause of most jobs."""
    [cause, *_] = dashboard.api("/failures")["causes"]
    mute = {"by": "ann", "at": time.time(), "count": cause["count"]}
    dashboard.redis.hset("jobd:muted", cause["id"], json.dumps(mute))
    mark_deploy(LABEL, at=time.time() - 600, client=dashboard.client)


def test_without_javascript_the_chart_has_a_line_with_its_label(open_page: OpenPage) -> None:
    page = open_page("/", javascript=False)
    expect(page.locator("#done .flags text")).to_have_text("v2.18.1 Ask the…")
    expect(page.locator("#done path.deploys")).to_have_count(1)
    expect(page.locator("main")).to_contain_text(re.compile(r"Last deploy 1\d min"))
    page.locator("#done summary").click()
    expect(page.locator("#done-table")).to_contain_text(LABEL)


def test_the_pointer_finds_it_in_a_chart_of_the_script(open_page: OpenPage) -> None:
    page = open_page("/")
    plot, at = page.locator("#done .u-over"), page.locator("#done .at")
    expect(plot).to_be_visible()

    def found() -> bool:
        """Somewhere along the chart, which goes on with time."""
        box = plot.bounding_box()
        assert box is not None
        for step in range(101):
            page.mouse.move(box["x"] + box["width"] * step / 100, box["y"] + box["height"] / 2)
            if f"┊ {LABEL}" in (at.text_content() or ""):
                return True
        return False

    wait_until(found, "it is under the pointer", 30)


@pytest.mark.parametrize("path", ["/", "/metrics", "/failures"])
def test_nothing_is_wrong_with_the_pages_that_tell_of_it(open_page: OpenPage, path: str) -> None:
    page = open_page(path, phone=True)
    assert violations(Axe(), page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(Axe(), page, *OF_COLOURS) == []
    assert (too_wide(page), small_targets(page)) == ([], [])
