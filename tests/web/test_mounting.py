"""The dashboard within other applications, mounted as its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import page_runner

ROOT = Path(__file__).parents[2]
TRY = """
import base64, importlib, django.conf, sys
sys.path.insert(0, {root!r})
django.conf.settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
urlpatterns = []
import jobd
jobd.configure(redis_url={url!r})
from tests.web.browser import SAME_SITE, Browser, Page
shown = {{"authorization": "Basic " + base64.b64encode(b"ann:password").decode()}}
for action, name in (("pause", "starlette_site"), ("resume", "fastapi_site"), ("pause", "django_site")):
    site = importlib.import_module(name)
    browser = Browser(site.application, "/jobs", {{**SAME_SITE, **shown}})
    page = browser.get("/queues")
    assert page.status_code == 200, page.text
    assert all(each["href"].startswith(("/jobs/", "#", "data:")) for each in Page.of(page.text).all("a"))
    done = browser.post("/queues/low", {{"action": action}})
    assert done.headers["location"] == f"/jobs/queues?did={{action}}&moved=1"
    assert Browser(site.application, "/jobs").get("/queues").status_code == 401
    assert Browser(site.application).get("/other").status_code == 404
    print(name)
"""


def test_the_examples_of_the_page_work(redis_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "dashboard.md").read_text()
    for block in page_runner.blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    code = TRY.format(root=str(ROOT), url=redis_url)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["starlette_site", "fastapi_site", "django_site"]
