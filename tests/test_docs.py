"""Every Python block of the pages for users runs, in order, as a reader would type it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import jobd
from jobd.client import push, registry, settings

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def configured(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs push to an empty database, whatever the page sets besides; no other job is known."""
    monkeypatch.setattr(registry, "_handlers", {})
    settings.reset()
    jobd.configure(redis_url=redis_url)
    yield
    push.default_client().close()
    settings.reset()


def run_blocks(page: Path) -> int:
    """Run the Python blocks of `page` in one module; returns their number. Errors show the page's own lines."""
    text = page.read_text()
    module = ModuleType(f"docs_{page.stem.replace('-', '_')}")
    sys.modules[module.__name__] = module
    found = list(BLOCK.finditer(text))
    for block in found:
        lines_above = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_above + block[1], str(page), "exec"), module.__dict__)
    return len(found)


@pytest.mark.parametrize("name", ["defining-jobs.md"])
def test_the_code_of_a_page_runs(name: str, configured: None) -> None:
    assert run_blocks(ROOT / "docs" / name) > 0
