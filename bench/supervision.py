"""What supervision costs: an idle master's CPU time and memory, the start of a child, and a thousand children in a row.

The children have no application, and Redis is a server of its own. Aims: an idle master below 0.2 % of a core and 25 MB
of memory (its proportional share), and a child ready 150 ms after the fork.

    python bench/supervision.py [--seconds N] [--restarts N] [--processes N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from jobd.supervisor.store import Store

READY_SECONDS = 60.0
STARTS = 20
"""Children of which the time from fork to ready is taken."""


class Running:
    """A jobd in the foreground, its files in `directory`."""

    def __init__(self, directory: Path, redis_url: str, **settings: Any) -> None:
        self._log = directory / "jobd.log"
        self._log.unlink(missing_ok=True)
        self.processes: int = settings["processes"]
        config = directory / "jobd.yml"
        given = {"redis_url": redis_url, "logfile": str(self._log), "logformat": "json", "restart_probe": 0}
        config.write_text(json.dumps({**given, **settings}))
        self._process = subprocess.Popen([sys.executable, "-m", "jobd", "-C", str(config)], cwd=directory)
        self.wait_for("master.ready", 1)

    @property
    def master(self) -> psutil.Process:
        """The master."""
        return psutil.Process(self._process.pid)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under this name."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def wait_for(self, name: str, count: int) -> None:
        """Wait until an event was logged so often."""
        deadline, pause = time.monotonic() + READY_SECONDS, threading.Event()
        while len(self.events(name)) < count:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"not {count} × {name}:\n{self._log.read_text()}")
            pause.wait(0.02)

    def replace_all(self) -> None:
        """One rolling restart, and the end of the old children."""
        done, ended = len(self.events("restart.ended")), len(self.events("child.ended"))
        self.master.send_signal(signal.SIGUSR2)
        self.wait_for("restart.ended", done + 1)
        self.wait_for("child.ended", ended + self.processes)

    def stop(self) -> None:
        """TERM, and wait."""
        self._process.terminate()
        self._process.wait(READY_SECONDS)


def memory(pid: int) -> dict[str, float]:
    """What a process holds, in megabytes: all of it, its share, and what it shares with nobody."""
    found = psutil.Process(pid).memory_full_info()
    return {name: round(getattr(found, name) / 2**20, 2) for name in ("rss", "pss", "uss")}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with one thread; `times` would count in hundredths of a second."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def idle(jobd: Running, seconds: float) -> dict[str, Any]:
    """Memory of the master, and its CPU time while nothing happens, in percent of a core."""
    before = cpu_seconds(jobd.master.pid)
    threading.Event().wait(seconds)
    used = cpu_seconds(jobd.master.pid) - before
    children = [memory(child.pid)["pss"] for child in jobd.master.children()]
    return {"cpu %": round(100 * used / seconds, 3), "MB": memory(jobd.master.pid), "MB pss of a child": children}


def start_times(jobd: Running) -> dict[str, float]:
    """Milliseconds from the fork of a child until it is ready."""
    for _ in range(-(-STARTS // jobd.processes)):
        jobd.replace_all()
    started = {event["child"]: _moment(event) for event in jobd.events("child.started")}
    ready = {event["pid"]: _moment(event) for event in jobd.events("process.ready")}
    taken = [1000 * (ready[pid] - began) for pid, began in started.items()][-STARTS:]
    return dict(zip(("min", "median", "max"), _spread(taken), strict=True))


def restarts(jobd: Running, count: int) -> dict[str, Any]:
    """Descriptors and memory of the master before and after so many children were replaced."""
    before, begun = _holds(jobd.master), time.monotonic()
    for _ in range(-(-count // jobd.processes)):
        jobd.replace_all()
    seconds = time.monotonic() - begun
    children = -(-count // jobd.processes) * jobd.processes
    return {"children": children, "seconds": round(seconds, 1), "before": before, "after": _holds(jobd.master)}


def _holds(master: psutil.Process) -> dict[str, Any]:
    return {"descriptors": len(os.listdir(f"/proc/{master.pid}/fd")), "MB": memory(master.pid)}


def _moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["ts"]).timestamp()


def _spread(values: list[float]) -> list[float]:
    return [round(f(values), 1) for f in (min, statistics.median, max)]


@contextmanager
def running(directory: Path, redis_url: str, **settings: Any) -> Iterator[Running]:
    """A jobd that is stopped in the end."""
    jobd = Running(directory, redis_url, **settings)
    try:
        yield jobd
    finally:
        jobd.stop()


def measure(directory: Path, redis_url: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    figures: dict[str, Any] = {}
    with running(directory, redis_url, processes=options.processes) as jobd:
        figures["idle"] = idle(jobd, options.seconds)
        figures["ms from fork to ready"] = start_times(jobd)
    with running(directory, redis_url, processes=options.processes, metrics=f"{directory}/m.sock") as jobd:
        figures["idle with metrics"] = idle(jobd, options.seconds)
    with running(directory, redis_url, processes=4, log_level="info") as jobd:
        jobd.replace_all()
        figures["restarts"] = restarts(jobd, options.restarts)
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures that have an aim, for people."""
    rows = [("", "measured", "aim")]
    for name in ("idle", "idle with metrics"):
        rows.append((f"{name}: CPU of the master", f"{figures[name]['cpu %']} %", "0.2 %"))
        rows.append((f"{name}: memory of the master (PSS)", f"{figures[name]['MB']['pss']} MB", "25 MB"))
    rows.append(("a child from fork to ready", f"{figures['ms from fork to ready']['median']} ms", "150 ms"))
    made = figures["restarts"]
    for what, unit in (("descriptors", ""), ("rss", " MB"), ("pss", " MB")):
        before, after = (state.get(what, state["MB"].get(what)) for state in (made["before"], made["after"]))
        rows.append((f"{what} over {made['children']} children", f"{before} → {after}{unit}", "the same"))
    return "\n".join(f"{name:<48}{measured:<20}{aim}" for name, measured, aim in rows)


def main() -> int:
    """Measure; print one JSON object and, on standard error, a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long an idle master is watched")
    parser.add_argument("--restarts", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store")
        store.start()
        try:
            figures = measure(Path(name), store.address.url, options)
        finally:
            store.stop()
    result = {"machine": platform.platform(), "python": platform.python_version(), **figures}
    json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
    print()
    print(table(figures), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
