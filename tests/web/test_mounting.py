"""The dashboard within other applications, mounted as its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import page_runner

ROOT = Path(__file__).parents[2]
TRY = """
import base64, django.conf, sys
sys.path.insert(0, {root!r})
django.conf.settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
urlpatterns = []
import jobd
jobd.configure(redis_url={url!r})
import {module} as site
from tests.web.browser import SAME_SITE, Browser, Page
shown = {{"authorization": "Basic " + base64.b64encode(b"ann:password").decode()}}
browser = Browser(site.application, "/jobs", {{**SAME_SITE, **shown}})
page = browser.get("/queues")
assert page.status_code == 200, page.text
assert all(each["href"].startswith(("/jobs/", "#", "data:")) for each in Page.of(page.text).all("a"))
assert browser.post("/queues/low", {{"action": "pause"}}).headers["location"] == "/jobs/queues?did=pause&moved=1"
assert Browser(site.application, "/jobs").get("/queues").status_code == 401
assert Browser(site.application).get("/other").status_code == 404
"""


@pytest.mark.parametrize("name", ["starlette_site", "fastapi_site", "django_site"])
def test_the_examples_of_the_page_work(name: str, redis_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "dashboard.md").read_text()
    [block] = [block for block in page_runner.blocks(page) if block.file == f"{name}.py"]
    (tmp_path / f"{name}.py").write_text(block.text)
    code = TRY.format(root=str(ROOT), url=redis_url, module=name)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
