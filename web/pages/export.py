"""What a list holds, or what matches a search in it, as a file: a job on each line, as JSON, without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from jobd.client.entry import JobEntry
from jobd.client.errors import JobdError
from jobd.client.queues import Queue
from jobd.client.sets import SetEntry
from jobd.web.context import BadRequest, Context, Download
from jobd.web.documents import job_detail
from jobd.web.filters import Filter
from jobd.web.pages.many import wanted
from jobd.web.pages.sets import place_of
from jobd.web.places import ACTIONS, Place, QueuePlace

MOST_JOBS = 100_000
MOST_BYTES = 200_000_000
"""Jobs and bytes of one file; its last line says when there are more."""
MOST_LOOKED_AT = 1_000_000
"""Entries that are looked at for one file; its last line says when there are more."""


def show(ctx: Context) -> Download:
    """Send the file."""
    place, named = _place(ctx), wanted(ctx)
    name = re.sub(r"[^\w.-]+", "_", place.name, flags=re.ASCII)[:80]
    return Download(f"jobd-{name}.jsonl", _lines(place, named, ctx))


def _place(ctx: Context) -> Place:
    where = ctx.query.get("in", "")
    if where == "queue" and (name := ctx.query.get("name", "")):
        return QueuePlace(Queue(name, ctx.client))
    if where in ACTIONS:
        return place_of(where, ctx)
    raise BadRequest(f"in is {where[:50]!r}; give one of {', '.join(ACTIONS)}, or queue with its name")


def _lines(place: Place, named: Filter, ctx: Context) -> Iterator[bytes]:
    """A line of each job that passes, and an empty one wherever a while was spent on others."""
    sent = jobs = seen = 0
    try:
        size = place.size()
        for page in place.pages():
            # Pushes could go on ahead of the reading of a queue for ever: it ends where it did at the beginning.
            for entry in page[: size - seen] if isinstance(place, QueuePlace) else page:
                seen += 1
                line = _line_of(entry, place, named, ctx)
                if line and (jobs >= MOST_JOBS or sent > MOST_BYTES):
                    yield _cut(f"a file holds at most {MOST_JOBS:,} jobs")
                    return
                jobs, sent = jobs + bool(line), sent + len(line)
                yield line
            if isinstance(place, QueuePlace) and seen >= size:
                return
            if seen >= MOST_LOOKED_AT:
                yield _cut(f"{seen:,} jobs were looked at")
                return
    except JobdError as error:
        # The head of the answer is out: only its end can still say it.
        yield _line({"error": ctx.masker.text(str(error)), "jobs": jobs})


def _cut(why: str) -> bytes:
    return _line({"cut": f"there is more: {why}; narrow the search"})


def _line_of(entry: JobEntry, place: Place, named: Filter, ctx: Context) -> bytes:
    if not named.may_pass(entry.raw) or not named.passes(place.subject(entry, ctx.masker, ctx.access.now())):
        return b""
    return _line(_document(entry, ctx))


def _document(entry: JobEntry, ctx: Context) -> dict[str, Any]:
    found = job_detail(entry, ctx.masker, "", entry.score if isinstance(entry, SetEntry) else None)
    return {name: value for name, value in found.items() if name not in ("key", "args")}


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
