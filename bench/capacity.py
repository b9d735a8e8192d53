"""How many worker processes take jobs while all of them are replaced again and again.

A hundred times a second the master is asked while jobs of 1 to 20 ms come all the time: during rolling restarts, and
while processes are recycled for their memory and for the number of their jobs. Prints JSON and a table.

    python -m bench.capacity [--seconds N] [--processes N]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.servers import RedisServer
from tests.supervisor.capacity import Load, Samples
from tests.supervisor.jobd_command import Jobd

JOBS_PER_SECOND = 200
FIGURES = ("samples", "accepting_min", "accepting_median", "living_max", "replaced", "jobs", "lost", "doubled")


def restart_again(jobd: Jobd) -> None:
    """One rolling restart."""
    jobd.ctl("restart", "--wait")


def leak(jobd: Jobd) -> None:
    """Have one process need more memory."""
    jobd.push("leak", 20)
    threading.Event().wait(0.05)


def wait(jobd: Jobd) -> None:
    """The load does it."""
    threading.Event().wait(0.1)


SCENES: dict[str, tuple[Callable[[Jobd], None], dict[str, Any]]] = {
    "rolling restart": (restart_again, {"restart_probe": 0.5}),
    "max_memory": (
        leak,
        {
            "max_memory": "150MB",
            "constants": {
                "jobd.supervisor.health.MEMORY_INTERVAL": 0.1,
                "jobd.supervisor.master.TICK": 0.1,
                "jobd.supervisor.memory.FIRST_PAUSE": 0.0,
            },
        },
    ),
    "max_jobs": (wait, {"max_jobs": 50}),
}


def measure(scene: str, seconds: float, processes: int) -> dict[str, float]:
    """The figures of one scene, which lasts for so many seconds."""
    act, settings = SCENES[scene]
    quick = {"require": ["ledger_jobs", "turnover_jobs"], "pidfile": "jobd.pid", "concurrency": 3, "timeout": 2}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer())
        jobd = stack.enter_context(Jobd(directory, server.url, **{**quick, **settings, "processes": processes}))
        load = stack.enter_context(Load(jobd, JOBS_PER_SECOND))
        with Samples(jobd) as samples:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                act(jobd)
        lost, doubled = load.count_lost_and_doubled()
        replaced = jobd.count("child.replaced")
        jobd.stop()
    return {**samples.figures, "replaced": replaced, "jobs": load.pushed, "lost": lost, "doubled": doubled}


def print_table(results: dict[str, dict[str, float]]) -> None:
    """One line for each scene."""
    print(f"{'':16}" + "".join(f"{name.replace('_', ' '):>18}" for name in FIGURES))
    for scene, figures in results.items():
        print(f"{scene:16}" + "".join(f"{figures[name]:18g}" for name in FIGURES))


def main() -> int:
    """Measure each scene; exits with 1 if any cost capacity or jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    results = {scene: measure(scene, options.seconds, options.processes) for scene in SCENES}
    machine = {"machine": platform.platform(), "python": platform.python_version(), "processes": options.processes}
    print(json.dumps({**machine, **results}, indent=2))
    print_table(results)
    cost = [
        scene
        for scene, figures in results.items()
        if figures["accepting_min"] < options.processes or figures["lost"] or figures["doubled"]
    ]
    return 1 if cost else 0


if __name__ == "__main__":
    sys.exit(main())
