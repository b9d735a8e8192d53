"""What the tests beside Ruby need: `python -m tests.interop.needed` says what is missing, and how to get it."""

from __future__ import annotations

import shutil
import subprocess
import sys

PROGRAMS = ("ruby", "sidekiq", "sidekiqmon", "redis-server")
LIBRARIES = ("sidekiq", "sidekiq/cron/job", "rack/handler/webrick")
REMEDY = "apt-get install ruby-sidekiq ruby-sidekiq-cron ruby-webrick redis-server"


def missing() -> list[str]:
    """Programs and libraries of Ruby that are not here."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if "ruby" in programs:
        return programs
    return programs + [name for name in LIBRARIES if not _loads(name)]


def _loads(library: str) -> bool:
    command = ["ruby", "-e", "require 'sidekiq'; require ARGV[0]", library]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Say what is missing; 1 when something is."""
    names = missing()
    if names:
        print(f"make interop needs {', '.join(names)}; on Debian 12: {REMEDY}", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
