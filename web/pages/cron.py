"""Entries of the cron: when they run next, what became of the last runs, what runs at the same time; and changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

from jobd.client import cron, cron_push
from jobd.client.cron import CronEntry
from jobd.client.cron_expression import Schedule, parse
from jobd.client.cron_push import CronRun
from jobd.client.cron_set import CronSet, decoded
from jobd.client.errors import InvalidCron, MalformedPayload
from jobd.client.payload import decode, read_time
from jobd.web.context import BadRequest, Context, Done, NotFound, OutOfReach, View
from jobd.web.documents import as_json, cut
from jobd.web.questions import Question, name_of
from jobd.web.text import translate

ROWS = 30
MOST = 200
"""Entries of which the calendar tells."""
NEXT_RUNS = 3
NEXT_RUNS_OF_ONE = 5
RUNS = 30
LATE = 10.0
"""Seconds after its tick from which on a run is called late."""
DAY = 24 * 3600
SLOT = 900
"""Seconds of a bar of the calendar."""
OFTEN = 48
"""Runs a day from which on an entry is not drawn: it would be in every bar."""
CLASHES = 20
CLASH_NAMES = 10
ONE = ("enable", "disable", "skip", "unskip", "run", "delete")
ALL = ("enable_all", "disable_all")
_HISTORY = 10
_MOST_KNOWN = 2_000
_MOST_KEPT_BYTES = 20_000
"""Of the runs of an entry that are kept to be told from others."""
_AHEAD: dict[str, tuple[float, tuple[float, ...]]] = {}
"""Of each expression its next ticks, and after when they come."""


def show(ctx: Context) -> View:
    """Show the entries by name, and what of them comes together in the next 24 hours."""
    offset, text = ctx.number("offset"), ctx.text()
    rows, expressions, count, found = ctx.ask(_ask_entries(ctx, offset, text))[0]
    now = ctx.read_totals().now
    data = {
        "entries": [
            {**_row(entry, runs, ctx, now), "locked": not ctx.reach.takes(queue_of(entry))} for entry, runs in rows
        ],
        "q": text,
        "count": count,
        "found": found,
        "offset": offset,
        "next": offset + ROWS if offset + ROWS < found else None,
        "calendar": calendar(expressions, now),
        "calendar_limit": MOST,
        "may_change": "cron" in ctx.allowed,
        "may_edit": "cron_edit" in ctx.allowed,
        "now": now,
    }
    return View("cron.html", data, "Cron")


_Run = dict[str, Any]
_Found = tuple[list[tuple[CronEntry, Sequence[_Run]]], dict[str, str], int, int]
"""The entries of the page, the expressions of those that are enabled, how many entries there are and match."""


def _ask_entries(ctx: Context, offset: int, text: str) -> Question[_Found]:
    keys = ctx.access.keys
    prefix = keys.cron_entry("")
    [members] = yield lambda pipeline: pipeline.smembers(keys.cron_jobs)
    names = sorted(name for member in members or () if (name := name_of(member).removeprefix(prefix)).isprintable())
    matching = [name for name in names if text.lower() in name.lower()]
    shown, drawn = matching[offset : offset + ROWS], names[:MOST]

    def ask(pipeline: Any) -> None:
        for name in shown:
            _ask_one(pipeline, ctx, name)
        for name in drawn:
            pipeline.hmget(keys.cron_entry(name), "cron", "status")

    told = yield ask
    split = 3 * len(shown)
    rows = [
        each
        for name, *parts in zip(shown, told[0:split:3], told[1:split:3], told[2:split:3], strict=True)
        if (each := _read(name, *parts))
    ]
    expressions = {
        name: fields[0].decode("utf-8", "replace")
        for name, fields in zip(drawn, told[split:], strict=True)
        if fields and fields[0] and fields[1] != b"disabled"
    }
    return rows, expressions, len(members or ()), len(matching)


def _ask_one(pipeline: Any, ctx: Context, name: str) -> None:
    keys = ctx.access.keys
    pipeline.hgetall(keys.cron_entry(name))
    pipeline.lrange(keys.cron_runs(name), 0, RUNS - 1).lrange(keys.cron_history(name), 0, _HISTORY - 1)


def _read(name: str, fields: Any, runs: Any, history: Any) -> tuple[CronEntry, Sequence[_Run]] | None:
    if not fields:
        return None
    noted, others = tuple(runs or ()), tuple(history or ())
    few = sum(map(len, (*noted, *others))) <= _MOST_KEPT_BYTES
    return cron.from_fields(name, decoded(fields)), (_runs if few else _runs.__wrapped__)(noted, others)


@lru_cache(maxsize=400)
def _runs(noted: tuple[bytes, ...], others: tuple[bytes, ...]) -> tuple[_Run, ...]:
    """The runs of an entry, which stay the same until it runs again. For reading only."""
    return tuple(map(_run, cron_push.merged(noted, others)))


def call_of(entry: CronEntry) -> dict[str, Any]:
    """The job of an entry, as far as a payload would tell of it."""
    call = {"class": entry.job, "args": list(entry.args), "kwargs": dict(entry.kwargs)}
    return call | ({"queue": entry.queue} if entry.queue else {})


def _row(entry: CronEntry, runs: Sequence[_Run], ctx: Context, now: float) -> dict[str, Any]:
    words, zone, ahead = "", "", list[float]()
    if entry.problem is None:
        words, zone = words_of(entry.cron, ctx.language), entry.timezone
        ahead = _ahead(entry, now, NEXT_RUNS)
    return {
        "name": entry.name,
        "cron": ctx.masker.text(entry.cron),
        "words": words,
        "timezone": zone,
        "class": entry.job,
        "args": cut(as_json(ctx.masker.arguments(call_of(entry), entry.args)), 200),
        "queue": entry.queue or "",
        "description": ctx.masker.text(entry.description),
        "enabled": entry.enabled,
        "source": entry.source,
        "overlap": entry.overlap,
        "catch_up": entry.catch_up,
        "problem": ctx.masker.text(entry.problem or ""),
        "next": ahead,
        "skips": entry.skips if entry.skips in ahead else None,
        "last": entry.last_time,
        "runs": [_as_known(run, now) for run in runs],
    }


@lru_cache(maxsize=_MOST_KNOWN)
def words_of(expression: str, language: str) -> str:
    """What an expression that can be used says in a language."""
    return parse(expression).said(lambda text, /, **values: translate(text, language, values))


def _ahead(entry: CronEntry, now: float, count: int) -> list[float]:
    """The next ticks of an entry that can be used. They stay the same until the first of them comes."""
    if not entry.enabled:
        return []
    before, ticks = _AHEAD.get(entry.cron, (now, (now,)))
    if not before <= now < ticks[0] or len(ticks) < count:
        ticks = tuple(islice(entry.schedule.between(now, math.inf), NEXT_RUNS_OF_ONE))
        if len(_AHEAD) >= _MOST_KNOWN:
            _AHEAD.clear()
        if ticks:
            _AHEAD[entry.cron] = now, ticks
    return list(ticks[:count])


def _run(run: CronRun) -> _Run:
    """One run. `state` is pushed, late, by hand, skipped or missed; `late` how many seconds after its tick it came.

    `outcome` is how its job has ended: `unknown` where that is not known, empty without a job. `shows` is which of all
    this a mark for the run tells.
    """
    late = None if run.tick is None else max(run.at - run.tick, 0.0)
    if run.skipped:
        state = "missed" if run.skipped == "late" else "skipped"
    elif late is None:
        state = "by hand"
    else:
        state = "late" if late > LATE else "pushed"
    outcome = "" if run.jid is None else run.outcome or "unknown"
    return {
        "tick": run.tick,
        "at": run.at,
        "jid": run.jid or "",
        "skipped": run.skipped or "",
        "missed": run.missed,
        "late": late,
        "state": state,
        "outcome": outcome,
        "ended": run.ended,
        "due": run.due,
        "shows": state if outcome in ("", "unknown") or (outcome, state) == ("ok", "late") else outcome,
    }


def _as_known(run: _Run, now: float) -> _Run:
    """The run as it stands at `now`: of a retry that was due before, nobody has told how it ended."""
    return {**run, "shows": "unclear"} if run["due"] is not None and run["due"] + LATE < now else run


def name_in(ctx: Context) -> str:
    """The entry that a request is about; empty without any."""
    return ctx.one("name") or ctx.query.get("name") or ctx.path.get("name", "")


def show_entry(ctx: Context) -> View:
    """Show one entry: when it runs, in UTC and by its own clock, and what became of its last runs."""
    name = name_in(ctx)
    [found] = ctx.ask(_ask_entry(ctx, name))
    if found is None:
        raise NotFound(f"there is no cron entry {name}")
    entry, runs = found
    now = ctx.read_totals().now
    row = _row(entry, runs, ctx, now)
    if entry.problem is None:
        row["next"] = upcoming(entry.schedule, _ahead(entry, now, NEXT_RUNS_OF_ONE), now, entry.skips)
    data = {
        **row,
        "kwargs": as_json(ctx.masker.keywords(call_of(entry), entry.kwargs)) if entry.kwargs else "",
        "date_as_argument": entry.date_as_argument,
        "may_change": ctx.may("cron", queue_of(entry)),
        "may_edit": ctx.may("cron_edit", queue_of(entry)),
        "may_delete": ctx.may("cron", queue_of(entry)) and is_deletable(entry),
        "now": now,
    }
    return View("cron_entry.html", data, "Cron")


def queue_of(entry: CronEntry) -> str:
    """The queue into which its job goes when it is pushed from here; empty where that cannot be told."""
    try:
        message = cron.message_of(entry) if entry.problem is None else decode(entry.stored.get("message", ""))
    except MalformedPayload:
        return ""
    queue = message.get("queue")
    return queue if isinstance(queue, str) else ""


def _require(ctx: Context, entries: CronSet, name: str) -> None:
    """Raise `Forbidden` where the job of an entry is of no queue of the user."""
    if ctx.reach.limited and (entry := entries.find(name)):
        ctx.require("cron", queue_of(entry))


def check_name(name: str) -> None:
    """Raise `NotFound` for what cannot be the name of an entry."""
    if not name or not name.isprintable() or len(name) > 1_000:
        raise NotFound("there is no cron entry of this name")


def _ask_entry(ctx: Context, name: str) -> Question[tuple[CronEntry, Sequence[_Run]] | None]:
    check_name(name)
    told = yield lambda pipeline: _ask_one(pipeline, ctx, name)
    return _read(name, *told)


def upcoming(
    schedule: Schedule, ticks: Sequence[float], now: float, skips: float | None = None
) -> list[dict[str, Any]]:
    """Runs with the time that the clock of the entry's zone shows then, and by how much that was changed before."""
    found, before = [], _offset(schedule, now)
    for tick in ticks:
        local, offset = datetime.fromtimestamp(tick, schedule.zone), _offset(schedule, tick)
        changed = {"before": _hours(before), "after": _hours(offset)} if offset != before else None
        shown = local.strftime("%a %Y-%m-%d %H:%M:%S")
        times = {"at": tick, "local": shown, "offset": _hours(offset), "changed": changed}
        found.append({**times, "skipped": tick == skips})
        before = offset
    return found


def _offset(schedule: Schedule, at: float) -> timedelta:
    return datetime.fromtimestamp(at, schedule.zone).utcoffset() or timedelta()


def _hours(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


@lru_cache(maxsize=2_000)
def _ticks(expression: str, start: int) -> tuple[float, ...] | None:
    """The ticks of a day; None where there are too many to draw."""
    try:
        found = tuple(islice(parse(expression).between(start - 1, start + DAY - 1), OFTEN))
    except InvalidCron:
        return ()
    return None if len(found) >= OFTEN else found


def calendar(expressions: dict[str, str], now: float) -> dict[str, Any]:
    """What runs in the 24 hours from the beginning of this hour on: bars, and the minutes that several entries share.

    `often` are entries that run too often to be drawn.
    """
    start = int(now // 3600 * 3600)
    minutes: dict[int, set[str]] = {}
    slots: dict[int, set[str]] = {}
    often = []
    for name, expression in expressions.items():
        ticks = _ticks(expression, start)
        if ticks is None:
            often.append(name)
        for tick in ticks or ():
            minutes.setdefault(int(tick // 60 * 60), set()).add(name)
            slots.setdefault(int((tick - start) // SLOT), set()).add(name)
    shared = sorted((minute for minute in minutes if len(minutes[minute]) > 1), key=lambda at: (-len(minutes[at]), at))
    clashing = {(minute - start) // SLOT for minute in shared}
    return {
        "start": start,
        "slots": [
            {"place": place, "at": start + place * SLOT, "entries": len(names), "clash": place in clashing}
            for place, names in sorted(slots.items())
        ],
        "most": max((len(names) for names in slots.values()), default=0),
        "clashes": [
            {"at": at, "entries": len(minutes[at]), "names": sorted(minutes[at])[:CLASH_NAMES]}
            for at in shared[:CLASHES]
        ],
        "clash_count": len(shared),
        "often": sorted(often),
    }


def is_deletable(entry: CronEntry) -> bool:
    """Whether deleting an entry is of use: one of the code or of a configuration comes back with the next start."""
    return entry.source not in ("code", "config")


def change(ctx: Context) -> View | Done:
    """Enable, disable, run now or delete an entry, skip its next run; enable or disable all of them."""
    action = ctx.one("action")
    ctx.require_somewhere("cron")
    if action in ALL:
        return _change_all(ctx, action)
    if action not in ONE:
        raise BadRequest(f"action is {action[:50]!r}; give one of {', '.join((*ONE, *ALL))}")
    name, entries = name_in(ctx), CronSet(ctx.client)
    _require(ctx, entries, name)
    if action == "delete":
        return _delete(ctx, entries, name)
    if action in ("skip", "unskip"):
        _skip(ctx, entries, name, action)
        done = True
    elif action != "run":
        done = entries.enable(name) if action == "enable" else entries.disable(name)
    else:
        try:
            done = entries.enqueue_now(name) is not None
        except InvalidCron as error:
            raise BadRequest(str(error)) from None
    if not done:
        raise NotFound(f"there is no cron entry {name}, or its job was stopped by middleware")
    return Done(action, ctx.cron_url(name) if ctx.path else ctx.url("/cron"), {"moved": 1})


def _skip(ctx: Context, entries: CronSet, name: str, action: str) -> None:
    """Have the next run skipped, which must be the one that was shown, or not skipped any more."""
    given = ctx.one("tick")
    tick = read_time(given) if given else None
    if given and tick is None:
        raise BadRequest(f"tick is {given[:50]!r}; give the time of the next run, in epoch seconds, or leave it out")
    if action == "skip" and entries.skip_next(name, tick) is not None:
        return
    if action == "unskip" and entries.unskip(name):
        return
    if name not in entries:
        raise NotFound(f"there is no cron entry {name}")
    if action == "skip":
        raise BadRequest(
            f"cron entry {name} has no such run to come: it has begun, or the entry was changed; look again"
        )
    raise BadRequest(f"no run of cron entry {name} is to be skipped: it was skipped already, or somebody took it back")


def _delete(ctx: Context, entries: CronSet, name: str) -> View | Done:
    entry = entries.find(name)
    if entry is None:
        raise NotFound(f"there is no cron entry {name}")
    if not is_deletable(entry):
        raise BadRequest(
            f"cron entry {name} stands in the {entry.source}: a worker process that starts would make it again; "
            "take it out there, or disable it here"
        )
    if ctx.one("confirmed") != "yes":
        return _confirm(ctx, "delete", 1, name, entry.source)
    return Done("delete_entry", ctx.url("/cron"), {"moved": int(entries.destroy(name))})


def _change_all(ctx: Context, action: str) -> View | Done:
    entries, enabling = CronSet(ctx.client), action == "enable_all"
    meant = [entry for entry in entries if entry.enabled != enabling and entry.name.isprintable()]
    names = [entry.name for entry in meant if ctx.reach.takes(queue_of(entry))]
    left = len(meant) - len(names)
    if left and not names:
        raise OutOfReach("cron", ctx.reach)
    if ctx.one("confirmed") != "yes":
        return _confirm(ctx, action, len(names), left=left)
    moved = sum(entries.enable(name) if enabling else entries.disable(name) for name in names)
    return Done(action, ctx.url("/cron"), {"moved": moved, "gone": len(names) - moved, "left": left})


def _confirm(ctx: Context, action: str, count: int, name: str = "", source: str = "", left: int = 0) -> View:
    data = {
        "queues": ctx.reach.shown,
        "left": left,
        "action": action,
        "count": count,
        "target": name,
        "source": source,
        "post": ctx.url("/cron"),
        "back": ctx.cron_url(name) if name else ctx.url("/cron"),
        "fields": [("action", action), *([("name", name)] if name else [])],
    }
    return View("cron_confirm.html", data, "Confirm", status=200 if ctx.for_people else 409)
