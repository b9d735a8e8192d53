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

logger = logging.getLogger("jobd.web.audit")

_EXPECTED = (BadRequest, NotFound, JobdError)


def carried_out(change: Callable[[Context], View | Done], ctx: Context, page: str) -> View | Done:
    """What comes of a change, which is recorded unless it only asks back; an error of it is raised as it is."""
    record = _begun(ctx, page)
    try:
        result = change(ctx)
    except Forbidden as error:
        _keep(ctx, replace(record, result="refused", error=str(error)))
        raise
    except Exception as error:
        # Of a defect its kind is enough: the log has the rest, and what it says may hold anything.
        text = ctx.masker.text(str(error)) if isinstance(error, _EXPECTED) else type(error).__name__
        _keep(ctx, replace(record, result="failed", error=text), reachable=not isinstance(error, RedisUnavailable))
        raise
    if isinstance(result, Done):
        target = ctx.masker.text(result.target) if result.target else record.target
        _keep(ctx, replace(record, action=result.action, target=target, counts=result.counts))
    return result


def refused(user: str, address: str, method: str, page: str, why: str) -> None:
    """Log a request that came from no page of this site; a stranger's page must not fill the stream."""
    told = {"user": user or "-", "address": address, "method": method, "page": page, "why": why}
    logger.warning("web.refused %s", json.dumps(told))


def _begun(ctx: Context, page: str) -> Record:
    target = ctx.one("identity") or ctx.one("name") or ctx.query.get("name") or ctx.path.get("name", "")
    keys = ctx.fields.get("key", ())
    target = target or (", ".join([*keys[:3], "…"] if len(keys) > 3 else keys))
    chosen = ctx.masker.text(ctx.one("q")) or ("all" if ctx.one("all") == "yes" else "")
    return Record(ctx.user.name or "-", ctx.address, ctx.one("action"), page, ctx.masker.text(target), chosen)


def _keep(ctx: Context, record: Record, *, reachable: bool = True) -> None:
    told = {name: value for name, value in record.fields().items() if name != "counts"}
    # As JSON, so that no value can look like a further one.
    logger.info("web.action %s", json.dumps({**told, **record.counts}))
    if reachable:
        audit.write(ctx.access, record)
