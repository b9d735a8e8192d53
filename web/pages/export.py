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
from jobd.web.search import everything

MOST_JOBS = 100_000
MOST_BYTES = 200_000_000
"""Jobs and bytes of one file; its last line says when there are more."""


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
    sent = jobs = 0
    try:
        for entry in everything(place, named, ctx):
            if jobs >= MOST_JOBS or sent > MOST_BYTES:
                yield _line({"cut": f"there is more: a file holds at most {MOST_JOBS:,} jobs; narrow the search"})
                return
            jobs += 1
            line = _line(_document(entry, ctx))
            sent += len(line)
            yield line
    except JobdError as error:
        # The head of the answer is out: only its end can still say it.
        yield _line({"error": ctx.masker.text(str(error)), "jobs": jobs})


def _document(entry: JobEntry, ctx: Context) -> dict[str, Any]:
    found = job_detail(entry, ctx.masker, "", entry.score if isinstance(entry, SetEntry) else None)
    return {name: value for name, value in found.items() if name not in ("key", "args")}


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
