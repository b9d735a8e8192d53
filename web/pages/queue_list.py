"""All queues: how full each is, how it goes, who takes from it; sorted, as a tree; pausing several at once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobd.client.queue_history import Course
from jobd.client.queue_limits import USUAL, Limits
from jobd.client.queues import Queue
from jobd.client.scripts import raw_bytes
from jobd.web import queue_limits
from jobd.web.consumers import NOBODY, Consumers, latest_consumers
from jobd.web.context import BadRequest, Context, Done, OutOfReach, View
from jobd.web.pages.many import MOST_NAMED
from jobd.web.pages.queues import ask_pauses
from jobd.web.questions import name_of
from jobd.web.queue_courses import Going, ask_courses, drains, going
from jobd.web.totals import Totals

QUEUES = 40
"""Rows on a page."""
ORDERS = ("asc", "desc")
_DELIMITER = re.compile(r"[:.-]")
_HEX = "hex:"


@dataclass(slots=True)
class Row:
    """A queue, or with `queues` a group of them whose figures are added up: `latency` is that of the slowest."""

    name: str
    size: int
    latency: float
    paused: int
    takers: Consumers = NOBODY
    going: Going | None = None
    limits: Limits = USUAL
    queues: list[Row] = field(default_factory=list)

    @property
    def over(self) -> int:
        """How many of its alert limits it is over; of a group, how many of its queues are over one."""
        if self.queues:
            return sum(1 for row in self.queues if row.over)
        return len(self.limits.exceeded(self.size, self.latency))

    @property
    def future(self) -> tuple[str, float | None]:
        """What becomes of it, and when it is empty."""
        grown = self.going.grown if self.going else None
        return drains(self.size, self.paused >= max(len(self.queues), 1), grown)

    @property
    def end(self) -> float | None:
        """The same as a number to sort by."""
        future, seconds = self.future
        return {"grows": math.inf, "unknown": None}.get(future, 1e18 if seconds is None else seconds)


COLUMNS: Mapping[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name,
    "size": lambda row: row.size,
    "latency": lambda row: row.latency,
    "added": lambda row: row.going.added if row.going else None,
    "taken": lambda row: row.going.taken if row.going else None,
    "eta": lambda row: row.end,
    "failure_rate": lambda row: row.going.failure_rate if row.going else None,
    "threads": lambda row: row.takers.threads,
    "state": lambda row: (row.paused, row.over),
}
"""What the queues can be sorted by."""


def show(ctx: Context) -> View:
    """Show the queues, the fullest first unless another order is asked for."""
    offset, (sort, order) = ctx.number("offset"), _order(ctx)
    notes, courses = ctx.ask(ask_pauses(ctx), ask_courses(ctx.access))
    totals = ctx.read_totals()
    takers = latest_consumers(totals.processes)
    rows = _rows(ctx, totals, takers, courses)
    tree, opened = ctx.query.get("tree") == "1", ctx.query.get("open", "")
    listed = _laid_out(_grouped(rows) if tree else rows, sort, order, opened if tree else "")
    after = offset + QUEUES if offset + QUEUES < len(listed) else None
    data = {
        "queues": [
            {**_document(row, notes, parent), "locked": not (row.queues or ctx.reach.takes(row.name))}
            for row, parent in listed[offset : offset + QUEUES]
        ],
        "count": len(rows),
        "offset": offset,
        "next": after,
        "sort": sort,
        "order": order,
        "tree": tree,
        "open": opened,
        "groups": _are_groups(rows),
        "uncounted": any(not takers[row.name].counted for row in rows if row.name in takers),
        "recorded": bool(courses),
    }
    return View("queues.html", data, "Queues")


def _order(ctx: Context) -> tuple[str, str]:
    sort = ctx.query.get("sort", "") or "size"
    order = ctx.query.get("order", "") or ("asc" if sort == "name" else "desc")
    if sort not in COLUMNS:
        raise BadRequest(f"sort is {sort[:50]!r}; give one of {', '.join(COLUMNS)}")
    if order not in ORDERS:
        raise BadRequest(f"order is {order[:50]!r}; give one of {', '.join(ORDERS)}")
    return sort, order


def _rows(ctx: Context, totals: Totals, takers: Mapping[str, Consumers], courses: Mapping[str, Course]) -> list[Row]:
    access, now, limits, found = ctx.access, ctx.access.now(), totals.limits, list[Row]()
    for queue in totals.queues:
        taken_by, course = takers.get(queue.name, NOBODY), courses.get(queue.name)
        goes = going(access, queue.name, course, now, counted=taken_by.counted)
        row = Row(queue.name, queue.size, queue.latency, int(queue.paused), taken_by, goes)
        row.limits = limits.get(queue.name, USUAL)
        found.append(row)
    return found


def _grouped(rows: Sequence[Row]) -> list[Row]:
    """Queues whose names begin alike up to a delimiter as one row; one that is alone there stays as it is."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_DELIMITER.split(row.name, maxsplit=1)[0], []).append(row)
    found: list[Row] = []
    for name, each in groups.items():
        found += [_sum(name, each)] if name and len(each) > 1 else each
    return found


def _are_groups(rows: Sequence[Row]) -> bool:
    beginnings = [_DELIMITER.split(row.name, maxsplit=1)[0] for row in rows]
    return len(set(beginnings)) < len(beginnings)


def _sum(name: str, rows: list[Row]) -> Row:
    known = [row.going for row in rows if row.going]
    paused = sum(row.paused for row in rows)
    total = Row(name, sum(row.size for row in rows), max(row.latency for row in rows), paused, queues=rows)
    if known:
        total.going = Going(
            _added_up(each.added for each in known),
            _added_up(each.taken for each in known),
            _added_up(each.grown for each in known),
            sum(each.ended for each in known),
            sum(each.failed for each in known),
        )
    return total


def _added_up(values: Iterable[float | None]) -> float | None:
    """The sum; None when one of them is not known."""
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def _laid_out(rows: Sequence[Row], sort: str, order: str, opened: str) -> list[tuple[Row, Row | None]]:
    """Rows in their order, those of the open group behind it, each with the group in which it stands."""
    found: list[tuple[Row, Row | None]] = []
    for row in _sorted(rows, sort, order):
        found.append((row, None))
        if row.queues and row.name == opened:
            found += [(each, row) for each in _sorted(row.queues, sort, order)]
    return found


def _sorted(rows: Sequence[Row], sort: str, order: str) -> list[Row]:
    """In the order that was asked for; what is not known comes last."""
    value = COLUMNS[sort]
    if (sort, order) != ("size", "desc"):  # as they are
        rows = sorted(rows, key=lambda row: row.name)
    known = sorted((row for row in rows if value(row) is not None), key=value, reverse=order == "desc")
    return [*known, *(row for row in rows if value(row) is None)]


def _document(row: Row, notes: Mapping[str, dict[str, Any]], parent: Row | None) -> dict[str, Any]:
    goes, (future, seconds) = row.going, row.future
    found = {
        "name": row.name,
        "size": row.size,
        "latency": row.latency,
        "paused": bool(row.paused),
        "processes": row.takers.processes,
        "threads": row.takers.threads,
        "weights": sorted(row.takers.weights),
        "added": goes.added if goes else None,
        "taken": goes.taken if goes else None,
        "grown": goes.grown if goes else None,
        "failure_rate": goes.failure_rate if goes else None,
        "came": goes.came if goes else (),
        "went": goes.went if goes else (),
        "recorded": goes is not None,
        "future": future,
        "eta": seconds,
        "key": key_of(row.name),
        "group": parent.name if parent else None,
        "queues": len(row.queues),
        "paused_queues": row.paused if row.queues else 0,
        "over_queues": row.over if row.queues else 0,
    }
    if not row.queues:
        found |= queue_limits.document(row.limits, row.size, row.latency)
    if row.paused:
        # Somebody may have resumed it since it was read that it is paused.
        found |= {"paused_by": "", "paused_at": 0.0, **({} if row.queues else notes.get(row.name, {}))}
    return found


def key_of(name: str) -> str:
    """A queue as a form names it: its name, or the bytes of one that no field of a form could hold."""
    if name.isprintable() and not name.startswith(_HEX) and name == name.strip():
        return name
    return _HEX + raw_bytes(name).hex()


def _named(key: str) -> str:
    try:
        name = name_of(bytes.fromhex(key.removeprefix(_HEX))) if key.startswith(_HEX) else key
    except ValueError:
        name = ""
    if not name or len(name) > 1_000:
        raise BadRequest(f"{key[:50]!r} names no queue")
    return name


def change(ctx: Context) -> Done:
    """Pause or resume the queues that are named."""
    action, keys = ctx.one("action"), list(ctx.fields.get("key", ()))
    if action not in ("pause", "resume"):
        raise BadRequest(f"action is {action[:50]!r}; give one of pause, resume")
    ctx.require_somewhere("pause")
    if not keys or len(keys) > MOST_NAMED:
        raise BadRequest(f"{len(keys):,} queues are named; tick 1 to {MOST_NAMED}")
    named = list(dict.fromkeys(map(_named, keys)))
    names = [name for name in named if ctx.reach.takes(name)]
    if not names:
        raise OutOfReach("pause", ctx.reach)
    queues = [Queue(name, ctx.client) for name in names]
    done = [queue.pause(ctx.user.name or None) if action == "pause" else queue.resume() for queue in queues]
    target = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return Done(f"{action}_many", ctx.url("/queues"), {"moved": sum(done), "left": len(named) - len(names)}, target)
