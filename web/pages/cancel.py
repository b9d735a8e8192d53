"""Cancels a job that runs: asks back first, with what an interruption can do and what it cannot."""

from __future__ import annotations

from jobd.client.errors import NotControllable
from jobd.client.processes import ProcessSet, Work, WorkSet
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import work_row
from jobd.web.reach import queues_of


def change(ctx: Context) -> View | Done:
    """Ask its process to interrupt a job; `identity` names the process, which is looked for otherwise."""
    ctx.require_somewhere("cancel")
    jid, identity = ctx.one("jid"), ctx.one("identity")
    if not jid or len(jid) > 1_000:
        raise BadRequest("name the running job in jid")
    works = WorkSet(ctx.client)
    work = next((each for each in works.of([identity]) if each.entry.jid == jid), None) if identity else works.find(jid)
    gone = f"job {jid} does not run, as the heartbeats show: it has ended, or began some seconds ago; look for its id"
    if work is None:
        raise NotFound(gone)
    ctx.require("cancel", work.queue, *queues_of(work.entry))
    if ctx.one("confirmed") != "yes":
        return _question(ctx, work)
    try:
        done = works.cancel(jid, work.process)
    except NotControllable as error:
        raise BadRequest(str(error)) from None
    if not done:
        raise NotFound(gone)
    return Done("cancel", _back(ctx, work), {"moved": 1}, target=jid)


def _question(ctx: Context, work: Work) -> View:
    process = ProcessSet(ctx.client).get(work.process)
    if process is not None and not process.is_jobds:
        raise BadRequest(f"{work.process} is no process of jobd and cancels no job")
    fields = [("action", "cancel"), ("jid", work.entry.jid), ("identity", work.process), ("from", ctx.one("from"))]
    data = {
        "action": "cancel",
        "running": work_row(work, ctx.masker),
        "seconds": max(ctx.access.server_now() - work.run_at, 0.0),
        "post": ctx.url("/busy"),
        "back": _back(ctx, work),
        "fields": fields,
    }
    return View("cancel.html", data, "Confirm", status=200 if ctx.for_people else 409)


def _back(ctx: Context, work: Work) -> str:
    match ctx.one("from"):
        case "process":
            return ctx.process_url(work.process)
        case "job":
            return ctx.job_url(work.entry.jid)
    return ctx.url("/busy")
