"""`python -m tests.browser.pictures`: every page, light, dark and on a phone, in docs/pictures."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jobd.client.connection import Address
from tests.browser import picture_shop
from tests.browser.dashboards import Dashboard, dashboard_of
from tests.browser.needed import chromium
from tests.browser.places import PATTERNS, path_of
from tests.browser.windows import DESKTOP, PHONE
from tests.servers import RedisServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
LARGEST = 60_000
"""Bytes of one picture."""
COLOURS = (128, 64, 32, 16)
"""Of the palette: as many as leave the picture small enough."""
LOOKS = {"light": (DESKTOP, "light"), "dark": (DESKTOP, "dark"), "phone": (PHONE, "light")}
MORE = {"search": "/retries?q=declined"}
"""Pictures of other addresses than those of the site's pages."""


def addresses(dashboard: Dashboard) -> dict[str, str]:
    """What each picture shows, by its name."""
    found = {}
    for pattern in PATTERNS:
        place = pattern.partition("{")[0].strip("/") or "dashboard"
        found[f"one-{place}" if "{" in pattern else place] = path_of(pattern, dashboard)
    return {**found, **MORE}


def packed(png: bytes) -> bytes:
    """The same picture with few colours."""
    from PIL import Image

    for colours in COLOURS:
        out = io.BytesIO()
        image = Image.open(io.BytesIO(png)).convert("RGB")
        image.quantize(colours, Image.Quantize.MAXCOVERAGE, 2, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def act(page: Page, url: str) -> None:
    """Do what a user does, for the page that tells of it."""
    for path, fields in (
        ("/queues/reports", {"action": "pause"}),
        ("/queues/mailers", {"action": "pause"}),
        ("/queues/mailers", {"action": "resume"}),
        ("/cron", {"action": "disable", "name": "import_acme"}),
    ):
        answer = page.request.post(path, form=fields, max_redirects=0, headers={"origin": url})
        assert answer.status == 303, f"{path}: {answer.status}"


def take(browser: Browser, dashboard: Dashboard) -> None:
    """Make all pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    for look, (size, theme) in LOOKS.items():
        context = browser.new_context(
            base_url=dashboard.url, viewport=size, color_scheme=theme, reduced_motion="reduce"
        )  # type: ignore[arg-type]
        page = context.new_page()
        dashboard.redis.flushall()
        picture_shop.fill(dashboard.redis, dashboard.client, time.time())
        act(page, dashboard.url)
        for name, path in addresses(dashboard).items():
            picture_shop.beat(dashboard.redis, time.time())
            page.goto(path)
            page.wait_for_function("document.fonts.ready.then(() => true)")
            png = packed(page.screenshot())
            (PICTURES / f"{name}-{look}.png").write_bytes(png)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            print(f"{name}-{look}.png {len(png):,} bytes{f', runs {wide} pixels over the side' if wide > 0 else ''}")
        context.close()


def main() -> int:
    """Make them, on a server of their own."""
    from playwright.sync_api import sync_playwright

    # What the pages call their Redis is the same at each run.
    Address.shown = property(lambda address: "redis://localhost:6379/0")  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        dashboard = stack.enter_context(dashboard_of(server, auth=lambda request: "ann"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium())
        take(browser, dashboard)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
