"""The command `jobd web`; with BENCH_TOTALS_AGE the totals serve other pages for so many seconds."""

from __future__ import annotations

import os
import sys

import jobd.web.context
from jobd.supervisor.cli import main

if __name__ == "__main__":
    if age := os.environ.get("BENCH_TOTALS_AGE"):
        jobd.web.context.MAX_AGE = float(age)
    sys.exit(main(["web", *sys.argv[1:]]))
