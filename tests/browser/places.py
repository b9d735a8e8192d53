"""The addresses of all pages, and what on each of them its data must be seen to say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from jobd.web import site
from tests.browser.dashboards import Dashboard
from tests.client.api import payload

CHANGE = "0123456789abcdef"
NO_PAGES = frozenset({"/export"})
"""Addresses that answer with a file."""
PATTERNS = tuple(pattern for pattern, _, _ in (*site.PAGES, *site.BESIDES) if pattern not in NO_PAGES)
"""All pages of the site."""
OF_PARTS: dict[str, Callable[[Dashboard], str]] = {
    "/queues/": lambda dashboard: plain(dashboard, "/queues", "queues", "name"),
    "/jobs/": lambda dashboard: plain(dashboard, "/retries", "jobs", "jid"),
    "/busy/": lambda dashboard: plain(dashboard, "/busy", "processes", "identity"),
    "/cron/": lambda dashboard: plain(dashboard, "/cron", "entries", "name"),
    "/metrics/": lambda dashboard: plain(dashboard, "/metrics", "classes", "class"),
    "/bulk/": lambda dashboard: change_of_many(dashboard),
    "/undo/": lambda dashboard: deletion(dashboard),
}
"""What stands for the part of an address that follows."""
SAID = frozenset(
    {
        *("class", "name", "queue", "args", "error_class", "identity", "hostname", "cron", "words", "paused_by"),
        *("action", "description", "user"),
    }
)
"""Fields whose text a page shows as it is."""
COUNTED = frozenset({"size", "processed", "failed", "busy", "enqueued", "retries", "scheduled", "dead"})
"""Fields whose number a page shows, with commas."""


def path_of(pattern: str, dashboard: Dashboard) -> str:
    """An address that stands for all of a pattern; fails for one that it does not know."""
    path, part, _ = pattern.partition("{")
    if path == "/edit":
        return form_of_a_job(dashboard)
    if not part:
        return path
    assert path in OF_PARTS, f"{pattern}: say in tests/browser/places.py what stands for its part"
    return path + OF_PARTS[path](dashboard)


def plain(dashboard: Dashboard, path: str, rows: str, field: str) -> str:
    """Of the rows of a list the first whose name is as plain as most, the largest queue before others."""
    found = sorted(dashboard.api(path)[rows], key=lambda row: -row.get("size", 0))
    return next((row[field] for row in found if re.fullmatch(r"[\w:.-]+", row[field])), "none")


def change_of_many(dashboard: Dashboard) -> str:
    """The id of a change of many jobs that has ended."""
    fields = {"action": "delete", "place": "retries", "q": "class:ChargeCard", "user": "ann", "of": 3, "state": "done"}
    counts = {"moved": 3, "gone": 0, "looked_at": 3, "started_at": time.time() - 9, "beat": time.time() - 5}
    dashboard.redis.hset(f"jobd:bulk:{CHANGE}", mapping={**fields, **counts})
    return CHANGE


def deletion(dashboard: Dashboard) -> str:
    """The id of a deletion that can be taken back."""
    told = {"at": time.time() - 60, "user": "ann", "places": [["dead", ""], ["queue", "mail"]]}
    dashboard.redis.hset("jobd:trash", CHANGE, json.dumps({**told, "deleted": 3, "kept": 2, "bytes": 99}))
    for number in range(2):
        dashboard.redis.zadd(f"jobd:trash:{CHANGE}:{number}", {payload(f"deleted{number}"): time.time() - 60})
    return CHANGE


def form_of_a_job(dashboard: Dashboard) -> str:
    """The form of a job that may be edited; one is put there where there is none."""
    for place in ("scheduled", "dead", "retries"):
        for job in dashboard.api(f"/{place}")["jobs"][:5]:
            where = f"in={place}&key={quote(job['key'])}"
            if dashboard.api(f"/jobs/{quote(job['jid'] or '-', safe='')}?{where}")["not_edited"] == "" and job["jid"]:
                return f"/edit?{where}"
    dashboard.redis.zadd("schedule", {payload("editable"): 4_000_000_000.0})
    return form_of_a_job(dashboard)


def data_of(dashboard: Dashboard, path: str) -> Any:
    """What the interface for programs tells of a page."""
    return dashboard.api("/overview" if path == "/" else path)


def said(data: Any, name: str = "") -> Iterator[str]:
    """All texts and numbers of a page's data that it has to show."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "typed":  # it stands in fields
                continue
            if key != "args" or not data.keys() & {"arguments", "post"}:  # else they are shown at length, or in a field
                yield from said(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from said(value, name)
    elif isinstance(data, str) and name in SAID and 0 < len(data) <= 80:
        yield data
    elif isinstance(data, int) and not isinstance(data, bool) and name in COUNTED:
        yield f"{data:,}"
