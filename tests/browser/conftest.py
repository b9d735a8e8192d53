"""The dashboard in a real Chromium. Run by `make test-browser`; without it one line says that these were left out.

A test takes `dashboard`, on which all tests of its file look, and `page`, a window of its own that fails the test on
any fault. It leaves the jobs of others alone, or sets up anew what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.needed import chromium
from tests.browser.windows import DESKTOP, PHONE, Watch, Windows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.dashboards import Dashboard

REASON = "needs Chromium: run `make test-browser`"
SECONDS = 30.0
"""How long a click waits for its element, a page for its answer, and `expect` for what it is to see."""

LONGEST = ("test_hostile", "test_look", "test_actions", "test_pages")
"""Files that take longest. They come first, as the last to come is for one process alone while the others are done."""

OpenPage = Callable[..., "Page"]


class LeftOut(pytest.Module):
    """A file that is not even imported: what it needs may not be installed."""

    def collect(self) -> Iterator[pytest.Item]:
        yield LeftOutTests.from_parent(self, name="all")


class LeftOutTests(pytest.Item):
    """Stands for the tests of that file."""

    def runtest(self) -> None:
        pytest.skip(REASON)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    """Collect the tests only when they are asked for."""
    return None if os.environ.get("JOBD_BROWSER") else LeftOut.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the tests of each stay in their order."""
    if os.environ.get("JOBD_BROWSER"):
        rank = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    """One Chromium for all tests."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of a real jobd, in a server of its own, whose jobs have met every fate; its user may do all.

    Done: `ResizeImage` (5) and `SyncStock`, which failed once. In the retries: `ChargeCard` (3). Dead: `SendReceipt`
    (2). Scheduled: `SendReminder` (2). Waiting in the paused queue `reports`: `BuildReport` (3). Running:
    `ImportCatalogue`, until `dashboard.jobd.release()`. Cron entries: `nightly_report`, `stock_sync`.
    """
    from tests.browser.dashboards import dashboard_of, shop
    from tests.servers import RedisServer

    directory = tmp_path_factory.mktemp("shop")
    with RedisServer() as server, shop(server, directory) as running, dashboard_of(server, running) as found:
        yield found


@pytest.fixture
def watch(dashboard: Dashboard) -> Watch:
    """What goes wrong in the windows of this test; `watch.expect(409)` lets answers of that status pass."""
    return Watch(dashboard.url)


@pytest.fixture(scope="module")
def windows(chrome: Browser, dashboard: Dashboard) -> Iterator[Windows]:
    """Those of a file, which its tests take in turn."""
    found = Windows(chrome, dashboard.url, SECONDS)
    yield found
    found.close()


@pytest.fixture
def open_page(windows: Windows, watch: Watch) -> Iterator[OpenPage]:
    """Takes windows: `open_page(path="", dark=False, phone=False, javascript=True, language="en-GB", **options)`.

    Without a path it is nowhere yet. `options` are those of `Windows.take`.
    """

    def open_one(
        path: str = "",
        *,
        dark: bool = False,
        phone: bool = False,
        javascript: bool = True,
        language: str = "en-GB",
        **options: Any,
    ) -> Page:
        given: dict[str, Any] = {
            "viewport": PHONE if phone else DESKTOP,
            "has_touch": phone,
            "color_scheme": "dark" if dark else "light",
            "java_script_enabled": javascript,
            "locale": language,
            **options,
        }
        page = windows.take(**given)
        watch.over(page)
        if path:
            page.goto(path)
        return page

    yield open_one
    windows.rest()
    watch.end()
    windows.give_back()
    assert watch.faults == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A window for the dashboard, 1280 pixels wide and light; `page.goto("/retries")` leads to a page."""
    return open_page()
