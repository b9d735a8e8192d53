"""Who did what on these pages and on the command line, the last first."""

from __future__ import annotations

import re
from typing import Any

from jobd.client import audit
from jobd.client.audit import Record
from jobd.web.context import BadRequest, Context, View
from jobd.web.questions import Question

ROWS = 50
LOOKED_AT = 1_000
"""Records that a filter looks through for one page."""
_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


def show(ctx: Context) -> View:
    """Show a page of the records, those of one user or of one action if asked to."""
    ctx.require("audit")
    user, action, before = ctx.text("user"), ctx.text("action"), ctx.query.get("before", "")
    if before and not _ID.fullmatch(before):
        raise BadRequest(f"before is {before[:50]!r}; begin at the first page again")
    filtered = bool(user or action)
    [found] = ctx.ask(_ask(ctx, before, LOOKED_AT if filtered else ROWS + 1))
    shown, after = select(found, user, action, LOOKED_AT if filtered else ROWS + 1)
    data = {
        "records": [_row(record, ctx) for record in shown],
        "user": user,
        "action": action,
        "seen": len(found),
        "next": after,
        "before": before,
        "now": ctx.access.now(),
    }
    return View("activity.html", data, "Activity")


def _ask(ctx: Context, before: str, count: int) -> Question[list[Record]]:
    [answer] = yield lambda pipeline: audit.read_page(pipeline, ctx.access.keys.audit, before, count)
    return audit.records(answer)


def select(found: list[Record], user: str, action: str, asked: int) -> tuple[list[Record], str]:
    """The records of a page, and the id from which the next page goes on; empty at the end. Pure."""
    wanted = [each for each in found if user in ("", each.user) and action in ("", each.action)]
    if len(wanted) > ROWS:
        return wanted[:ROWS], wanted[ROWS - 1].id
    return wanted, found[-1].id if len(found) == asked else ""


def _row(record: Record, ctx: Context) -> dict[str, Any]:
    names = ("id", "at", "user", "address", "action", "page", "result", "undo")
    plain = {name: getattr(record, name) for name in names}
    masked = {name: ctx.masker.text(getattr(record, name)) for name in ("target", "filter", "error")}
    return {**plain, **masked, "counts": dict(record.counts)}
