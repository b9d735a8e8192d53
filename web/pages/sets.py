"""Retries, scheduled and dead jobs: pages, search, and changes of one, of the ticked, or of all that match."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

from jobd.client.sets import JobSet, SetEntry
from jobd.web import places, strips
from jobd.web.by_score import Mark
from jobd.web.context import BadRequest, Context, Done, View
from jobd.web.documents import as_many_as_fit, job_row, key_of, read_key
from jobd.web.filters import Filter
from jobd.web.pages.many import Many, wanted
from jobd.web.places import ACTIONS, TITLES, Kind, SetPlace
from jobd.web.questions import Question, answer
from jobd.web.search import ROWS, search

_EQUALS = 50
"""Entries of one score that are looked through at once for one that is named."""
_STEP, _MOST_STEPS = 200, 5
"""Those of which a page looks through more, and how often."""
FIND_SECONDS = 3.0
"""How long a change looks among those of one score for the ones that are named."""


def set_of(kind: Kind, ctx: Context) -> JobSet:
    """The set that a page is about."""
    return places.set_of(kind, ctx.client)


def place_of(kind: Kind, ctx: Context) -> SetPlace:
    """The same as a place to search in and to change."""
    return SetPlace(kind, set_of(kind, ctx))


def _row(entry: SetEntry, ctx: Context) -> dict[str, Any]:
    row = job_row(entry, ctx.masker, key_of(entry.score, entry.raw), entry.score)
    return {**row, "locked": not ctx.reach.takes_job(entry)}


def show(kind: Kind, ctx: Context) -> View:
    """Show a page of a set, or of what a search finds in it."""
    filtered = wanted(ctx)
    found = _search(kind, ctx, filtered) if filtered else _page(kind, ctx)
    actions = [each for each in ACTIONS[kind] if each in ctx.allowed]
    data = {"set": kind, "q": str(filtered), "actions": actions, **found, **seen_values(found["jobs"])}
    return View("set.html", {**data, "now": ctx.access.now()}, TITLES[kind])


def _ask_strips(kind: Kind, ctx: Context) -> Question[dict[str, Any]]:
    """When the jobs run, or died."""
    key, spans = set_of(kind, ctx).key, strips.spans(ctx.access.now(), past=kind == "dead")
    counts = yield lambda pipeline: [pipeline.zcount(key, *span.bounds) for span in spans.all]
    return strips.strips(spans, [count or 0 for count in counts])


def seen_values(jobs: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Classes and queues of the rows of a page, to choose from."""
    return {
        "classes": sorted({job["class"] for job in jobs if job["class"]}),
        "in_queues": sorted({job["queue"] for job in jobs if job["queue"]}),
    }


def _page(kind: Kind, ctx: Context) -> dict[str, Any]:
    owner = set_of(kind, ctx)
    mark = Mark.read(ctx.query.get("after", ""))
    (members, size), when = ctx.ask(_ask_page(owner, mark, kind == "dead"), _ask_strips(kind, ctx))
    entries = as_many_as_fit(owner.entries(members[:ROWS]))
    after = str(mark.past([entry.score for entry in entries])) if len(members) > len(entries) else ""
    return {"jobs": [_row(entry, ctx) for entry in entries], "size": size, "next": after, "by_time": when}


def _ask_page(owner: JobSet, mark: Mark, latest_first: bool) -> Question[tuple[list[tuple[float, bytes]], int]]:
    ends = (math.inf, -math.inf) if latest_first else (-math.inf, math.inf)
    members, size = yield lambda pipeline: mark.ask(
        pipeline, owner.key, ends, ROWS + 1, latest_first=latest_first
    ).zcard(owner.key)
    return [(float(at), raw) for raw, at in members or ()], size or 0


def _search(kind: Kind, ctx: Context, filtered: Filter) -> dict[str, Any]:
    """What is found within the time of a search; `cursor` goes on from there, 0 at the end."""
    found = search(place_of(kind, ctx), filtered, ctx)
    entries = [entry for _, entry in found.entries if isinstance(entry, SetEntry)]
    entries.sort(key=lambda entry: entry.score, reverse=kind == "dead")
    jobs = [_row(entry, ctx) for entry in entries]
    [when] = ctx.ask(_ask_strips(kind, ctx))
    return {"jobs": jobs, "size": found.size, "next": "", "cursor": found.cursor, "seen": found.seen, "by_time": when}


def _named(key: str) -> tuple[float, str]:
    """The score in a key, and the key as `key_of` writes it. Raises `BadRequest`."""
    named = read_key(key)
    if named is None:
        raise BadRequest(f"{key[:50]!r} names no job of a set")
    return named[0], f"{named[0]!r}~{named[1]}"


def ask_entry(owner: JobSet, key: str) -> Question[SetEntry | None]:
    """The entry with exactly the bytes that a key names; None when it is gone, was changed, or is one of too many.

    Raises `BadRequest`.
    """
    score, meant = _named(key)
    first, count = 0, _EQUALS
    for _ in range(1 + _MOST_STEPS):
        entries = yield from _ask_equals(owner, score, first, count)
        for entry in entries:
            if key_of(score, entry.raw) == meant:
                return entry
        if len(entries) < count:
            return None
        first, count = first + count, _STEP
    return None


def _ask_equals(owner: JobSet, score: float, first: int, count: int) -> Question[list[SetEntry]]:
    at = repr(score)
    [raws] = yield lambda pipeline: pipeline.zrange(owner.key, at, at, byscore=True, offset=first, num=count)
    return owner.entries([(score, raw) for raw in raws or ()])


def find_entries(owner: JobSet, keys: Sequence[str]) -> list[SetEntry | None]:
    """As `ask_entry` for many, among all of their scores: those of one score are found in one walk."""
    named = [_named(key) for key in keys]
    wanted: dict[float, set[str]] = {}
    for score, meant in named:
        wanted.setdefault(score, set()).add(meant)
    found: dict[str, SetEntry] = {}
    deadline = time.monotonic() + FIND_SECONDS
    pages = answer(owner.access, *(_ask_equals(owner, score, 0, _EQUALS) for score in wanted))
    for (score, missing), page in zip(wanted.items(), pages, strict=True):
        for entry in chain(page, owner.fetch(score) if len(page) == _EQUALS else ()):
            if (key := key_of(score, entry.raw)) in missing:
                missing.remove(key)
                found[key] = entry
            if not missing:
                break
            if time.monotonic() > deadline:
                raise BadRequest("too many jobs have the time of those that are meant; find them by a search instead")
    return [found.get(meant) for _, meant in named]


def change(kind: Kind, ctx: Context) -> View | Done:
    """Carry out an action on the jobs that are named, or on all that match."""
    place = place_of(kind, ctx)

    def find(keys: Sequence[str]) -> list[SetEntry | None]:
        return find_entries(place.owner, keys)

    def address(**query: str) -> str:
        return ctx.url(f"/{kind}", **query)

    return Many(ctx, place, ctx.t(TITLES[kind]), ACTIONS[kind], address, find).change()
