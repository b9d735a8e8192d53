"""The command line of every Python producer: `APP.py fill JSON` and `APP.py stamps JSON`.

`fill` pushes `repeat` times the jobs of `jobs`, a list of [count, name, args]; `bulk` pushes each count at once. It
prints what it took. `stamps` pushes `count` jobs, about `gap` seconds apart, that are due `delay` seconds later, with
the time at which they are due as argument.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Push = Mapping[str, Callable[..., object]]
Bulk = Callable[[str, list[list[Any]]], object]
Later = Callable[[float, str, list[Any]], object]
"""Pushes a job that is due in so many seconds."""


def fill(push: Push, bulk: Bulk | None, spec: Mapping[str, Any]) -> None:
    """Push, and print jobs, seconds and CPU seconds."""
    jobs, started, cpu = 0, time.perf_counter(), time.process_time()
    for _ in range(spec["repeat"]):
        for count, name, args in spec["jobs"]:
            if bulk is not None and spec["bulk"]:
                for first in range(0, count, 1_000):
                    bulk(name, [args] * min(1_000, count - first))
            else:
                for _ in range(count):
                    push[name](*args)
            jobs += count
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"jobs": jobs, "seconds": seconds, "cpu": cpu}))


def stamps(push: Push, later: Later | None, spec: Mapping[str, Any]) -> None:
    """Push one job after the other, each at its time, and print the seconds that all took."""
    push["nothing"](0)  # connects
    due = started = time.monotonic()
    for _ in range(spec["count"]):
        due += spec["gap"] * random.uniform(0.5, 1.5)
        time.sleep(max(0.0, due - time.monotonic()))
        if later is not None and spec["delay"]:
            later(spec["delay"], "stamp", [time.monotonic() + spec["delay"]])
        else:
            push["stamp"](time.monotonic())
    print(json.dumps({"seconds": time.monotonic() - started}))


def main(push: Push, bulk: Bulk | None = None, later: Later | None = None) -> None:
    """Do what the command line says."""
    command, spec = sys.argv[1], json.loads(sys.argv[2])
    if command == "fill":
        fill(push, bulk, spec)
    else:
        stamps(push, later, spec)
