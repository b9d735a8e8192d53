"""Failed jobs by their cause, and what can be done to all of one: retry, in waves too, move to dead, delete, mute."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from jobd.client import defaults
from jobd.client.bulk import BulkResult, chunks
from jobd.client.deploys import DeployMark
from jobd.client.errors import InvalidArguments
from jobd.client.sets import DeadSet, RetrySet, SetEntry
from jobd.client.waves import Waves
from jobd.web.causes import Cause, Failure, Place, Told, curve, group, since, tell
from jobd.web.context import BadRequest, Context, Done, NotFound, OutOfReach, View
from jobd.web.deploys import ask_deploys, masked
from jobd.web.documents import MOST_BYTES, call_text, cut, key_of, read_key
from jobd.web.masking import Masker
from jobd.web.mutes import Mute, add, ask_mutes, remove
from jobd.web.pages.many import bin_of
from jobd.web.pages.sets import place_of
from jobd.web.questions import Question
from jobd.web.reach import queues_of
from jobd.web.trash import Bin, undone

MOST = 1_000
"""Jobs that are grouped, fewer where they are large: see `documents.MOST_BYTES`."""
PROBES = 10
"""Jobs of each end whose size is looked at first."""
ROWS = 15
"""Causes on a page."""
SAMPLES = 3
ACTIONS = ("retry", "waves", "kill", "delete")
RIGHTS = {"retry": "retry", "waves": "retry", "kill": "kill", "delete": "delete", "mute": "mute", "unmute": "mute"}
SIZE, EVERY = 50, 30
"""Jobs of a wave, and seconds from one to the next, unless others are given."""
TYPED = "failures"
ASK_FOR_THE_NAME = 1_000
"""Jobs from which on a deletion asks to type this page's name."""
_MOST_KNOWN = 5_000
_known: WeakKeyDictionary[Masker, dict[bytes, Told]] = WeakKeyDictionary()
"""What the last jobs have told, by the digest of their bytes: to mask a thousand messages takes its time."""
_last: WeakKeyDictionary[Masker, _Look] = WeakKeyDictionary()
"""What was looked at last: often nothing has failed since."""
_MOST_KEPT_BYTES = 2_000_000
_LOOK_UPS = 100
_EQUALS = 50
"""Entries of one score that a look-up reads; Redis is asked again if there are more."""


def show(ctx: Context) -> View:
    """Show the causes, that of most jobs first."""
    offset = ctx.number("offset")
    now = ctx.access.now()
    (look, retries, dead), mutes, marks = ctx.ask(
        _ask_failures(ctx), ask_mutes(ctx.access, now), ask_deploys(ctx.access, now)
    )
    partly = len(look.failures) < retries + dead
    held = _held(look.causes, mutes, partly=partly)
    causes = sorted(look.causes, key=lambda cause: id(cause) in held)
    begin = since(causes, now)
    rows = [
        {
            **look.row(cause, ctx),
            **_within(cause, ctx),
            "curve": curve(cause, begin, now),
            "deploy": _deploy(cause, marks, ctx),
            "mute": _mute_of(cause, mutes),
            "muted": id(cause) in held,
        }
        for cause in causes[offset : offset + ROWS]
    ]
    data = {
        "causes": rows,
        "muted": len(held),
        "partly": partly,
        "count": len(causes),
        "seen": len(look.failures),
        "retries": retries,
        "dead": dead,
        "most": MOST,
        "most_bytes": MOST_BYTES,
        "since": begin,
        "until": look.until,
        "actions": [each for each in (*ACTIONS, "mute") if RIGHTS[each] in ctx.allowed],
        "offset": offset,
        "next": offset + ROWS if offset + ROWS < len(causes) else None,
        "now": now,
    }
    return View("failures.html", data, "Failures")


def _within(cause: Cause, ctx: Context) -> dict[str, bool]:
    """Whether no job of a cause is within reach of the user, and whether all are; by their queues as they are shown."""
    if not ctx.reach.limited:
        return {"locked": False, "mutable": True}
    taken = [ctx.reach.takes(name) for name in {each.told.queue for each in cause.failures}]
    return {"locked": not any(taken), "mutable": all(taken)}


def _held(causes: Iterable[Cause], mutes: Mapping[str, Mute], *, partly: bool) -> set[int]:
    """The causes that are muted and have not grown, by their `id()`."""
    if not mutes:
        return set()
    found = ((cause, mutes.get(cause.id)) for cause in causes)
    return {id(cause) for cause, mute in found if mute is not None and mute.holds(cause, partly=partly)}


def _mute_of(cause: Cause, mutes: Mapping[str, Mute]) -> dict[str, Any] | None:
    """Who has muted it, whether that still holds or not."""
    mute = mutes.get(cause.id) if mutes else None
    return None if mute is None else {"by": mute.by, "at": mute.at, "count": mute.count}


def _deploy(cause: Cause, marks: Sequence[DeployMark], ctx: Context) -> dict[str, Any] | None:
    """The last deploy before the first failure that is known of a cause; None where none is marked before that."""
    first = cause.first
    mark = None if first is None else next((mark for mark in marks if mark.at <= first), None)
    if first is None or mark is None:
        return None
    return {"at": mark.at, "label": masked(mark.label, ctx.masker), "after": first - mark.at}


class _Look:
    """The failures that are looked at, and what is made of them."""

    def __init__(self, told: Sequence[Any], failures: list[Failure]) -> None:
        self.told, self.failures, self.causes = told, failures, group(failures)
        self.until = _until(failures)
        self._rows: dict[int, dict[str, Any]] = {}

    def row(self, cause: Cause, ctx: Context) -> dict[str, Any]:
        """What is shown of one of the causes whenever it is looked at."""
        found = self._rows.get(id(cause))
        if found is None:
            found = self._rows[id(cause)] = _row(cause, ctx)
        return found


def _ask_failures(ctx: Context) -> Question[tuple[_Look, int, int]]:
    """The failures that are looked at, and how many entries both sets have."""
    keys = ctx.access.keys
    ends = (keys.retry, False), (keys.retry, True), (keys.dead, True)

    def ask(pipeline: Any, counts: Sequence[int]) -> Any:
        for (key, latest), count in zip(ends, counts, strict=True):
            scores = ("+inf", "-inf") if latest else ("-inf", "+inf")
            pipeline.zrange(key, *scores, byscore=True, desc=latest, offset=0, num=count, withscores=True)
        return pipeline

    *probes, retries, dead = yield lambda pipeline: ask(pipeline, [PROBES] * 3).zcard(keys.retry).zcard(keys.dead)
    sizes = [[len(raw) for raw, _ in probe or ()] for probe in probes]
    counts = fitting(_shares(retries or 0, dead or 0), sizes)
    told = yield lambda pipeline: ask(pipeline, counts)
    look = _last.get(ctx.masker)
    # What is to be changed is made of entries that belong to the client for changes.
    if look is None or ctx.changes or look.told != told:
        look = _Look(told, list(_read(told, ctx)))
        if not ctx.changes and sum(len(each.entry.raw) for each in look.failures) <= _MOST_KEPT_BYTES:
            _last[ctx.masker] = look
    return look, retries or 0, dead or 0


def _read(told: Sequence[Any], ctx: Context) -> Iterator[Failure]:
    """The failures among the members with their scores: retries from the front, from the back, and dead jobs."""
    first, last, deaths = told
    waiting = dict.fromkeys((float(at), raw) for raw, at in [*(first or ()), *(last or ())])
    yield from _failures(RetrySet(ctx.client).entries(list(waiting)), "retries", ctx)
    died = [(float(at), raw) for raw, at in deaths or ()]
    yield from _failures(DeadSet(ctx.client).entries(died), "dead", ctx)


def _shares(retries: int, dead: int) -> tuple[int, int, int]:
    """How many are read: retries from the front and from the back, dead from the back, half of all if need be."""
    died = min(dead, max(MOST // 2, MOST - retries))
    waiting = min(retries, MOST - died)
    front = waiting if waiting == retries else -(-waiting // 2)
    return front, waiting - front, died


def fitting(shares: Sequence[int], sizes: Sequence[Sequence[int]]) -> list[int]:
    """As many of each share as have MOST_BYTES together, if all are as large as those whose sizes are known. Pure."""
    whole = max(sum(shares), 1)
    return [
        min(share, max(MOST_BYTES * share * len(known) // (whole * max(sum(known), 1)), 1)) if known else share
        for share, known in zip(shares, sizes, strict=True)
    ]


def failure(entry: SetEntry, place: Place, ctx: Context) -> Failure:
    """A failed job with what is known of it."""
    return next(_failures([entry], place, ctx))


def _failures(entries: Iterable[SetEntry], place: Place, ctx: Context) -> Iterator[Failure]:
    """Failed jobs with what is known of them, which for most is still known from the last look."""
    known = _known.setdefault(ctx.masker, {})
    for entry in entries:
        digest = hashlib.sha256(entry.raw).digest()
        told = known.get(digest)
        if told is None:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            told = known[digest] = tell(entry, ctx.masker)
        yield Failure(place, entry, told)


def _until(failures: Iterable[Failure]) -> float | None:
    """The last failure that is shown, by the clock of the workers: what fails later is not meant."""
    return max((at for each in failures if (at := each.entered) is not None), default=None)


def _row(cause: Cause, ctx: Context) -> dict[str, Any]:
    return {
        **_about(cause),
        "count": len(cause.failures),
        "in_retries": cause.count("retries"),
        "in_dead": cause.count("dead"),
        "first": cause.first,
        "last": cause.last,
        "queues": cause.queues[:5],
        "more_queues": max(len(cause.queues) - 5, 0),
        "q": cause.search,
        "samples": [_sample(each, ctx) for each in cause.failures[:SAMPLES]],
    }


def _about(cause: Cause) -> dict[str, Any]:
    told = cause.told
    return {"id": cause.id, "class": told.name, "error_class": told.error, "message": told.message}


def _sample(each: Failure, ctx: Context) -> dict[str, Any]:
    jid = cut(ctx.masker.text(each.entry.jid), 50)
    return {"place": each.place, "key": each.key, "jid": jid, "args": call_text(each.entry, ctx.masker, 60)}


def change(ctx: Context) -> View | Done:
    """Ask about, or carry out, an action on the jobs of one cause."""
    action = ctx.one("action")
    if action not in RIGHTS:
        raise BadRequest(f"action is {action[:50]!r}; give one of {', '.join(RIGHTS)}")
    ctx.require_somewhere(RIGHTS[action])
    if action in ("mute", "unmute"):
        return _mute(ctx) if action == "mute" else _unmute(ctx)
    waves = _waves(ctx) if action == "waves" else None
    keys = " ".join(ctx.fields.get("jobs", ())).split()
    named = _named(ctx, keys) if keys else _grouped(ctx, action)
    found = [each for each in named if ctx.reach.takes_job(each.entry)]
    if not found:
        raise OutOfReach(RIGHTS[action], ctx.reach)
    cause, left = Cause.of(found), len(named) - len(found)
    asked = (
        ctx.one("confirmed") != "yes"
        or ctx.one("again") == "yes"
        or not keys
        or (waves is not None and ctx.one("said") != _said(waves))
        or (action == "delete" and len(found) >= ASK_FOR_THE_NAME and ctx.one("typed") != TYPED)
    )
    if asked:
        return _confirmation(ctx, action, cause, waves, left)
    taken = bin_of(ctx, action)
    result = _carry_out(ctx, action, found, waves, taken)
    counts = {name: getattr(result, name) for name in ("moved", "gone", "malformed", "dropped")}
    counts |= {"gone": counts["gone"] + len(keys) - len(named), "left": left}
    undo, final = undone(taken)
    return Done(action, ctx.url("/failures"), {**counts, **final}, _target(cause), undo=undo)


def _target(cause: Cause) -> str:
    return ": ".join(filter(None, (cause.told.name, cause.told.error, cause.told.message)))


def _mute(ctx: Context) -> Done:
    """Mute a cause with as many jobs as were shown, if all that it has are within reach."""
    _require_mute(ctx, ctx.one("group"))
    found = _grouped(ctx, "mute")
    cause = Cause.of(found)
    told, now = cause.told, ctx.access.server_now()
    if not add(ctx.access, cause.id, Mute(ctx.user.name, now, len(found), told.name, told.error)):
        raise BadRequest(f"{defaults.MUTED_CAUSES} causes are muted, and no more may be; unmute one first")
    return Done("mute", ctx.url("/failures"), target=_target(cause))


def _require_mute(ctx: Context, wanted: str) -> None:
    """Raise `Forbidden` unless all jobs of a cause are of queues of the user; where none is left, all queues are."""
    if not ctx.reach.limited:
        return
    [(look, _, _)] = ctx.ask(_ask_failures(ctx))
    causes = (cause for cause in look.causes if cause.id == wanted)
    ctx.require("mute", *{name for cause in causes for each in cause.failures for name in queues_of(each.entry)})


def _unmute(ctx: Context) -> Done:
    wanted = ctx.one("group")
    _require_mute(ctx, wanted)
    mute = remove(ctx.access, wanted) if wanted.isascii() else None
    if mute is None:
        raise NotFound("this cause is not muted: somebody has unmuted it, or the time for that is over")
    return Done("unmute", ctx.url("/failures"), target=": ".join(filter(None, (mute.name, mute.error))) or wanted)


def _waves(ctx: Context) -> Waves:
    """The waves that are asked for. Raises `BadRequest`."""
    given = {name: ctx.one(name) or str(default) for name, default in (("size", SIZE), ("every", EVERY))}
    for name, text in given.items():
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= 10**6 or len(text) > 7:
            raise BadRequest(f"{name} is {text[:50]!r}; give a whole number from 1 to 1,000,000")
    try:
        return Waves.of(int(given["size"]), int(given["every"]), 0.0)
    except InvalidArguments as error:
        raise BadRequest(str(error)) from None


def _said(waves: Waves) -> str:
    return f"{waves.size} {waves.every:g}"


def _grouped(ctx: Context, action: str) -> list[Failure]:
    """The jobs of the cause that is named by its id, without those that failed after it was shown.

    For a mute those count that first failed before: a job that was retried meanwhile is none more.
    """
    [(look, _, _)] = ctx.ask(_ask_failures(ctx))
    until = ctx.until(math.inf)
    wanted = ctx.one("group")
    for cause in look.causes:
        if cause.id == wanted:
            came = ((each, each.told.first if action == "mute" else each.entered) for each in cause.failures)
            kept = [each for each, at in came if at is None or at <= until]
            kept = [each for each in kept if action != "kill" or each.place == "retries"]
            if kept:
                return kept
    raise NotFound("no job of this cause is left here: they have run, or somebody has moved them")


def _named(ctx: Context, keys: Sequence[str]) -> list[Failure]:
    """The jobs with exactly the bytes that are named, those which are still there."""
    if len(keys) > MOST:
        raise BadRequest(f"{len(keys):,} jobs are named; name at most {MOST:,}")
    wanted: dict[Place, dict[float, set[str]]] = {"retries": {}, "dead": {}}
    for name in keys:
        kind, _, key = name.partition(":")
        place: Place | None = {"r": "retries", "d": "dead"}.get(kind)  # type: ignore[assignment]
        named = read_key(key)
        if place is None or named is None:
            raise BadRequest(f"{name[:50]!r} names no failed job; begin at the list again")
        wanted[place].setdefault(named[0], set()).add(f"{named[0]!r}~{named[1]}")
    found = [failure(each, "retries", ctx) for each in _look_up(RetrySet(ctx.client), wanted["retries"])]
    found += [failure(each, "dead", ctx) for each in _look_up(DeadSet(ctx.client), wanted["dead"])]
    if not found:
        raise NotFound("no job of this cause is left here: they have run, or somebody has moved them")
    return found


def _look_up(owner: RetrySet | DeadSet, wanted: dict[float, set[str]]) -> Iterator[SetEntry]:
    for scores in chunks(wanted, _LOOK_UPS):

        def ask(pipeline: Any, scores: Sequence[float] = scores) -> None:
            for score in scores:
                pipeline.zrange(owner.key, repr(score), repr(score), byscore=True, offset=0, num=_EQUALS)

        for score, raws in zip(scores, owner.access.read_all(ask), strict=True):
            first = owner.entries([(score, raw) for raw in raws or ()])
            entries: Iterable[SetEntry] = first if len(first) < _EQUALS else owner.fetch(score)
            yield from (each for each in entries if key_of(score, each.raw) in wanted[score])


def _carry_out(
    ctx: Context, action: str, found: Sequence[Failure], waves: Waves | None, taken: Bin | None
) -> BulkResult:
    retries, dead = RetrySet(ctx.client), DeadSet(ctx.client)
    waiting = [each.entry for each in found if each.place == "retries"]
    died = [each.entry for each in found if each.place == "dead"]
    if action == "kill":
        # What the limit drops was said before.
        return retries.kill_all(only=waiting, drop=True)
    if waves is not None:
        start = retries.access.server_now()
        given: dict[str, Any] = {"size": waves.size, "every": waves.every, "start": start}
        first = retries.retry_in_waves(**given, only=waiting)
        return _sum(first, dead.retry_in_waves(**given, only=died, placed=first.moved + first.gone))
    if action == "retry":
        return _sum(retries.retry_all(only=waiting), dead.retry_all(only=died))
    if taken is None:
        return _sum(retries.delete_all(only=waiting), dead.delete_all(only=died))
    result = BulkResult()
    for place, entries in ((place_of("retries", ctx), waiting), (place_of("dead", ctx), died)):
        for page in chunks(entries, place.portion):
            result = result.and_also(taken.deletes(place)(page))
    return result


def _sum(one: BulkResult, other: BulkResult) -> BulkResult:
    return BulkResult(
        one.moved + other.moved, one.gone + other.gone, one.malformed + other.malformed, one.dropped + other.dropped
    )


def _confirmation(ctx: Context, action: str, cause: Cause, waves: Waves | None, left: int) -> View:
    count = len(cause.failures)
    keys = " ".join(f"{each.place[0]}:{each.key}" for each in cause.failures)
    fields = [("action", action), ("jobs", keys)]
    drops = room = 0
    if action == "kill":
        found = DeadSet(ctx.client).room()
        drops, room = found.would_drop(count), found.max_jobs
    typed = TYPED if action == "delete" and count >= ASK_FOR_THE_NAME else ""
    data: dict[str, Any] = {
        "about": _about(cause),
        "action": action,
        "count": count,
        "queues": ctx.reach.shown,
        "left": left,
        "undo": ctx.shared.undo,
        "drops": drops,
        "room": room,
        "typed": typed,
    }
    if waves is not None:
        try:
            waves.check(count)
        except InvalidArguments as error:
            raise BadRequest(str(error)) from None
        fields.append(("said", _said(waves)))
        data |= {"size": waves.size, "every": waves.every, "waves": waves.count(count), "lasts": waves.lasts(count)}
        if not ctx.for_people:
            fields += [("size", str(waves.size)), ("every", f"{waves.every:g}")]
    view = {**data, "post": ctx.url("/failures"), "back": ctx.url("/failures"), "fields": fields}
    return View("failures_confirm.html", view, "Confirm", status=200 if ctx.for_people else 409)
