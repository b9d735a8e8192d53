"""What the tests in a browser need: `python -m tests.browser.needed` says what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MODULES = ("playwright", "axe_playwright_python", "starlette", "jinja2", "uvicorn")
REMEDY = "apt-get install chromium (or name one: CHROMIUM=/path/to/chromium)"


def chromium() -> str | None:
    """The program: `$CHROMIUM`, else one of the path."""
    named = os.environ.get("CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, PROGRAMS)), None)


def complaint() -> str | None:
    """What is missing, and the remedy; None when all is here."""
    if chromium() is None:
        return f"Chromium; on Debian: {REMEDY}"
    if missing := [name for name in MODULES if find_spec(name) is None]:
        return f"{', '.join(missing)}; pip install '.[web,browser]' in the checkout"
    return None


def main() -> int:
    """Say what is missing; 1 when something is."""
    if found := complaint():
        print(f"make test-browser needs {found}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
