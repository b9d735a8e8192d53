"""Changes of jobs in a set or a queue: of those that are named, of all on a page, of all that match a search."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from jobd.client.bulk import BulkResult
from jobd.client.entry import JobEntry
from jobd.client.sets import DeadSet
from jobd.web import bulk, filters
from jobd.web.bulk import Order
from jobd.web.context import BadRequest, Context, Done, OutOfReach, View
from jobd.web.filters import Filter
from jobd.web.places import RIGHTS, Place, QueuePlace, matching
from jobd.web.trash import Bin, undone

MOST_NAMED = 200
MOST_AT_ONCE = 500
"""Jobs that a request changes itself; more are left to a thread, whose progress is shown."""
COUNT_SECONDS = 2.0
"""How long the matches are counted before a change of all of them is confirmed."""
_MOST_LOOKED_AT = 20_000
"""Entries among which a request looks for matches itself; of more they are left to a thread."""
ASK_FOR_THE_NAME = 1_000
"""Jobs from which on a deletion asks to type the name of the set or the queue."""
FORM = ("class", "queue", "error", "tag", "arg", "since", "until")
"""Fields beside the search, each of which stands for a term of it."""


def wanted(ctx: Context) -> Filter:
    """What is searched for, by the box and by the fields beside it. Raises `BadRequest`."""
    try:
        given = filters.written({name: ctx.query.get(name, "") for name in FORM if not ctx.fields})
        return filters.parse(f"{ctx.text()} {given}")
    except filters.FilterError as error:
        raise BadRequest(f"the search {ctx.text()!r}: {error}") from None


@dataclass(frozen=True)
class Many:
    """What can be changed where: `find` looks up the entries that keys name, `address` is their page, without `q`."""

    ctx: Context
    place: Place
    title: str
    actions: tuple[str, ...]
    address: Callable[..., str]
    find: Callable[[Sequence[str]], list[Any]]

    def change(self) -> View | Done:
        """Carry out what was sent. Raises `BadRequest` or `Forbidden`."""
        ctx = self.ctx
        action, keys = ctx.one("page") or ctx.one("action"), list(ctx.fields.get("key", ()))
        if ctx.one("page"):
            keys = ctx.one("shown").split()
        if action not in self.actions:
            raise BadRequest(f"action is {action[:50]!r}; give one of {', '.join(self.actions)}")
        self._require(action)
        if len(keys) > MOST_NAMED:
            raise BadRequest(f"{len(keys):,} jobs are named; name at most {MOST_NAMED}, or all that match a search")
        whole = ctx.one("all") == "yes"
        if whole == bool(keys):
            raise BadRequest("tick the jobs that are meant, or choose all")
        at = _moment(ctx) if action == "reschedule" else None
        to = self._target() if action == "move" else ""
        order = Order(
            action, wanted(ctx), math.inf, 0, at, ctx.user.name, ctx.address, to, ctx.reach, bin_of(ctx, action)
        )
        return self._all(order) if whole else self._named(order, keys)

    def _require(self, action: str) -> None:
        """Raise `Forbidden` unless the user may do this to some of the jobs that may be here."""
        right, place = RIGHTS.get(action, action), self.place
        self.ctx.require_somewhere(right)
        if isinstance(place, QueuePlace):
            self.ctx.require(right, place.owner.name)

    def _named(self, order: Order, keys: list[str]) -> View | Done:
        ctx = self.ctx
        asked = order.action in ("delete", "kill") and ctx.one("confirmed") != "yes" and ctx.for_people
        if asked and not ctx.reach.limited:
            return self._confirm_named(order, keys, 0)
        found = {entry.raw: entry for entry in self.find(keys) if entry is not None}
        meant = [entry for entry in found.values() if ctx.reach.takes_job(entry)]
        left = len(found) - len(meant)
        if left and not meant:
            raise OutOfReach(RIGHTS.get(order.action, order.action), ctx.reach)
        if asked:
            return self._confirm_named(order, keys, left)
        result = self._applied(order, meant)
        return self._done(order, result.also(gone=len(keys) - len(found)), left)

    def _confirm_named(self, order: Order, keys: list[str], left: int) -> View:
        fields = [("action", order.action), ("q", self.ctx.text()), *(("key", key) for key in keys)]
        return self._confirm(order, len(keys) - left, fields, left=left)

    def _all(self, order: Order) -> View | Done:
        ctx = self.ctx
        now = self.place.access.server_now()
        order = replace(order, until=ctx.until(now), of=_count(ctx))
        if ctx.one("confirmed") != "yes" or self._lacks_name(order):
            return self._count_and_confirm(order)
        meant = self._gather(order)
        if meant is not None:
            return self._done(order, self._applied(order, meant))
        if order.action == "front":
            raise BadRequest(f"more than {MOST_AT_ONCE} jobs would go to the front; search for fewer")
        started = bulk.begin(self.place, order, ctx.masker)
        return Done(order.action, ctx.url(f"/bulk/{started}"), {}, started=started)

    def _lacks_name(self, order: Order) -> bool:
        """Whether the name of the place is to be typed, and was not."""
        asked = self.ctx.one("ask_typed") == "yes" or self._is_vast(order)
        return asked and self.ctx.one("typed") != self.place.name

    def _is_vast(self, order: Order) -> bool:
        """Whether so much is deleted that its name is to be typed, whatever the request says of that."""
        if order.action != "delete" or order.wanted or order.reach.limited:
            return False
        return self.place.size() >= ASK_FOR_THE_NAME

    def _target(self) -> str:
        """The queue into which jobs are moved. Raises `BadRequest`."""
        to = self.ctx.one("to").strip()
        if not to or len(to) > 200 or not to.isprintable() or to == self.place.name:
            raise BadRequest(f"to is {to[:50]!r}; give the name of another queue")
        self.ctx.require("move", to)
        return to

    def _applied(self, order: Order, meant: list[JobEntry]) -> BulkResult:
        if order.action == "front":  # all at once, as each that is moved stands before those of earlier calls
            return self.place.change("front", None, None)(meant)
        return _last(bulk.apply(self.place, order, [meant]))

    def _gather(self, order: Order) -> list[JobEntry] | None:
        """All that are meant; None when that is too much for a request."""
        if not order.wanted and not order.reach.limited and self.place.size() > MOST_AT_ONCE:
            return None
        meant, seen = list[JobEntry](), 0
        for page, looked_at in matching(self.place, order.wanted, self.ctx.masker, order.until, order.reach):
            meant, seen = meant + page, seen + looked_at
            if len(meant) > MOST_AT_ONCE or seen > _MOST_LOOKED_AT:
                return None
        return meant

    def _count_and_confirm(self, order: Order) -> View:
        counted, complete = self.place.size(), True
        if order.wanted or order.reach.limited:
            counted, deadline = 0, time.monotonic() + COUNT_SECONDS
            for page, _ in matching(self.place, order.wanted, self.ctx.masker, order.until, order.reach):
                counted += len(page)
                if time.monotonic() > deadline:
                    complete = False
                    break
        fields = [("action", order.action), ("q", str(order.wanted)), ("all", "yes"), ("until", repr(order.until))]
        fields += [("of", str(counted))] if complete else []
        return self._confirm(order, counted, fields, complete=complete)

    def _confirm(
        self, order: Order, count: int, fields: list[tuple[str, str]], *, complete: bool = True, left: int = 0
    ) -> View:
        drops = room = 0
        if order.action == "kill":
            found = DeadSet(self.ctx.client).room()
            drops, room = found.would_drop(count), found.max_jobs
        typed = self.place.name if order.action == "delete" and count >= ASK_FOR_THE_NAME else ""
        fields += [("at", repr(order.at))] if order.at is not None else []
        fields += [("to", order.to)] if order.to else []
        data = {
            "action": order.action,
            "count": count,
            "complete": complete,
            "q": str(order.wanted),
            "target": self.title,
            "at": order.at,
            "to": order.to,
            "queues": order.reach.shown,
            "left": left,
            "undo": order.bin is not None,
            "drops": drops,
            "room": room,
            "typed": typed,
            "post": self.address(),
            "back": self.address(q=str(order.wanted)),
            "fields": [*fields, ("ask_typed", "yes")] if typed else fields,
        }
        return View("confirm.html", data, "Confirm", status=200 if self.ctx.for_people else 409)

    def _done(self, order: Order, result: BulkResult, left: int = 0) -> Done:
        counts = {name: getattr(result, name) for name in ("moved", "gone", "malformed", "dropped")} | {"left": left}
        target = f"{self.place.name} → {order.to}" if order.to else ""
        undo, final = undone(order.bin)
        return Done(order.action, self.address(q=str(order.wanted)), {**counts, **final}, target, undo=undo)


def bin_of(ctx: Context, action: str) -> Bin | None:
    """What takes in what an action deletes; None where nothing is kept."""
    return Bin(ctx.access, ctx.user.name) if action == "delete" and ctx.shared.undo else None


def _last(results: Iterable[BulkResult]) -> BulkResult:
    return deque(results, maxlen=1).pop()


def _count(ctx: Context) -> int:
    """How many were counted, as that page sends it back; 0 where it could not tell."""
    text = ctx.one("of")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 0


def _moment(ctx: Context) -> float:
    """The time in `at`: epoch seconds, ISO 8601 (UTC unless it says otherwise), or from now on, as in 10m."""
    text = ctx.one("at").strip()
    if (seconds := filters.seconds_of(text)) is not None and not text.replace(".", "").isdigit():
        return ctx.access.now() + seconds
    try:
        moment = float(text) if text.replace(".", "", 1).isdigit() else _read(text)
        datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRequest(f"at is {text[:50]!r}; give a time such as 2026-11-22T10:00 (UTC), or 10m from now") from None
    return moment


def _read(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
