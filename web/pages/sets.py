"""Retries, scheduled and dead jobs: pages, search, and changes of one, of the ticked, or of all that match."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from jobd.client.bulk import BulkResult
from jobd.client.sets import DeadSet, JobSet, RetrySet, ScheduledSet, SetEntry
from jobd.web.context import BadRequest, Context, Done, View
from jobd.web.documents import holds, job_row, key_of, read_key
from jobd.web.questions import Question, answer

Kind: TypeAlias = Literal["retries", "scheduled", "dead"]

ROWS = 50
MOST_TICKED = 200
SEARCH_SECONDS = 0.06
"""How long a search looks before it shows what it has found."""
_STEPS = (100, 1_000)
"""Entries that a step of a search looks at, where much is found and where little is."""
_RARE = 50
"""Little is one match among so many."""
COUNT_SECONDS = 2.0
"""How long the matches are counted before a change of all of them is confirmed."""
ASK_FOR_THE_NAME = 1_000
"""Jobs from which on a deletion asks to type the name of the set."""
_EQUALS = 50
"""Entries of one score that are looked through at once for one that is named."""
ACTIONS: dict[Kind, tuple[str, ...]] = {
    "retries": ("retry", "kill", "delete"),
    "scheduled": ("enqueue", "kill", "delete"),
    "dead": ("retry", "delete"),
}
TITLES: dict[Kind, str] = {"retries": "Retries", "scheduled": "Scheduled", "dead": "Dead"}


def set_of(kind: Kind, ctx: Context) -> JobSet:
    """The set that a page is about."""
    kinds: dict[Kind, type[JobSet]] = {"retries": RetrySet, "scheduled": ScheduledSet, "dead": DeadSet}
    return kinds[kind](ctx.client)


def _row(entry: SetEntry, ctx: Context) -> dict[str, Any]:
    return job_row(entry, ctx.masker, key_of(entry.score, entry.raw), entry.score)


def show(kind: Kind, ctx: Context) -> View:
    """Show a page of a set, or of what a search finds in it."""
    text = ctx.text()
    found = _search(kind, ctx, text) if text else _page(kind, ctx)
    data = {"set": kind, "q": text, "actions": [each for each in ACTIONS[kind] if each in ctx.allowed], **found}
    return View("set.html", {**data, "now": ctx.access.now()}, TITLES[kind])


def _page(kind: Kind, ctx: Context) -> dict[str, Any]:
    owner = set_of(kind, ctx)
    score, skip = _cursor(ctx.query.get("after", ""))
    members, size = ctx.ask(_ask_page(owner, score, skip, kind == "dead"))[0]
    entries = owner.entries(members[:ROWS])
    after = _after(entries, score, skip) if len(members) > ROWS else ""
    return {"jobs": [_row(entry, ctx) for entry in entries], "size": size, "next": after}


def _ask_page(
    owner: JobSet, score: float | None, skip: int, latest_first: bool
) -> Question[tuple[list[tuple[float, bytes]], int]]:
    ends = ("+inf", "-inf") if latest_first else ("-inf", "+inf")
    start = ends[0] if score is None else repr(score)
    members, size = yield lambda pipeline: pipeline.zrange(
        owner.key, start, ends[1], byscore=True, desc=latest_first, offset=skip, num=ROWS + 1, withscores=True
    ).zcard(owner.key)
    return [(float(at), raw) for raw, at in members or ()], size or 0


def _cursor(text: str) -> tuple[float | None, int]:
    """The score from which a page goes on, and how many of that score were shown before."""
    if not text:
        return None, 0
    score, _, skip = text.partition("~")
    try:
        found = float(score), int(skip)
    except ValueError:
        found = (float("nan"), -1)
    if found[0] != found[0] or not 0 <= found[1] <= 10**7:
        raise BadRequest(f"after is {text[:50]!r}; begin at the first page again")
    return found


def _after(entries: list[SetEntry], score: float | None, skip: int) -> str:
    last = entries[-1].score
    shown = sum(1 for entry in entries if entry.score == last)
    return f"{last!r}~{shown + (skip if last == score else 0)}"


def _search(kind: Kind, ctx: Context, text: str) -> dict[str, Any]:
    """What is found within the time of a search; `cursor` goes on from there, 0 at the end."""
    owner, cursor = set_of(kind, ctx), ctx.number("cursor", 2**64)
    seen_before = ctx.number("seen")
    size, found, seen = owner.size, list[SetEntry](), 0
    deadline = time.monotonic() + SEARCH_SECONDS
    while True:
        # Where much is found few are looked at: all matches of a step have to be shown.
        step = _STEPS[seen > 0 and len(found) * _RARE < seen]
        cursor, page = owner.scan_page(text, cursor, count=step)
        found += [entry for entry in page if holds(entry, text, ctx.masker)]
        seen += step
        if not cursor or len(found) >= ROWS or time.monotonic() > deadline:
            break
    found.sort(key=lambda entry: entry.score, reverse=kind == "dead")
    return {
        "jobs": [_row(entry, ctx) for entry in found],
        "size": size,
        "next": "",
        "cursor": str(cursor),
        "seen": size if not cursor else min(seen_before + seen, size),
    }


def find(owner: JobSet, key: str) -> SetEntry | None:
    """The entry with exactly the bytes that a key names; None when it is gone, or was changed. Raises `BadRequest`."""
    return answer(owner.access, ask_entry(owner, key))[0]  # type: ignore[no-any-return]


def ask_entry(owner: JobSet, key: str) -> Question[SetEntry | None]:
    """The same among the questions of a page."""
    named = read_key(key)
    if named is None:
        raise BadRequest(f"{key[:50]!r} names no job of a set")
    score, wanted = repr(named[0]), f"{named[0]!r}~{named[1]}"
    [raws] = yield lambda pipeline: pipeline.zrange(owner.key, score, score, byscore=True, offset=0, num=_EQUALS)
    first = owner.entries([(named[0], raw) for raw in raws or ()])
    entries: Iterator[SetEntry] = iter(first) if len(first) < _EQUALS else owner.fetch(named[0])
    return next((entry for entry in entries if key_of(named[0], entry.raw) == wanted), None)


def everything(owner: JobSet, text: str, until: float, ctx: Context) -> Iterator[SetEntry]:
    """All entries, or those that are shown with `text`, which were in the set at `until` (the server's clock)."""
    for entry in owner.scan(text) if text else iter(owner):
        entered = owner.entered(entry)
        if (entered is None or entered <= until) and (not text or holds(entry, text, ctx.masker)):
            yield entry


def change(kind: Kind, ctx: Context) -> View | Done:
    """Carry out an action on the jobs that are named, or on all that match."""
    action, keys = ctx.one("action"), list(ctx.fields.get("key", ()))
    if action not in ACTIONS[kind]:
        raise BadRequest(f"action is {action[:50]!r}; give one of {', '.join(ACTIONS[kind])}")
    ctx.require(action)
    if len(keys) > MOST_TICKED:
        raise BadRequest(f"{len(keys):,} jobs are named; name at most {MOST_TICKED}, or all that match a search")
    whole = ctx.one("all") == "yes"
    if whole == bool(keys):
        raise BadRequest("tick the jobs that are meant, or choose all")
    owner, text = set_of(kind, ctx), ctx.text()
    if not whole:
        return _change_named(kind, ctx, owner, action, keys)
    until = _until(ctx, owner)
    if ctx.one("confirmed") != "yes":
        return _confirm_all(kind, ctx, owner, action, text, until)
    typed = TITLES[kind].lower() if ctx.one("ask_typed") == "yes" else ""
    if typed and ctx.one("typed") != typed:
        return _confirm_all(kind, ctx, owner, action, text, until)
    result = _carry_out(owner, action, everything(owner, text, until, ctx))
    return _done(kind, ctx, action, result)


def _until(ctx: Context, owner: JobSet) -> float:
    """The moment at which the jobs were counted, as the page that asked sends it back."""
    now = owner.access.server_now()
    try:
        return min(float(ctx.one("until") or now), now)
    except ValueError:
        raise BadRequest("until is no time; begin at the list again") from None


def _change_named(kind: Kind, ctx: Context, owner: JobSet, action: str, keys: list[str]) -> View | Done:
    if action in ("delete", "kill") and ctx.one("confirmed") != "yes" and ctx.for_people:
        fields = [("action", action), ("q", ctx.text()), *(("key", key) for key in keys)]
        return _confirmation(kind, ctx, action, len(keys), fields)
    moved = gone = malformed = dropped = 0
    for entry in [find(owner, key) for key in keys]:
        if entry is None:
            gone += 1
        elif entry.malformed and action in ("retry", "enqueue"):
            malformed += 1
        elif action == "kill":
            killed = entry.kill()
            moved, gone, dropped = moved + killed.moved, gone + (not killed.moved), dropped + killed.dropped
        else:
            acts = {"retry": entry.retry, "enqueue": entry.add_to_queue, "delete": entry.delete}
            done = acts[action]()
            moved, gone = moved + done, gone + (not done)
    return _done(kind, ctx, action, BulkResult(moved, gone, malformed, dropped))


def _confirm_all(kind: Kind, ctx: Context, owner: JobSet, action: str, text: str, until: float) -> View:
    counted, complete = owner.size, True
    if text:
        counted, deadline = 0, time.monotonic() + COUNT_SECONDS
        for _ in everything(owner, text, until, ctx):
            counted += 1
            if time.monotonic() > deadline:
                complete = False
                break
    fields = [("action", action), ("q", text), ("all", "yes"), ("until", repr(until))]
    return _confirmation(kind, ctx, action, counted, fields, complete=complete)


def _confirmation(
    kind: Kind, ctx: Context, action: str, count: int, fields: list[tuple[str, str]], *, complete: bool = True
) -> View:
    drops = room = 0
    if action == "kill":
        found = DeadSet(ctx.client).room()
        drops, room = found.would_drop(count), found.max_jobs
    typed = TITLES[kind].lower() if action == "delete" and count >= ASK_FOR_THE_NAME else ""
    data = {
        "action": action,
        "count": count,
        "complete": complete,
        "q": ctx.text(),
        "target": kind,
        "drops": drops,
        "room": room,
        "typed": typed,
        "post": ctx.url(f"/{kind}"),
        "back": ctx.url(f"/{kind}", q=ctx.text()),
        "fields": [*fields, ("ask_typed", "yes")] if typed else fields,
    }
    return View("confirm.html", data, "Confirm", status=200 if ctx.for_people else 409)


def _carry_out(owner: JobSet, action: str, entries: Iterator[SetEntry]) -> BulkResult:
    only = ((entry.score, entry.jid) for entry in entries)  # a kill collects them: without their bytes
    match owner, action:
        case (RetrySet() | DeadSet(), "retry"):
            return owner.retry_all(only=only)
        case (ScheduledSet(), "enqueue"):
            return owner.add_all_to_queue(only=only)
        case (RetrySet() | ScheduledSet(), "kill"):
            # What the limit drops was said before.
            return owner.kill_all(only=only, drop=True)
        case _:
            return owner.delete_all(only=only)


def _done(kind: Kind, ctx: Context, action: str, result: BulkResult) -> Done:
    counts = {name: getattr(result, name) for name in ("moved", "gone", "malformed", "dropped")}
    return Done(action, ctx.url(f"/{kind}", q=ctx.text()), counts)
