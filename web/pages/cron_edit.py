"""A cron entry that is made or changed by hand: the form, what it would do, and the save that is nobody else's loss.

What holds secrets stays as it is: whoever may not see them could have them sent elsewhere. What else is done to entries
is left to `cron.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any
from zoneinfo import available_timezones

from jobd.client import cron as entries
from jobd.client import cron_edits, cron_set, defaults, registry
from jobd.client.cron import CronEntry
from jobd.client.cron_expression import Schedule, parse
from jobd.client.errors import InvalidCron, JobdError, MalformedPayload
from jobd.client.payload import decode
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import as_json, cut
from jobd.web.figures import SPANS, total
from jobd.web.masking import Masker
from jobd.web.pages import cron
from jobd.web.pages.edit import Wrong, read
from jobd.web.questions import Question, name_of
from jobd.web.text import printable

ACTIONS = ("create", "edit")
NEW: Mapping[str, str] = {
    "name": "",
    "cron": "",
    "timezone": "",
    "class": "",
    "args": "[]",
    "kwargs": "{}",
    "queue": defaults.QUEUE,
    "description": "",
    "overlap": "allow",
    "catch_up": "skip",
    "date_as_argument": "no",
    "status": "enabled",
}
"""What the form of a new entry holds."""
FIELDS = tuple(name for name in NEW if name not in ("name", "status"))
"""What is changed in an entry that is there."""
LOCKS = {
    "secret": "It holds secrets, which are hidden here, so it stays as it is.",
    "ruby": "sidekiq-cron made the entry: this is changed there.",
}
"""Why a field cannot be changed."""
SET_BACK = {
    "code": "It stands in the code: each process that starts with it, also after a crash, sets it back.",
    "config": "It stands in a configuration: each process that starts with it, also after a crash, sets it back.",
    "api": "A program made it: if that loads its entries anew, it sets it back.",
    "": "sidekiq-cron made it: if a schedule file of Ruby holds it, it is set back when Ruby starts.",
}
"""What becomes of a change, by where an entry comes from."""
STAYS = "Only whether it is enabled stays as it is."
TICK = "Tick that you know that this is set back, or change it where it stands."
CHANGED = "Somebody has changed the entry meanwhile, so nothing was saved. Look at the differences, and save again."
_PARTS = ("class", "args", "kwargs", "queue")
_OF_RUBY = ("class", "kwargs", "overlap", "catch_up", "date_as_argument")
_RECENT = 6
"""Of the points of ten minutes, those in which a class is looked for."""
_KNOWN = 100
"""Names of classes and of queues that are suggested."""
_LINE = 60
"""Characters of JSON that stand in one line."""
_OFTEN = 60.0
"""Seconds between two runs below which it is said that they come often."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the form suggests: classes that this process has, that have run lately or other entries have, and queues.

    `seen` are all of these classes, also those that are too many to be suggested.
    """

    classes: tuple[str, ...]
    queues: tuple[str, ...]
    seen: frozenset[str]


def show(ctx: Context) -> View:
    """Show the form of one entry, of a new one without a name; who may not edit it sees what it holds alone."""
    if name := ctx.query.get("name", ""):
        before, known = _ask(ctx, name)
        if before is None:
            raise NotFound(f"there is no cron entry {name}")
        return _form(ctx, known, before, fields_of(before, ctx.masker))
    return _form(ctx, _ask(ctx)[1], None, NEW)


def change(ctx: Context) -> View | Done:
    """Make an entry or edit one, or say what that would do; whatever else is done to entries is left to `cron`."""
    action = ctx.one("action")
    if action not in ACTIONS:
        return cron.change(ctx)
    ctx.require_somewhere("cron_edit")
    if several := [name for name in NEW if len(ctx.fields.get(name, " ")) != 1]:
        raise BadRequest(f"{several[0]} is no one text; give it once, arguments as the text of a JSON array")
    sent = {name: _plain(name, ctx.one(name)) for name in NEW if name in ctx.fields}
    return _create(ctx, sent) if action == "create" else _edit(ctx, sent)


def _only_checks(ctx: Context) -> bool:
    """People press a button to save, so that Enter in a field does not; programs say when they only ask."""
    return ctx.one("step") != "save" if ctx.for_people else ctx.one("check") == "yes"


def _plain(name: str, text: str) -> str:
    text = text.replace("\r\n", "\n")
    return text if name == "description" else text.strip()


def _create(ctx: Context, sent: Mapping[str, str]) -> View | Done:
    typed = {**NEW, **sent}
    name = typed["name"]
    there, known = _ask(ctx, name if name.isprintable() and len(name) <= cron.MOST else "")
    try:
        made = _read(typed, FIELDS, None)
    except (InvalidCron, Wrong) as error:
        return _refused(ctx, known, None, typed, str(error))
    ctx.require("cron_edit", cron.queue_of(made))
    if there is None and _only_checks(ctx):
        return _form(ctx, known, None, typed, made)
    if there is not None or not cron_edits.add(ctx.access, made):
        problem = f"name is {made.name!r}, of which there is an entry already; give another name, or edit that one"
        return _refused(ctx, known, None, typed, problem, 409)
    target = f"{made.name}: {made.cron}, {made.job}"
    return Done("create_entry", ctx.cron_url(made.name), {"moved": 1}, target=target)


def _edit(ctx: Context, sent: Mapping[str, str]) -> View | Done:
    name = cron.name_in(ctx)
    before, known = _ask(ctx, name)
    if before is None:
        raise NotFound(f"there is no cron entry {name}")
    ctx.require("cron_edit", cron.queue_of(before))
    if not (given := ctx.one("revision")):
        raise BadRequest(
            "revision is missing; give that of GET /api/v1/cron-edit?name=NAME, so that no other change is lost"
        )
    shown = fields_of(before, ctx.masker)
    typed = {**shown, **sent, "name": name, "status": shown["status"]}
    try:
        after = _read(typed, [each for each in FIELDS if typed[each] != shown[each]], before, ctx.masker)
    except (InvalidCron, Wrong) as error:
        return _refused(ctx, known, before, typed, str(error))
    ctx.require("cron_edit", cron.queue_of(after))
    if given != revision(before, ctx.masker):
        return _refused(ctx, known, before, typed, ctx.t(CHANGED), 409, after)
    if _only_checks(ctx):
        return _form(ctx, known, before, typed, after)
    if before.source in ("code", "config") and ctx.one("known") != "yes":
        problem = ctx.t(TICK) if ctx.for_people else f'{SET_BACK[before.source]} Send "known": "yes"'
        return _refused(ctx, known, before, typed, problem, 400, after)
    if not cron_edits.change(ctx.access, before, after):
        before, known = _ask(ctx, name)
        if before is None:
            raise NotFound(f"there is no cron entry {name}: somebody has deleted it meanwhile")
        return _refused(ctx, known, before, typed, ctx.t(CHANGED), 409, after)
    return Done("edit_entry", ctx.cron_url(name), {"moved": 1}, target=_audited(ctx, before, after))


def _audited(ctx: Context, before: CronEntry, after: CronEntry) -> str:
    """The old and the new schedule, and what else was changed."""
    names = [each["field"] for each in differences(before, after, ctx.masker)]
    others = [name for name in names if name not in ("cron", "timezone")]
    schedule = f"{before.cron} → {after.cron}" if before.cron != after.cron else after.cron
    return f"{after.name}: {schedule}" + (f"; {', '.join(others)}" if others else "")


def _read(
    typed: Mapping[str, str], changed: Iterable[str], before: CronEntry | None, masker: Masker | None = None
) -> CronEntry:
    """The entry that was typed, in which all but the `changed` fields is as `before`.

    Raises `InvalidCron` or `Wrong`, naming field, value and remedy.
    """
    written: dict[str, Any] = {"status": typed["status"]} if before is None else cron_set.as_written(before)
    locked = locks(before, masker) if before and masker else {}
    for name in changed:
        if name in locked:
            raise Wrong(f"{name} cannot be changed here: {LOCKS[locked[name]]}")
        if name in ("args", "kwargs"):
            written[name] = read(typed[name], name, list if name == "args" else dict)
        elif name in ("cron", "timezone"):
            written |= {"cron": typed["cron"], "timezone": typed["timezone"] or None}
        else:
            written[name] = typed[name]
    if not written["queue"]:
        written["queue"] = None if registry.lookup(typed["class"]) else defaults.QUEUE
    made = entries.read(typed["name"], written, "web")
    if before is None:
        return made
    after = replace(made, source=before.source, stored=before.stored)
    if not before.source:
        cron_edits.check_for_ruby(before, after)
    return after


def fields_of(entry: CronEntry, masker: Masker) -> dict[str, str]:
    """What the form holds for an entry, secrets hidden."""
    expression, zone = entry.cron, ""
    if entry.problem is None:
        schedule = entry.schedule
        zone = "" if schedule.timezone == "UTC" else schedule.timezone
        expression = schedule.text.removesuffix(f" {zone}")
    return {
        "name": entry.name,
        "cron": printable(masker.text(expression)),
        "timezone": zone,
        "class": printable(masker.text(entry.job)),
        "args": _json(masker.arguments(cron.call_of(entry), entry.args)),
        "kwargs": _json(masker.keywords(cron.call_of(entry), entry.kwargs)),
        "queue": printable(masker.text(entry.queue or "")),
        "description": printable(masker.text(entry.description)),
        "overlap": entry.overlap,
        "catch_up": entry.catch_up,
        "date_as_argument": "yes" if entry.date_as_argument else "no",
        "status": entry.status or "enabled",
    }


def _json(value: Any) -> str:
    line = printable(as_json(value))
    return line if len(line) <= _LINE else printable(as_json(value, indent=2))


def locks(entry: CronEntry, masker: Masker) -> dict[str, str]:
    """The fields of an entry that cannot be changed, each with the key of `LOCKS` that says why."""
    found: dict[str, str] = {} if entry.source else dict.fromkeys(_OF_RUBY, "ruby")
    if masker.text(entry.description) != entry.description:
        found["description"] = "secret"
    job, message = cron.call_of(entry), _message(entry)
    if masker.payload(job) != job or _hidden(message, masker) != message:
        found |= dict.fromkeys(_PARTS, "secret")
    return found


def _message(entry: CronEntry) -> Any:
    text = entry.stored.get("message", "")
    try:
        return decode(text)
    except MalformedPayload:
        return text


def _hidden(message: Any, masker: Masker) -> Any:
    return masker.payload(message) if isinstance(message, dict) else masker.value(message)


def revision(entry: CronEntry, masker: Masker) -> str:
    """Tells an entry from what it was before a change. Of secrets it tells nothing, so that none can be tried out."""
    told: dict[str, Any] = {name: masker.text(text) for name, text in cron_edits.definition(entry).items()}
    told |= {"args": masker.arguments(cron.call_of(entry), entry.args), "message": _hidden(_message(entry), masker)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: CronEntry, after: CronEntry, masker: Masker) -> list[dict[str, str]]:
    """The fields that are not the same, each as it was and as it is to be."""
    old, new = fields_of(before, masker), fields_of(after, masker)
    return [
        {"field": name, "before": cut(old[name], 200), "after": cut(new[name], 200)}
        for name in FIELDS
        if old[name] != new[name]
    ]


def _refused(
    ctx: Context,
    known: _Known,
    before: CronEntry | None,
    typed: Mapping[str, str],
    problem: str,
    status: int = 400,
    after: CronEntry | None = None,
) -> View:
    """The form with what was typed and why it was not saved; programs get that as an error."""
    text = ctx.masker.text(problem)
    if ctx.for_people:
        return _form(ctx, known, before, typed, after, text, 200 if _only_checks(ctx) else status)
    raise BadRequest(text) if status == 400 else JobdError(text)


def _form(
    ctx: Context,
    known: _Known,
    before: CronEntry | None,
    typed: Mapping[str, str],
    made: CronEntry | None = None,
    error: str = "",
    status: int = 200,
) -> View:
    source = before.source if before else "web"
    locked = {name: LOCKS[why] for name, why in locks(before, ctx.masker).items()} if before else {}
    data = {
        "editing": before is not None,
        "typed": dict(typed),
        "locked": locked,
        "revision": revision(before, ctx.masker) if before else "",
        "source": source,
        "set_back": [ctx.t(text) for text in _set_back(source)],
        "must_know": source in ("code", "config"),
        "knows": ctx.one("known") == "yes",
        "preview": preview(ctx, known, before, made) if made else _begun(ctx, typed) if error else None,
        "classes": known.classes,
        "queues": known.queues,
        "zones": zones() if ctx.for_people else (),
        "error": error,
        "unfinished": not ctx.one("step") and not all(typed[name] for name in ("name", "cron", "class")),
        "may": ctx.may("cron_edit", cron.queue_of(before)) if before else "cron_edit" in ctx.allowed,
        "post": ctx.cron_url(before.name) if before else ctx.url("/cron"),
        "back": ctx.cron_url(before.name) if before else ctx.url("/cron"),
    }
    return View("cron_edit.html", data, "Cron", status)


def _set_back(source: str) -> list[str]:
    found = [SET_BACK[source]] if source in SET_BACK else []
    return [*found, STAYS] if source in ("code", "config") else found


def preview(ctx: Context, known: _Known, before: CronEntry | None, made: CronEntry) -> dict[str, Any]:
    """What an entry would do once it is saved: when it runs, what is different then, what is odd about it."""
    told = _when(ctx, made.schedule)
    ticks = [each["at"] for each in told["next"]]
    return {
        **told,
        "differences": differences(before, made, ctx.masker) if before else [],
        "warnings": [ctx.t(text, **values) for text, values in _warnings(ctx, known, before, made, ticks)],
        "whole": True,
    }


def _begun(ctx: Context, typed: Mapping[str, str]) -> dict[str, Any] | None:
    """The same of what cannot be saved as yet: when it would run, if that is told."""
    try:
        told = _when(ctx, parse(typed["cron"], typed["timezone"] or None))
    except InvalidCron:
        return None
    return {**told, "differences": [], "warnings": [], "whole": False}


def _when(ctx: Context, schedule: Schedule) -> dict[str, Any]:
    now = ctx.read_totals().now
    return {
        "cron": schedule.text,
        "words": cron.words_of(schedule.text, ctx.language),
        "timezone": schedule.timezone,
        "next": cron.upcoming(schedule, list(islice(schedule.between(now, math.inf), cron.NEXT_RUNS_OF_ONE)), now),
    }


def _warnings(
    ctx: Context, known: _Known, before: CronEntry | None, made: CronEntry, ticks: list[float]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """What is worth a second look, as sentences and their values."""
    queue = str(entries.message_of(made)["queue"])
    if not made.enabled:
        yield "It is disabled: it does not run until it is enabled.", {}
    if not ticks:
        yield "No run is to come.", {}
    if len(ticks) > 1 and ticks[1] - ticks[0] < _OFTEN:
        yield "It runs more often than once a minute.", {}
    if queue not in ctx.read_totals().takers:
        yield "No process takes jobs from the queue {queue} now.", {"queue": ctx.masker.text(queue)}
    is_other = before is None or before.job != made.job
    if is_other and registry.lookup(made.job) is None:
        if made.job not in known.seen:
            yield "No job of this class ran in the last hour, and no other entry has it: is its name right?", {}
        yield "Its own options, such as retries, are not known here: it is pushed with those that hold by default.", {}
    if before is not None and before.skips and before.cron != made.cron:
        yield "The run that was to be skipped is forgotten, as the schedule is another one.", {}


@cache
def zones() -> tuple[str, ...]:
    """Names of time zones that people use: those of places."""
    named = (name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/")))
    return tuple(sorted(named))


def _ask(ctx: Context, name: str = "") -> tuple[CronEntry | None, _Known]:
    """The entry of this name, if there is any, and what is suggested."""
    points = SPANS["8h"].now(ctx.access.now())[-_RECENT:]
    counted = ctx.shared.figures.ask(ctx.access.keys, ctx.access.now(), points, hurried=True, once=True)
    (found, others), rows = ctx.ask(_ask_entries(ctx, name), counted)
    ran = total(rows)
    classes = dict.fromkeys([*registry.names(), *sorted(ran, key=lambda each: -ran[each][0]), *others])
    totals = ctx.read_totals()
    queues = dict.fromkeys([*(queue.name for queue in totals.queues[:_KNOWN]), *sorted(totals.takers)])
    return found, _Known(_suggested(classes, ctx.masker), _suggested(queues, ctx.masker), frozenset(classes))


def _suggested(names: Iterable[str], masker: Masker) -> tuple[str, ...]:
    plain = (name for name in names if name and name.isprintable() and len(name) <= cron.MOST)
    return tuple(islice((name for name in plain if masker.text(name) == name), _KNOWN))


def _ask_entries(ctx: Context, name: str) -> Question[tuple[CronEntry | None, list[str]]]:
    """The entry of this name, and the classes of the first entries."""
    keys = ctx.access.keys
    if name:
        cron.check_name(name)
    fields, members = yield lambda pipeline: pipeline.hgetall(keys.cron_entry(name)).smembers(keys.cron_jobs)
    found = entries.from_fields(name, cron_set.decoded(fields)) if name and fields else None
    others = sorted(map(name_of, members or ()))[: cron.MOST]

    def ask(pipeline: Any) -> None:
        for key in others:
            pipeline.hget(key.encode("utf-8", "surrogateescape"), "klass")

    told = yield ask
    return found, sorted({name_of(raw) for raw in told if raw})
