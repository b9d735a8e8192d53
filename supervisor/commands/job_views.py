"""Jobs as `jobd jobs` shows them: a row for people, an object for programs. Nothing here asks Redis."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jobd.client.entry import JobEntry
from jobd.client.queues import QueueEntry
from jobd.client.sets import SetEntry
from jobd.supervisor.status_text import duration

Where = Literal["retry", "scheduled", "dead", "queue"]

HEADINGS: Mapping[Where, Sequence[str]] = {
    "retry": ("next", "failures", "jid", "queue", "job", "arguments", "error"),
    "scheduled": ("due", "jid", "queue", "job", "arguments"),
    "dead": ("died", "failures", "jid", "queue", "job", "arguments", "error"),
    "queue": ("waits", "jid", "job", "arguments"),
}
_ARGUMENTS = 40


def row(where: Where, entry: SetEntry | QueueEntry, now: float) -> list[str]:
    """The cells of one job at `now`, epoch seconds by the server's clock."""
    cells = {
        "jid": entry.jid,
        "queue": entry.queue,
        "job": entry.name or "(no job)",
        "arguments": entry.problem or arguments(entry),
        "failures": "-" if entry.retry_count is None else str(entry.retry_count + 1),
        "error": f"{entry.error_class}: {entry.error_message}" if entry.error_class else "-",
    }
    if isinstance(entry, SetEntry):
        time = cells["next"] = cells["due"] = until(entry.at - now)
        cells["died"] = time
    else:
        cells["waits"] = duration(entry.latency(now))
    return [cells[heading] for heading in HEADINGS[where]]


def until(seconds: float) -> str:
    """`in 5 min`, `3 h ago`; of an endless time `never`."""
    if not math.isfinite(seconds):
        return "never"
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def arguments(entry: JobEntry) -> str:
    """The arguments as in a call, cut."""
    shown = [json.dumps(value, ensure_ascii=False) for value in entry.args]
    shown += [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in entry.kwargs.items()]
    text = ", ".join(shown)
    return text if len(text) <= _ARGUMENTS else text[: _ARGUMENTS - 1] + "…"


def document(entry: JobEntry) -> dict[str, Any]:
    """All that is known of a job, times as epoch seconds; `raw` only of what is none."""
    found: dict[str, Any] = {
        "jid": entry.jid,
        "name": entry.name,
        "class": entry.class_name,
        "queue": entry.queue,
        "args": entry.args,
        "kwargs": entry.kwargs,
        "tags": entry.tags,
        "created_at": entry.created_at,
        "enqueued_at": entry.enqueued_at,
        "failed_at": entry.failed_at,
        "retried_at": entry.retried_at,
        "retry_count": entry.retry_count,
        "error_class": entry.error_class,
        "error_message": entry.error_message,
        "unknown_since": entry.unknown_since,
        "problem": entry.problem,
    }
    if isinstance(entry, SetEntry):
        # A set may hold infinity, which JSON cannot.
        found |= {"at": entry.at if math.isfinite(entry.at) else None, "key": entry.key}
    if entry.malformed:
        found["raw"] = entry.raw.decode("utf-8", "replace")
    return found
