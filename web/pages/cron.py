"""Entries of the cron: when they run next, what became of the last runs; enable, disable, run now."""

from __future__ import annotations

from typing import Any

from jobd.client import cron, cron_push
from jobd.client.cron import CronEntry
from jobd.client.cron_push import CronRun
from jobd.client.cron_set import CronSet, decoded
from jobd.client.errors import InvalidCron
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import as_json, cut
from jobd.web.questions import Question, name_of

MOST = 200
"""Entries on the page."""
NEXT_RUNS = 3
RUNS = 30
_HISTORY = 10


def show(ctx: Context) -> View:
    """Show all entries by name."""
    entries, count = ctx.ask(_ask_entries(ctx))[0]
    now = ctx.read_totals().now
    data = {
        "entries": [_row(entry, runs, ctx, now) for entry, runs in entries],
        "count": count,
        "may_change": "cron" in ctx.allowed,
        "now": now,
    }
    return View("cron.html", data, "Cron")


def _ask_entries(ctx: Context) -> Question[tuple[list[tuple[CronEntry, list[CronRun]]], int]]:
    keys = ctx.access.keys
    prefix = keys.cron_entry("")
    [members] = yield lambda pipeline: pipeline.smembers(keys.cron_jobs)
    names = sorted(name_of(member).removeprefix(prefix) for member in members or ())
    shown = [name for name in names if name.isprintable()][:MOST]

    def ask(pipeline: Any) -> None:
        for name in shown:
            pipeline.hgetall(keys.cron_entry(name))
            pipeline.lrange(keys.cron_runs(name), 0, RUNS - 1).lrange(keys.cron_history(name), 0, _HISTORY - 1)

    told = yield ask
    found = []
    for name, fields, runs, history in zip(shown, told[::3], told[1::3], told[2::3], strict=True):
        if fields:
            merged = cron_push.merged(runs or (), history or ())
            found.append((cron.from_fields(name, decoded(fields)), merged))
    return found, len(names)


def _row(entry: CronEntry, runs: list[CronRun], ctx: Context, now: float) -> dict[str, Any]:
    words, ahead, zone = "", list[float](), ""
    if entry.problem is None:
        words, zone = entry.schedule.words, entry.timezone
        moment = now
        while entry.enabled and len(ahead) < NEXT_RUNS and (tick := entry.next_time(moment)) is not None:
            moment = tick
            ahead.append(tick)
    return {
        "name": entry.name,
        "cron": entry.cron,
        "words": words,
        "timezone": zone,
        "class": entry.job,
        "args": cut(as_json(ctx.masker.value(list(entry.args))), 200),
        "queue": entry.queue or "",
        "description": entry.description,
        "enabled": entry.enabled,
        "source": entry.source,
        "overlap": entry.overlap,
        "catch_up": entry.catch_up,
        "problem": entry.problem or "",
        "next": ahead,
        "last": entry.last_time,
        "runs": [
            {"tick": run.tick, "at": run.at, "jid": run.jid or "", "skipped": run.skipped or "", "missed": run.missed}
            for run in runs
        ],
    }


def change(ctx: Context) -> Done:
    """Enable, disable or run an entry now."""
    action, name = ctx.one("action"), ctx.one("name")
    ctx.require("cron")
    entries = CronSet(ctx.client)
    if action not in ("enable", "disable", "run"):
        raise BadRequest(f"action is {action[:50]!r}; give one of enable, disable, run")
    if action != "run":
        done = entries.enable(name) if action == "enable" else entries.disable(name)
    else:
        try:
            done = entries.enqueue_now(name) is not None
        except InvalidCron as error:
            raise BadRequest(str(error)) from None
    if not done:
        raise NotFound(f"there is no cron entry {name}, or its job was stopped by middleware")
    return Done(action, ctx.url("/cron"), {"moved": 1})
