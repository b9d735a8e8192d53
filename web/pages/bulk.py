"""A change of many jobs that goes on: how far it is, and a button that has it stopped."""

from __future__ import annotations

import re

from jobd.client.processes import number
from jobd.web import bulk
from jobd.web.context import BadRequest, Context, Done, NotFound, OutOfReach, View
from jobd.web.places import RIGHTS
from jobd.web.questions import name_of

_ID = re.compile(r"[0-9a-f]{16}")


def show(ctx: Context) -> View:
    """Show how far it is."""
    run = _run_in(ctx)
    [found] = ctx.ask(bulk.ask_progress(ctx.access, run))
    if found is None:
        raise NotFound(f"there is no change {run}: what became of one is kept for a day")
    kind, queue = found["place"], found["queue"]
    back = ctx.queue_url(queue, q=found["q"]) if kind == "queue" else ctx.url(f"/{kind}", q=found["q"])
    going_on = found["state"] == "running"
    may = _right(found["action"]) in ctx.allowed and _is_within(ctx, found["user"], queue)
    data = {**found, "may_stop": may, "back": back if kind else ctx.url("/")}
    return View("bulk.html", {**data, "refresh": 2 if going_on else 0, "now": ctx.access.now()}, "Change of many jobs")


def change(ctx: Context) -> Done:
    """Have it stopped, by whoever may do what it does."""
    run = _run_in(ctx)
    if ctx.one("action") != "stop":
        raise BadRequest(f"action is {ctx.one('action')[:50]!r}; give stop")
    key = ctx.access.keys.bulk(run)
    action, moved, *whose = ctx.access.read(lambda redis: redis.hmget(key, "action", "moved", "user", "queue"))
    if action is None:
        raise NotFound(f"there is no change {run}: what became of one is kept for a day")
    right = _right(action.decode("utf-8", "replace"))
    ctx.require_somewhere(right)
    if not _is_within(ctx, *(name_of(value or b"") for value in whose)):
        raise OutOfReach(right, ctx.reach)
    bulk.stop(ctx.access, run, ctx.user.name)
    return Done("stop_bulk", ctx.url(f"/bulk/{run}"), {"moved": int(number(moved))})


def _is_within(ctx: Context, user: str, queue: str) -> bool:
    """Whether a change is the user's own, or of a queue of theirs; in a set it may be of any."""
    return bool(user and user == ctx.user.name) or ctx.reach.takes(queue)


def _right(action: str) -> str:
    return RIGHTS.get(action, action)


def _run_in(ctx: Context) -> str:
    run = ctx.path.get("id", "")
    if not _ID.fullmatch(run):
        raise NotFound("there is no such change")
    return run
