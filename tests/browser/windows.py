"""Pages of a real Chromium that are watched: whatever goes wrong in one fails its test."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, Response

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
REFUSED = 400
RESTING = "/static/lists.js"
"""Shown by windows that nobody looks at. Of the same place as the pages, as Chromium has a process for each place."""


class Watch:
    """What went wrong in the pages of a test.

    Errors of the console, exceptions, JavaScript's dialogs, answers from 400 up and requests to anywhere but `url`.
    """

    def __init__(self, url: str) -> None:
        self.url, self.faults = url, list[str]()
        self._expected = set[int]()
        self._over: list[tuple[Page, str, Any]] = []

    def expect(self, *statuses: int) -> None:
        """Let answers with these statuses pass from now on."""
        self._expected |= set(statuses)

    def over(self, page: Page) -> None:
        """Watch a page."""
        for event, told in (
            ("console", self._console),
            ("pageerror", self._exception),
            ("dialog", self._dialog),
            ("response", self._response),
            ("request", self._request),
        ):
            page.on(event, told)  # type: ignore[call-overload]  # its overloads are of single names
            self._over.append((page, event, told))

    def end(self) -> None:
        """Watch no page any more."""
        for page, event, told in self._over:
            page.remove_listener(event, told)
        self._over.clear()

    def _exception(self, error: object) -> None:
        self.faults.append(f"exception: {error}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        # Chromium says once more what the answer has said.
        if "Failed to load resource: the server responded with a status" not in message.text:
            self.faults.append(f"console: {message.type}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _response(self, response: Response) -> None:
        if response.status >= REFUSED and response.status not in self._expected:
            self.faults.append(f"answer: {response.status} {response.request.method} {response.url}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "about") and not f"{request.url}/".startswith(f"{self.url}/"):
            self.faults.append(f"request to elsewhere: {request.url}")


class Windows:
    """Windows for one test after another, since a new one costs more than most tests do in it.

    Each has a context of its own. Whoever takes one finds it without cookies, in its size and colours, the pointer in
    the corner. A test that sets what stays for good (a clock, scripts that run before those of a page) takes one that
    is `alone`. For one thread.
    """

    def __init__(self, chrome: Browser, url: str, seconds: float) -> None:
        """For the dashboard at `url`, whose pages are waited for so many seconds."""
        self._chrome, self._url, self._seconds = chrome, url, seconds
        self._free: dict[str, list[Page]] = {}
        self._taken: list[tuple[Page, str, dict[str, Any]]] = []

    def take(self, *, alone: bool = False, **options: Any) -> Page:
        """A window; `options` are those of Playwright's `new_context`."""
        given = {"viewport": DESKTOP, "color_scheme": "light", "reduced_motion": "reduce", "locale": "en-GB", **options}
        kind = "" if alone else repr(sorted(given.items()))
        page = self._free[kind].pop() if self._free.get(kind) else self._open(given)
        self._taken.append((page, kind, given))
        return page

    def rest(self) -> None:
        """Have all that were taken be nowhere, so that nothing more happens in them."""
        for page, _, _ in self._taken:
            _rest(page)

    def give_back(self) -> None:
        """Let others have all that were taken."""
        for page, kind, given in self._taken:
            if not kind:
                page.context.close()
                continue
            page.mouse.move(0, 0)
            page.unroute_all()
            page.emulate_media(color_scheme=given["color_scheme"], reduced_motion=given["reduced_motion"])
            page.set_viewport_size(given["viewport"])
            page.context.clear_cookies()
            self._free.setdefault(kind, []).append(page)
        self._taken.clear()

    def close(self) -> None:
        """Close those that are free."""
        for pages in self._free.values():
            for page in pages:
                page.context.close()

    def _open(self, given: dict[str, Any]) -> Page:
        context = self._chrome.new_context(base_url=self._url, **given)
        context.set_default_timeout(self._seconds * 1000)
        return context.new_page()


def _rest(page: Page) -> None:
    """A window that is on its way to another page may refuse at first."""
    from playwright.sync_api import Error

    for _ in range(5):
        with contextlib.suppress(Error):
            page.goto(RESTING)
            return
