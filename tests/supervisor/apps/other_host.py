"""Imported before `jobd` runs: from now on this process takes itself for one of another machine."""

from __future__ import annotations

from jobd.worker import host

host._boot = lambda: "the boot of another machine"
