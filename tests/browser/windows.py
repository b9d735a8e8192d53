"""Pages of a real Chromium that are watched: whatever goes wrong in one fails its test."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Page, Request, Response

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
REFUSED = 400


class Watch:
    """What went wrong in the pages of a test.

    Errors of the console, exceptions, JavaScript's dialogs, answers from 400 up and requests to anywhere but `url`.
    """

    def __init__(self, url: str) -> None:
        self.url, self.faults = url, list[str]()
        self._expected = set[int]()

    def expect(self, *statuses: int) -> None:
        """Let answers with these statuses pass from now on."""
        self._expected |= set(statuses)

    def over(self, page: Page) -> None:
        """Watch a page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("dialog", self._dialog)
        page.on("response", self._response)
        page.on("request", self._request)

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
