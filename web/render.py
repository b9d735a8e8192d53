"""Makes pages of what is to be shown: templates that escape everything, and how numbers and times are written."""

from __future__ import annotations

import hashlib
import math
import re
import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from jobd.client import defaults
from jobd.client.version import VERSION
from jobd.web import assets
from jobd.web.charts import plot, spark, steps
from jobd.web.context import Context, View
from jobd.web.documents import as_json
from jobd.web.engine import Engine, shown, within
from jobd.web.filters import narrowed
from jobd.web.queue_courses import flow
from jobd.web.settings import SETTINGS, toggled
from jobd.web.text import LANGUAGES

_HERE = Path(__file__).parent
_TIMES = re.compile(r"(<time[^>]*>)[^<]*")
_JID = re.compile(r"[0-9a-f]{24}")
_UNDO = re.compile(r"[0-9a-f]{16}")
_LONGEST = 200
"""Characters of a value that is searched for by a click."""
PAGES = (
    ("/", "Dashboard", "", "◉"),
    ("/queues", "Queues", "enqueued", "▤"),
    ("/busy", "Busy", "busy", "▶"),
    ("/retries", "Retries", "retries", "↻"),
    ("/scheduled", "Scheduled", "scheduled", "◷"),
    ("/dead", "Dead", "dead", "✕"),
    ("/failures", "Failures", "", "⚑"),
    ("/cron", "Cron", "", "⟳"),
    ("/metrics", "Metrics", "", "∿"),
    ("/redis", "Redis", "", "▦"),
    ("/activity", "Activity", "", "✎"),
)
"""Of the menu: path, title, which total stands beside it, and its glyph."""
KEYS = {
    "/": "o",
    "/queues": "q",
    "/busy": "b",
    "/retries": "r",
    "/scheduled": "s",
    "/dead": "d",
    "/failures": "c",
    "/cron": "t",
    "/metrics": "m",
    "/redis": "i",
    "/activity": "a",
}
"""The key that leads to a page, after `g`."""
ON_PHONES = ("/", "/queues", "/busy", "/retries", "/dead")
"""The pages of the bar at the bottom; the others are behind its last place."""
MESSAGES = {
    "retry": "Put into their queues: {moved}.",
    "reschedule": "Given another time: {moved}.",
    "stop_bulk": "Told to stop after the portion at which it is.",
    "enqueue": "Put into their queues: {moved}.",
    "kill": "Moved to the dead set: {moved}.",
    "delete": "Deleted: {moved}.",
    "clear": "Deleted: {moved}.",
    "pause": "The queue is paused.",
    "resume": "The queue is resumed.",
    "resume_process": "Told to take jobs again, with the next heartbeat.",
    "limits": "The alert limits are set.",
    "front": "Moved to the front: {moved}.",
    "move": "Moved to the other queue: {moved}.",
    "copy": "Enqueued again: {moved}.",
    "pause_many": "Paused: {moved}.",
    "resume_many": "Resumed: {moved}.",
    "quiet": "Told to take no more jobs, with the next heartbeat.",
    "stop": "Told to stop, with the next heartbeat.",
    "dump": "Told to log what its threads do, with the next heartbeat.",
    "stacks": "Asked for its stacks.",
    "concurrency": "Told to have so many threads, with the next heartbeat.",
    "cancel": "Asked to cancel it: it is interrupted with the next heartbeat of its process.",
    "enable": "The entry is enabled.",
    "disable": "The entry is disabled.",
    "skip": "The next run is skipped.",
    "unskip": "The next run is not skipped any more.",
    "run": "The job was pushed.",
    "mute": "The cause is muted until it has more jobs.",
    "unmute": "The cause is not muted any more.",
    "waves": "Put into waves: {moved}.",
    "delete_entry": "The entry is deleted.",
    "create_entry": "The entry is made.",
    "edit_entry": "The entry is saved.",
    "enable_all": "Entries enabled: {moved}.",
    "disable_all": "Entries disabled: {moved}.",
    "edit": "Pushed as a new job:",
    "undo": "Put back: {moved}.",
}
COUNTS = {
    "gone": "Gone by then: {gone}.",
    "malformed": "Left, as they are no jobs: {malformed}.",
    "dropped": "The dead set dropped its oldest: {dropped}.",
    "final": "Of these for good, as there was no room to keep them: {final}.",
    "left": "Left, as they are of other queues than yours: {left}.",
}

RESULTS = frozenset({"did", "moved", "pushed", "undo", *COUNTS})
"""Parameters of a page that tell what came of a change."""


@cache
def _environment() -> Engine:
    environment = Engine(_HERE / "templates")
    environment.globals |= {
        "plotted": plot,
        "sparked": spark,
        "stepped": steps,
        "narrowing": Narrowing,
        "toggled": toggled,
        "trash_jobs": defaults.TRASH_JOBS,
        "trash_bytes": defaults.TRASH_BYTES,
    }
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "duration": duration,
        "moment": moment,
        "iso": iso,
        "digest": digest,
        "json": lambda value: as_json(value, indent=2),
        "size": size,
        "percent": percent,
        "short": short,
        "change": change,
        "flow": flow,
        "within": within,
    }
    return environment


class Narrowing:
    """Links that narrow a list, which is at `base` and shows what `q` finds, to a value that stands in it."""

    def __init__(self, base: str, q: str) -> None:
        # Of the page itself the query alone will do: there are five such links in a row.
        self._base, self._q = f"{base}&" if "?" in base else "?", q
        self._made: dict[tuple[str, str], str] = {}

    def __call__(self, field: str, value: str) -> str:
        """The link of one value of a field; what was cut, or is too long to be searched for, is only shown."""
        if (found := self._made.get((field, value))) is None:
            found = self._made[field, value] = self._make(field, value)
        return found

    def _make(self, field: str, value: str) -> str:
        if len(value) > _LONGEST or "…" in value:
            return value
        query = urlencode({"q": narrowed(self._q, field, value)}, safe=":", errors="surrogateescape")
        return Markup(f'<a href="{shown(self._base + query)}">{shown(value)}</a>')


def duration(seconds: float) -> str:
    """About how long, for people: to two digits at least, and never as nothing what is something."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return "0 s" if seconds == 0 else "<1 ms" if seconds < 0.001 else f"{seconds * 1000:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, length, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length:,} {unit}" + (f" {rest} {smaller}" if rest and whole < 100 * length else "")
    return f"{whole} s"


@lru_cache(maxsize=4_096)
def moment(at: float) -> str:
    """A time in UTC; what is no time of this world is shown as the number that it is."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return repr(at)


@lru_cache(maxsize=4_096)
def iso(at: float) -> str:
    """A time for scripts; empty for what is no time of this world."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def size(count: float) -> str:
    """So many bytes, in powers of 1,024, to two digits at least."""
    if abs(count) < 1024:
        return f"{count:,.0f} B"
    for unit in ("KB", "MB", "GB", "TB"):
        count /= 1024
        if abs(count) < 1023.5 or unit == "TB":
            break
    return f"{count:,.1f} {unit}" if abs(count) < 99.95 else f"{count:,.0f} {unit}"


def percent(share: float) -> str:
    """A share of 1; what is not none, or not all, is not shown as if it were."""
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def change(now: float | None, before: float | None) -> str:
    """By how much of it something has changed; a dash where there was nothing."""
    if now is None or not before:
        return "–"
    changed = round((now - before) / before * 100)
    return f"{changed:+,} %" if changed else "±0 %"


def short(text: str) -> str:
    """A short name of a text that can stand in an id: the same for the same text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def message(ctx: Context) -> str:
    """What came of a change, from the query of the page to which it led."""
    done = MESSAGES.get(ctx.query.get("did", ""))
    if done is None:
        return ""
    counts = {name: min(int(text), 10**12) for name, text in ctx.query.items() if text.isascii() and text.isdigit()}
    parts = [done] if "{moved}" not in done or "moved" in counts else []
    parts += [text for name, text in COUNTS.items() if counts.get(name)]
    return " ".join(ctx.t(part, **counts) for part in parts)


def pushed(ctx: Context) -> str:
    """The id of the job that a change has pushed, from the same query."""
    found = ctx.query.get("pushed", "")
    return found if ctx.query.get("did") == "edit" and _JID.fullmatch(found) else ""


def undo(ctx: Context) -> str:
    """The id under which what was just deleted can be put back, from the same query."""
    found = ctx.query.get("undo", "")
    return found if "delete" in ctx.allowed and _UNDO.fullmatch(found) else ""


def heading_figures(ctx: Context) -> dict[str, Any]:
    """The figures at the head of a page, and how many things need attention."""
    totals = ctx.read_totals()
    return {**totals.document(), "attention": ctx.shared.attention(totals)}


def digest(html: str) -> str:
    """Tells content from other content; how long ago things were makes no difference."""
    # A plain str: Markup would escape what is put together.
    return hashlib.sha256(_TIMES.sub(r"\1", str(html)).strip().encode()).hexdigest()[:16]


def page(view: View, ctx: Context, stream: str = "", problem: str = "") -> str:
    """The HTML of a page; `stream` is the address that keeps it up to date.

    With `problem` it is what was read last, and says why nothing newer is to be had.
    """
    return _render(view, ctx, stream=stream, problem=problem)


def part(view: View, ctx: Context) -> str:
    """The content of a page alone."""
    return _render(view, ctx, part=True)


def _render(view: View, ctx: Context, *, part: bool = False, stream: str = "", problem: str = "") -> str:
    values: dict[str, Any] = {"now": ctx.totals.now if ctx.totals else None, **view.data}
    return (
        _environment()
        .get_template(view.template)
        .render(
            values,
            ctx=ctx,
            _=ctx.t,
            url=ctx.url,
            asset=lambda name: ctx.base + assets.address(name),
            title=ctx.t(view.title),
            only_content=part,
            live_from=stream,
            menu=[each for each in PAGES if each[0] != "/activity" or "audit" in ctx.allowed],
            shortcuts=KEYS,
            on_phones=ON_PHONES,
            figures=heading_figures(ctx) if ctx.totals and not part else None,
            message="" if part else message(ctx),
            pushed="" if part else pushed(ctx),
            undoing="" if part else undo(ctx),
            problem=problem,
            moment_now=time.time(),
            languages=LANGUAGES,
            choices=SETTINGS,
            version=VERSION,
        )
    )
