"""The dashboard within other applications, mounted and served as its page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import page_runner

ROOT = Path(__file__).parents[2]
SITES = ["starlette_site", "fastapi_site", "django_site", "flask_site", "django_wsgi_site"]


def test_the_examples_of_the_page_work(redis_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "dashboard.md").read_text()
    for block in page_runner.blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    command = [sys.executable, "-m", "tests.web.try_mounted", redis_url]
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*SITES, "deep"]
