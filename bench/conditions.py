"""On what a run measures: the machine, the versions, and which systems cannot run there."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.server import Server
from bench.systems import System


def merged(
    earlier: Mapping[str, Any],
    server: Server,
    chosen: Sequence[System],
    asked: Sequence[str],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """The conditions of a run with `chosen` of the systems `asked` for, beside what earlier results say of others."""
    left_out = {name: why for name, why in earlier.get("left out", {}).items() if name not in asked}
    return {
        "machine": machine(),
        "versions": {**earlier.get("versions", {}), **versions(server, chosen)},
        "left out": {**left_out, **missing},
    }


def machine() -> dict[str, str]:
    """Where this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": f"{psutil.cpu_count()} × {models[0] if models else platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.platform(terse=True),
    }


def versions(server: Server, chosen: Sequence[System]) -> dict[str, str]:
    """What was measured."""
    found = {"server": f"{server.version}, no persistence, loopback", "Python": platform.python_version()}
    if any(system.producer[0] == "ruby" for system in chosen):
        done = subprocess.run(["ruby", "--version"], capture_output=True, text=True, check=True)
        found["Ruby"] = done.stdout.split()[1]
    found |= {name: version(name) for name in ("redis", "hiredis", "msgspec")}
    return found | {system.name.partition(",")[0]: system.version for system in chosen if system.name[:5] != "redis"}
