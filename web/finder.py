"""The box at the head of every page: to a job by its id, to a queue by its name, else to a search."""

from __future__ import annotations

import re

from starlette.responses import RedirectResponse

from jobd.web.context import Context

_JID = re.compile(r"(?:jid:)?([0-9a-f]{12,64}|[0-9A-Z]{26}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
"""Ids as Sidekiq and jobd make them, ULIDs and UUIDs."""
_SETS = ("/retries", "/scheduled", "/dead")


def target(text: str, here: str, queues: frozenset[str], ctx: Context) -> str:
    """The address for what was typed on the page `here`."""
    if not text:
        return ctx.url(here if here in _SETS else "/")
    if found := _JID.fullmatch(text):
        return ctx.job_url(found[1])
    if text in queues:
        return ctx.queue_url(text)
    return ctx.url(here if here in _SETS else "/retries", q=text)


def find(ctx: Context) -> RedirectResponse:
    """Lead to what is searched for."""
    text = ctx.text()
    queues = frozenset(queue.name for queue in ctx.read_totals().queues)
    return RedirectResponse(target(text, ctx.query.get("here", ""), queues, ctx), 303)
