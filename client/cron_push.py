"""What a tick of a cron entry becomes in Redis: the call that claims it and pushes its job, or notes why not.

Pure but for the random job id and client middleware. When which tick is due is decided in the worker, which also tells
how the job of a run has ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import msgspec

from jobd.client import cron, defaults, draft, payload, scripts
from jobd.client.cron import CronEntry
from jobd.client.draft import NO_OPTIONS, Item
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps
from jobd.client.scripts import Call, CronClaim, CronOutcome, CronPush

Skipped = Literal["late", "overlap", "middleware", "asked"]
Ending = Literal["ok", "retry", "postponed", "expired", "failed", "dead"]

EXPECTED = ("cron", "status", "klass", "message", "args", "date_as_argument", "active_job", "overlap", "catch_up")
"""Fields that must be as they were read when a tick is claimed: whoever has disabled an entry can rely on it."""
_INSTEAD: tuple[Skipped, ...] = ("overlap", "asked")
"""What a tick that was to be run may become, as Redis alone knows."""


@dataclass(frozen=True, slots=True)
class CronRun:
    """What became of one tick. Times are epoch seconds.

    `tick` is None for a run by hand and for one that sidekiq-cron pushed. `jid` is that of the job, `skipped` says
    why there is none: `late`, `overlap` (the last job had not ended), `middleware` (client middleware stopped it) or
    `asked` (somebody wanted this tick skipped).
    `missed` is how many ticks before this one were not run at all, counted up to 1,000.

    `outcome` is how the last attempt of the job ended, and `ended` when: `ok`; `retry` (it failed) or `postponed` (it
    was put off), and it is to run again at `due`; `expired` (it was not begun in time); `failed` (it is neither retried
    nor kept); `dead`. None when that is not known: it has not ended, a process of Ruby ran it, or whoever ran it was
    killed before it could tell. So `retry` may stand long after `due`, and then no more is known.
    """

    tick: float | None = None
    at: float = 0.0
    jid: str | None = None
    skipped: Skipped | None = None
    missed: int = 0
    outcome: Ending | None = None
    ended: float | None = None
    due: float | None = None

    def as_json(self) -> bytes:
        """As it stands in Redis."""
        fields = asdict(self)
        return msgspec.json.encode({key: value for key, value in fields.items() if value is not None})

    @classmethod
    def from_json(cls, raw: bytes) -> CronRun | None:
        """The same back; None for what is none."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class CronEnd:
    """How an attempt of a job of an entry ended, as `CronRun` has it."""

    outcome: Ending
    ended: float
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call, and the job that it is to push: None when it only notes a tick."""

    call: Call[CronOutcome]
    jid: str | None


def attempt(
    keys: Keys, entry: CronEntry, tick: float | None, now: float, timestamps: Timestamps, *, missed: int = 0
) -> Attempt:
    """Run an entry for one tick at `now`, or by hand with None. Raises InvalidCron, and what client middleware does."""
    moment = now if tick is None else tick
    fields = cron.job_of(entry, moment, str(uuid.uuid4()))
    item = draft.complete(Item(fields, NO_OPTIONS), now, timestamps)
    if item is None:
        return Attempt(_call(keys, entry, tick, now, None, CronRun(tick, now, None, "middleware", missed)), None)
    item.pop("at", None)
    payload.stamp(item, now, timestamps)
    push = CronPush(
        queue=item["queue"],
        payload=payload.encode(item),
        jid=item["jid"],
        hold=defaults.CRON_HOLD if entry.overlap == "skip" else 0.0,
        history=msgspec.json.encode({"jid": item["jid"], "enqueued": cron.enqueue_time(now)}),
        enqueue_time=cron.enqueue_time(now),
    )
    return Attempt(_call(keys, entry, tick, now, push, CronRun(tick, now, item["jid"], None, missed)), item["jid"])


def give_up(keys: Keys, entry: CronEntry, tick: float, now: float, missed: int) -> Call[CronOutcome]:
    """Note that `tick`, and `missed` ones before it, are too late to be run."""
    return _call(keys, entry, tick, now, None, CronRun(tick, now, None, "late", missed))


def _call(
    keys: Keys, entry: CronEntry, tick: float | None, now: float, push: CronPush | None, run: CronRun
) -> Call[CronOutcome]:
    overlapping, asked = (CronRun(tick, now, None, why, run.missed).as_json() for why in _INSTEAD)
    expected = {key: entry.stored.get(key, "") for key in EXPECTED}
    claim: CronClaim = "tick"
    if tick is None:
        claim, expected = "hand", {"cron": entry.stored.get("cron", "")}
    elif tick < now - defaults.CRON_GRACE:
        claim = "late"
    moment = now if tick is None else tick
    return scripts.cron_tick(
        keys,
        entry.name,
        claim,
        (cron.tick_name(moment), moment),
        now,
        push,
        runs=(run.as_json(), overlapping, asked),
        expected=expected,
    )


def with_end(noted: Sequence[bytes], jid: str, end: CronEnd) -> tuple[bytes, bytes] | None:
    """The run of a job as it stands among those noted, and the same with the end of the job.

    None when it is not among them, or a later end is known.
    """
    for raw in noted:
        run = CronRun.from_json(raw) if jid.encode() in raw else None
        if run is not None and run.jid == jid:
            if run.ended is not None and run.ended > end.ended:
                return None
            return raw, replace(run, outcome=end.outcome, ended=end.ended, due=end.due).as_json()
    return None


def merged(noted: Iterable[bytes], history: Iterable[bytes]) -> list[CronRun]:
    """The runs that jobd has noted, and those of sidekiq-cron's list that it has not, newest first.

    Both as they stand in Redis; what cannot be read is left out.
    """
    runs = [run for run in map(CronRun.from_json, noted) if run is not None]
    known = {run.jid for run in runs}
    others = [
        CronRun(None, at, str(each["jid"]))
        for each in map(_object, history)
        if each.get("jid") and each["jid"] not in known and (at := payload.read_time(each.get("enqueued"))) is not None
    ]
    return sorted([*runs, *others], key=lambda run: run.at, reverse=True)[: defaults.CRON_RUNS]


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
