"""The addresses of all pages, and what on each of them its data must be seen to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobd.web import site
from tests.browser.dashboards import Dashboard

OF_PARTS = {
    "/cron/{name:path}": "/cron/stock_sync",
    "/metrics/{name:path}": "/metrics/SyncStock",
    "{name:path}": "reports",
    "{jid:path}": "{jid}",
    "{identity:path}": "{identity}",
}
"""What stands for the part of an address that names a queue, a job, a process, an entry of the cron, or a class."""
SAID = frozenset(
    {
        *(
            "class",
            "name",
            "queue",
            "args",
            "error_class",
            "identity",
            "hostname",
            "cron",
            "words",
            "paused_by",
            "user",
        ),
        *("label", "action", "description"),
    }
)
"""Fields whose text a page shows as it is."""
COUNTED = frozenset({"size", "processed", "failed", "busy", "enqueued", "retries", "scheduled", "dead"})
"""Fields whose number a page shows, with commas."""


def paths(dashboard: Dashboard) -> list[str]:
    """One address for each page of the site, the job's being a retry. Fails for a page that it does not know."""
    return [path_of(pattern, dashboard) for pattern, _, _ in site.PAGES]


def path_of(pattern: str, dashboard: Dashboard) -> str:
    """The address that stands for all of a pattern."""
    known = {"jid": dashboard.api("/retries")["jobs"][0]["jid"], "identity": dashboard.jobd.identities[0]}
    for part, value in OF_PARTS.items():
        pattern = pattern.replace(part, value.format(**known))
    assert "{" not in pattern, f"{pattern}: say in tests/browser/places.py what stands for its part"
    return pattern


def data_of(dashboard: Dashboard, path: str) -> Any:
    """What the interface for programs tells of a page."""
    return dashboard.api("/overview" if path == "/" else path)


def said(data: Any, name: str = "") -> Iterator[str]:
    """All texts and numbers of a page's data that it has to show."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key != "args" or "arguments" not in data:  # else they are shown at length
                yield from said(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from said(value, name)
    elif isinstance(data, str) and name in SAID and 0 < len(data) <= 80:
        yield data
    elif isinstance(data, int) and not isinstance(data, bool) and name in COUNTED:
        yield f"{data:,}"
