"""Records each change: in the log of the host, and in the stream that the page of the activity shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace

from jobd.client import audit
from jobd.client.audit import Record
from jobd.client.errors import JobdError, RedisUnavailable
from jobd.web.context import BadRequest, Context, Done, Forbidden, NotFound, View
from jobd.web.pages import queues
from jobd.web.reach import audited

logger = logging.getLogger("jobd.web.audit")

_LISTS = ("/retries", "/scheduled", "/dead")
_EXPECTED = (BadRequest, NotFound, JobdError)


def carried_out(change: Callable[[Context], View | Done], ctx: Context, page: str) -> View | Done:
    """What comes of a change, recorded unless it only asks back; an error of it is raised as it is."""
    record = _begun(ctx, page)
    try:
        result = change(ctx)
    except Forbidden as error:
        first = ctx.shared.refusals.is_first((ctx.user.name, str(error)))
        _keep(ctx, replace(record, result="refused", error=str(error)), streamed=first)
        raise
    except Exception as error:
        # Of a defect its kind is enough: the log has the rest, and what it says may hold anything.
        text = ctx.masker.text(str(error)) if isinstance(error, _EXPECTED) else type(error).__name__
        streamed = not isinstance(error, RedisUnavailable)
        if streamed and ctx.looks_only:
            streamed = ctx.shared.refusals.is_first((ctx.user.name, ""))
        _keep(ctx, replace(record, result="failed", error=text), streamed=streamed)
        raise
    if isinstance(result, Done):
        target = ctx.masker.text(result.target or result.started) or record.target
        _keep(ctx, replace(record, action=result.action, target=target, counts=result.counts, undo=result.undo))
    elif result.revealed:
        _keep(ctx, replace(record, target=ctx.masker.text(result.revealed)))
    return result


def refused(user: str, address: str, method: str, page: str, why: str) -> None:
    """Log a request that came from no page of this site; a stranger's page must not fill the stream."""
    told = {"user": user or "-", "address": address, "method": method, "page": page, "why": why}
    logger.warning("web.refused %s", json.dumps(told))


def _begun(ctx: Context, page: str) -> Record:
    keys = ctx.fields.get("key", ())
    target = _named(ctx, page) or ", ".join([*keys[:3], "…"] if len(keys) > 3 else keys)
    chosen = ctx.masker.text(ctx.one("q")) or ("all" if ctx.one("all") == "yes" else "")
    chosen = audited(chosen, ctx.reach) if chosen else ""
    return Record(ctx.user.name or "-", ctx.address, _action(ctx, page), page, ctx.masker.text(target), chosen)


def _named(ctx: Context, page: str) -> str:
    """What a change is of, as its page reads it: a field counts only where the page goes by it."""
    if page == "/busy":
        return ctx.one("jid" if ctx.one("action") == "cancel" else "identity")
    if page.startswith("/jobs/"):
        return ctx.path.get("jid", "")
    if page.startswith("/cron") and ctx.one("name"):
        return ctx.one("name")
    if page.startswith("/queues/"):
        try:
            return queues.name_in(ctx)
        except BadRequest:
            return ""
    parts = (ctx.path.get(name, "") for name in ("name", "identity", "id"))
    return (ctx.query.get("name", "") if "id" not in ctx.path and ctx.path else "") or next(filter(None, parts), "")


def _action(ctx: Context, page: str) -> str:
    """On a list the button for all on its page tells it in `page`."""
    action = ctx.one("action")
    if page in _LISTS or (page.startswith("/queues/") and action not in ("pause", "resume", "clear", "limits")):
        return ctx.one("page") or action
    return action


def _keep(ctx: Context, record: Record, *, streamed: bool = True) -> None:
    told = {name: value for name, value in record.fields().items() if name != "counts"}
    # As JSON, so that no value can look like a further one.
    logger.info("web.action %s", json.dumps({**told, **record.counts}))
    if streamed:
        audit.write(ctx.access, record)
