"""What a running jobd does, in lines for people, from the answer to `jobd ctl status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SHOWN_ENDS = 3
_HEADINGS = ("slot", "pid", "state", "generation", "busy", "jobs", "memory", "pulse", "up", "longest job")
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 24 * 3600.0


def describe(status: Mapping[str, Any]) -> str:
    """One line on the whole, on Redis, on the dashboard if there is any, on each child and each of the last ends."""
    children = status["children"]
    rows = [_HEADINGS, *map(_child_row, children)] if children else []
    served = [_web_line(status["web"])] if "web" in status else []
    return "\n".join([_first_line(status), _redis_line(status), *served, *_table(rows), *_ends(status["ends"])])


def duration(seconds: float) -> str:
    """About how long: two digits are enough to judge by."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length, below in (("s", 1.0, 2 * _MINUTE), ("min", _MINUTE, 2 * _HOUR), ("h", _HOUR, 2 * _DAY)):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / _DAY:.0f} d"


def _first_line(status: Mapping[str, Any]) -> str:
    processes, threads = status["processes"], status["threads"]
    busy, idle = threads["busy"], threads["idle"]
    state = "" if status["state"] == "running" else f", {status['state']}"
    restarting = f", restarting (generation {status['generation']})" if status["restarting"] else ""
    return printable(
        f"jobd {status['version']} [{status['tag']}], master {status['pid']}{state}{restarting}: "
        f"{processes['ready']} of {processes['wanted']} processes ready, {busy} of {busy + idle} threads busy, "
        f"up {duration(status['uptime'])}"
    )


def _redis_line(status: Mapping[str, Any]) -> str:
    seen, orphans = status["redis_seen_ago"], status["orphans"]
    text = "Redis has not answered yet" if seen is None else f"Redis answered {duration(seen)} ago"
    return f"{text}; {orphans} dead processes are still to be recovered" if orphans else text


def _web_line(served: Mapping[str, Any]) -> str:
    if not served["listening"]:
        return printable(f"the dashboard cannot listen on {served['address']}; the log says why")
    by = f"process {served['pid']}" if served["pid"] else "a process that is about to start"
    return printable(f"the dashboard is at {served['address']}, served by {by}")


def _child_row(child: Mapping[str, Any]) -> tuple[str, ...]:
    running, pulse, memory = child["running"], child["pulse_ago"], child["memory"]
    longest = max(running, key=lambda job: job["seconds"], default=None)
    return (
        str(child["slot"]),
        str(child["pid"]),
        child["state"],
        str(child["generation"]),
        f"{len(running)} of {child['threads']}",
        str(child["jobs"]),
        "-" if memory is None else f"{memory / 1024**2:.0f} MB",
        "-" if pulse is None else f"{duration(pulse)} ago",
        duration(child["uptime"]),
        f"{longest['jid']} for {duration(longest['seconds'])}" if longest else "-",
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=False)]
        yield printable("  ".join(["", *cells, row[-1]]))


def _ends(ends: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for end in sorted(ends, key=lambda each: each["ago"])[:_SHOWN_ENDS]:
        jobs = f", with {' '.join(end['jobs'])}" if end["jobs"] else ""
        yield printable(
            f"ended {duration(end['ago'])} ago: slot {end['slot']}, pid {end['pid']}, "
            f"{end['reason']} ({end['cause']}){jobs}"
        )


def printable(text: str) -> str:
    """`text` with escapes in the place of what a terminal would obey; jids come from whoever pushes."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
