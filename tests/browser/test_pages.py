"""What the pages say is what the interface for programs says."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.dashboards import Dashboard


def test_the_totals_of_every_fate_are_shown(dashboard: Dashboard, page: Page) -> None:
    told = dashboard.api("/overview")["totals"]
    fates = {"processed": 12, "failed": 6, "busy": 1, "enqueued": 3, "retries": 3, "scheduled": 2, "dead": 2}
    assert {name: told[name] for name in fates} == fates
    for name, count in fates.items():
        expect(page.locator(f"main [data-live={name}]")).to_have_text(str(count))
