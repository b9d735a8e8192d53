"""Queues, processes and totals as commands show them: tables for people, objects for programs.

Nothing here asks Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jobd.client.processes import Process
from jobd.client.queues import Pause
from jobd.client.stats import QueueSummary, Stats
from jobd.supervisor.commands.output import Style, table
from jobd.supervisor.status_text import duration

TOTALS = ("processed", "failed", "busy", "processes", "enqueued", "scheduled", "retries", "dead")
LATE = 30.0
"""Seconds without a heartbeat after which a process is marked; one is due every 10 s."""


def totals(stats: Stats, rates: Mapping[str, float] | None = None) -> str:
    """A line for each figure, with `rates` by the second where they are known."""
    width = max(map(len, TOTALS))
    lines = []
    for name in TOTALS:
        rate = "" if rates is None or name not in rates else f"  {rates[name]:,.1f}/s"
        lines.append(f"{name:>{width}}  {getattr(stats, name):,}{rate}")
    return "\n".join(lines)


def totals_document(stats: Stats) -> dict[str, Any]:
    """The same for programs, with the queues."""
    queues = [asdict(queue) for queue in stats.queues]
    return {
        **{name: getattr(stats, name) for name in TOTALS},
        "default_latency": stats.default_latency,
        "queues": queues,
    }


def queue_table(queues: Sequence[QueueSummary], pauses: Mapping[str, Pause], now: float, style: Style) -> str:
    """A row for each queue; `pauses` tells by whom those were paused that are, as far as it is known."""
    if not queues:
        return "no queues"
    rows = [
        (queue.name, f"{queue.size:,}", duration(queue.latency), _paused(queue, pauses.get(queue.name), now))
        for queue in queues
    ]
    return table(("queue", "size", "latency", ""), rows, style, right=("size", "latency"))


def _paused(queue: QueueSummary, pause: Pause | None, now: float) -> str:
    if not queue.paused:
        return ""
    by = f" by {pause.by}" if pause and pause.by else ""
    since = f", {duration(max(now - pause.at, 0))} ago" if pause and pause.at else ""
    return f"paused{by}{since}"


def process_table(processes: Sequence[Process], now: float, style: Style) -> str:
    """A row for each process at `now`, epoch seconds."""
    if not processes:
        return "no processes"
    rows = [
        (
            process.identity,
            process.tag or "-",
            f"{process.busy} of {process.concurrency}",
            f"{process.rss / 1024:,.0f} MB",
            duration(max(now - process.started_at, 0)) if process.started_at else "-",
            duration(max(now - process.beat, 0)),
            state(process, now),
            ", ".join(process.queues),
        )
        for process in processes
    ]
    headings = ("process", "tag", "busy", "memory", "up", "beat", "state", "queues")
    lines = table(headings, rows, style, right=("busy", "memory", "up", "beat")).split("\n")
    marks = [False, *(state(process, now) != "running" for process in processes)]
    return "\n".join(style.warning(line) if mark else line for line, mark in zip(lines, marks, strict=True))


def state(process: Process, now: float) -> str:
    """Running, quiet, or late with its heartbeat."""
    if now - process.beat > LATE:
        return "late"
    return "quiet" if process.quiet else "running"


def process_document(process: Process) -> dict[str, Any]:
    """The same for programs; `rss` in KiB, times as epoch seconds."""
    return asdict(process)
