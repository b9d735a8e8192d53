"""What was deleted within the last hour: how much of it is left to be put back, and the button that does so."""

from __future__ import annotations

import re
from typing import Any

from jobd.client.entry import JobEntry
from jobd.web.context import BadRequest, Context, Done, NotFound, OutOfReach, View
from jobd.web.places import TITLES
from jobd.web.questions import answer
from jobd.web.trash import Deletion, ask_deletion, put_back

_ID = re.compile(r"[0-9a-f]{16}")
_GONE = "nothing of this deletion is left: it was put back, its hour is over, or others have taken its room"


def show(ctx: Context) -> View:
    """Show what there is to be put back, and into which lists."""
    [found] = ctx.ask(ask_deletion(ctx.access, _id_in(ctx)))
    if found is None:
        raise NotFound(_GONE)
    deletion, left = found
    where: list[dict[str, Any]] = [
        {"place": kind, "queue": name, "jobs": jobs} for (kind, name), jobs in zip(deletion.places, left, strict=True)
    ]
    data = {
        "id": deletion.id,
        "at": deletion.at,
        "user": deletion.user,
        "deleted": deletion.deleted,
        "kept": deletion.kept,
        "left": sum(left),
        "places": where,
        "titles": dict(TITLES),
        "may": "delete" in ctx.allowed,
        "queues": ctx.reach.shown,
        "now": ctx.access.now(),
    }
    return View("undo.html", data, "Undo")


def change(ctx: Context) -> Done:
    """Put it back, as far as it is within reach of the user."""
    name = _id_in(ctx)
    if ctx.one("action") != "undo":
        raise BadRequest(f"action is {ctx.one('action')[:50]!r}; give undo")
    ctx.require_somewhere("delete")
    [found] = answer(ctx.access, ask_deletion(ctx.access, name))
    if found is None or not sum(found[1]):
        raise NotFound(_GONE)

    def may(entry: JobEntry, queue: str) -> bool:
        named = entry.payload.get("queue")
        names = (named if isinstance(named, str) else "", *([queue] if queue else []))
        return ctx.reach.takes(*names)

    moved, stays = put_back(ctx.client, found[0], may)
    if stays and not moved and ctx.reach.limited:
        raise OutOfReach("delete", ctx.reach)
    return Done("undo", _back(ctx, found[0]), {"moved": moved, "left": stays}, target=name)


def _back(ctx: Context, found: Deletion) -> str:
    if len(found.places) != 1:
        return ctx.url("/failures")
    [(kind, queue)] = found.places
    return ctx.queue_url(queue) if queue else ctx.url(f"/{kind}")


def _id_in(ctx: Context) -> str:
    name = ctx.path.get("id", "")
    if not _ID.fullmatch(name):
        raise NotFound("there is no such deletion")
    return name
