"""Entries of the cron: what they hold, how they are written by people, and how they stand in Redis.

The keys and fields are those of sidekiq-cron 1.8, so that it, its page and jobd see the same entries; jobd's own fields
stand beside them, where Ruby ignores them. Reading and writing Redis is left to `cron_set.py`, ticking to the worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal, cast, get_args

import msgspec

from jobd.client import arguments, defaults, draft, options, payload, registry, settings
from jobd.client import cron_expression as expression
from jobd.client.cron_expression import Schedule
from jobd.client.errors import InvalidArguments, InvalidCron, JobdError, MalformedPayload

Overlap = Literal["allow", "skip"]
CatchUp = Literal["skip", "once", "all"]
Status = Literal["enabled", "disabled"]
Source = Literal["code", "config", "api", "web"]

MARK = "cron_entry"
"""Field of a job that names its entry, where that allows one run at a time."""
WRITTEN_KEYS = (
    *("name", "cron", "timezone", "class", "klass", "args", "kwargs", "queue", "description", "status"),
    *("overlap", "catch_up", "date_as_argument", "active_job"),
    *("queue_name_prefix", "queue_name_delimiter", "symbolize_args"),
)
"""What an entry may hold where people write it: sidekiq-cron's names, and jobd's."""

_YES, _NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0", "")
_MAX_NAME = 200


@dataclass(frozen=True)
class Cron:
    """When a job of the code is to run: `@jobd.job(cron=jobd.Cron("0 8 * * *", timezone="Asia/Ho_Chi_Minh"))`.

    - `expression`: five fields, six with seconds first, `@daily` and the like, `@every 30s`.
    - `timezone`: name of the tz database; UTC unless given.
    - `args`, `kwargs`: arguments of the job; they must fit its signature and travel as JSON.
    - `name`: name of the entry, unique in the cluster; the job's name unless given.
    - `overlap`: `"allow"`, or `"skip"` for ticks at which the job of an earlier one has not ended.
    - `catch_up`: what becomes of ticks missed by over a minute: `"skip"`; `"once"` runs the last of them late, `"all"`
      each of the last 1,000.
    - `queue`: another queue than the job's own. `description`: for people.
    - `date_as_argument`: the tick, in epoch seconds, is passed as a further argument.
    """

    expression: str
    timezone: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    overlap: Overlap = "allow"
    catch_up: CatchUp = "skip"
    queue: str | None = None
    description: str = ""
    date_as_argument: bool = False

    def written(self) -> dict[str, Any]:
        """The same as a mapping in the form of a configuration."""
        named = {key: value for key, value in vars(self).items() if key not in ("expression", "name")}
        return {"cron": self.expression, **{key: value for key, value in named.items() if value not in (None, "")}}


@dataclass(frozen=True, kw_only=True)
class CronEntry:
    """One entry: a name, when it is due, and which job it pushes. Times are epoch seconds.

    `job` is the name of the job, `queue` None means the job's own. `source` is where the entry was written: `code`,
    `config`, `api`, `web` on the dashboard, or `""` by Ruby. An entry in Redis that cannot be used says why in
    `problem`.
    """

    name: str
    cron: str
    job: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    description: str = ""
    status: Status | None = None
    """None in an entry that does not say: enabled, unless it is in Redis already and disabled there."""
    overlap: Overlap = "allow"
    catch_up: CatchUp = "skip"
    date_as_argument: bool = False
    active_job: bool = False
    symbolize_args: bool = False
    queue_name_prefix: str = ""
    queue_name_delimiter: str = ""
    source: str = "api"
    last_time: float | None = None
    """When it last pushed its job, at a tick or by hand."""
    problem: str | None = None
    stored: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Its fields as they stand in Redis; empty for an entry that was not read there."""

    @property
    def enabled(self) -> bool:
        """Whether its ticks push its job."""
        return self.status != "disabled"

    @property
    def skips(self) -> float | None:
        """The tick that is not to be run, by `CronSet.skip_next`; None without one."""
        return payload.read_time(self.stored.get("skip"))

    @property
    def schedule(self) -> Schedule:
        """When it is due. Raises InvalidCron."""
        return expression.parse(self.cron)

    @property
    def timezone(self) -> str:
        """The name of its time zone. Raises InvalidCron."""
        return self.schedule.timezone

    def next_time(self, after: float) -> float | None:
        """The first tick after `after` that is not skipped; None when it is disabled or cannot be used."""
        if self.problem is not None or not self.enabled:
            return None
        found = self.schedule.after(after)
        if found == self.skips:
            found = self.schedule.after(found)
        return found if math.isfinite(found) else None


def read(name: object, written: object, source: Source = "api") -> CronEntry:
    """Return the entry that people wrote as a mapping, in sidekiq-cron's form. Raises InvalidCron."""
    place = f"cron entry {name!r}"
    if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidCron(f"{place}: give a name of up to {_MAX_NAME} characters, without control characters")
    if not isinstance(written, Mapping):
        raise InvalidCron(f'{place} is {written!r}; give a mapping such as {{cron: "0 8 * * *", class: app.report}}')
    for key in written:
        if key not in WRITTEN_KEYS:
            close = get_close_matches(str(key), WRITTEN_KEYS, n=1)
            raise InvalidCron(f"{place} has the key {key!r}; {f'did you mean {close[0]}?' if close else 'remove it'}")
    try:
        schedule = expression.parse(written.get("cron"), written.get("timezone"))
    except InvalidCron as error:
        raise InvalidCron(f"{place}: {error}") from None
    entry = CronEntry(
        name=name,
        cron=schedule.text,
        job=_job_name(place, written),
        args=_args(place, written.get("args")),
        kwargs=_kwargs(place, written.get("kwargs")),
        queue=_queue(place, written.get("queue")),
        description=_text(place, "description", written.get("description")),
        status=_choice(place, "status", written.get("status"), get_args(Status), None),
        overlap=_choice(place, "overlap", written.get("overlap"), get_args(Overlap), "allow"),
        catch_up=_choice(place, "catch_up", written.get("catch_up"), get_args(CatchUp), "skip"),
        date_as_argument=_switch(place, "date_as_argument", written.get("date_as_argument")),
        active_job=_switch(place, "active_job", written.get("active_job")),
        symbolize_args=_switch(place, "symbolize_args", written.get("symbolize_args")),
        queue_name_prefix=_text(place, "queue_name_prefix", written.get("queue_name_prefix")),
        queue_name_delimiter=_text(place, "queue_name_delimiter", written.get("queue_name_delimiter")),
        source=source,
    )
    return bound(entry)


def read_all(written: object, source: Source = "api") -> list[CronEntry]:
    """Return the entries of a mapping from names, or of a list of mappings with names. Raises InvalidCron."""
    if isinstance(written, Mapping):
        return [read(name, each, source) for name, each in written.items()]
    if not isinstance(written, Sequence) or isinstance(written, str | bytes):
        raise InvalidCron(f"cron entries are {written!r}; give a mapping from names to entries")
    entries = [read(each.get("name") if isinstance(each, Mapping) else None, each, source) for each in written]
    names = [entry.name for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidCron(f"two cron entries are named {twice!r}; give one of them another name")
    return entries


def of_handler(handler: registry.Handler, cron: Cron) -> CronEntry:
    """Return the entry of a job of this process. Raises InvalidCron."""
    entry = read(cron.name or handler.name, {**cron.written(), "class": handler.name}, "code")
    return bound(entry, handler)


def bound(entry: CronEntry, handler: registry.Handler | None = None) -> CronEntry:
    """Return the same with its arguments as they travel, which must fit the job where that is known.

    Raises InvalidCron.
    """
    known = handler or registry.lookup(entry.job)
    try:
        arguments.check(entry.job, entry.args, entry.kwargs)
        if known is None:
            return entry
        tick = (0.0,) if entry.date_as_argument else ()
        args, kwargs = arguments.bind(entry.job, known.signature, (*entry.args, *tick), entry.kwargs)
    except InvalidArguments as error:
        raise InvalidCron(f"cron entry {entry.name!r}: {error}") from None
    if entry.date_as_argument:
        return entry
    return replace(entry, args=tuple(args), kwargs=kwargs)


def _job_name(place: str, written: Mapping[str, Any]) -> str:
    given = written.get("class", written.get("klass"))
    if "class" in written and "klass" in written:
        raise InvalidCron(f"{place} has class and klass; keep one of them")
    try:
        return draft.read_class({"class": given})[0]
    except JobdError:
        raise InvalidCron(f"{place}: class is {given!r}; give the name of a job") from None


def _args(place: str, given: object) -> tuple[Any, ...]:
    if given is None:
        return ()
    if isinstance(given, Mapping):
        return (dict(given),)
    if isinstance(given, list | tuple):
        return tuple(given)
    if isinstance(given, str | int | float):
        return (given,)
    raise InvalidCron(f"{place}: args are {given!r}; give a list")


def _kwargs(place: str, given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping) and all(type(key) is str for key in given):
        return dict(given)
    raise InvalidCron(f"{place}: kwargs are {given!r}; give a mapping from names of arguments")


def _queue(place: str, given: object) -> str | None:
    if given is None:
        return None
    if problem := options.queue(given):
        raise InvalidCron(f"{place}: queue is {given!r}: {problem}")
    return str(given)


def _text(place: str, key: str, given: object) -> str:
    if given is None:
        return ""
    if not isinstance(given, str) or given != payload.clean_text(given, len(given)):
        raise InvalidCron(f"{place}: {key} is {given!r}; give text")
    return given


def _choice(place: str, key: str, given: object, choices: Sequence[str], default: Any) -> Any:
    if given is None:
        return default
    if given in choices:
        return given
    raise InvalidCron(f"{place}: {key} is {given!r}; give {' or '.join(choices)}")


def _switch(place: str, key: str, given: object) -> bool:
    word = str(given).lower()
    if given is None or word in _NO:
        return False
    if word in _YES:
        return True
    raise InvalidCron(f"{place}: {key} is {given!r}; give true or false")


def message_of(entry: CronEntry) -> dict[str, Any]:
    """The job of an entry without its id and times, with the options of its class where that is known."""
    handler = registry.lookup(entry.job)
    message: dict[str, Any] = {"queue": defaults.QUEUE}
    if handler is None:
        # What Ruby knows of its class is in the message that it has written; of another class it says nothing.
        stored = _message(entry.stored) or {}
        if entry.stored.get("klass", entry.job) == entry.job:
            message |= stored
        message.pop("kwargs", None)
    else:
        message = {"retry": True, **message, **settings.current().default_options, **handler.options}
    message |= {"class": entry.job, "args": list(entry.args)}
    if entry.kwargs:
        message["kwargs"] = dict(entry.kwargs)
    if entry.queue is not None:
        message["queue"] = entry.queue
    return message


def to_fields(entry: CronEntry) -> dict[str, str]:
    """The fields of an entry as they are written, all but those that change by themselves."""
    return {
        "name": entry.name,
        "klass": entry.job,
        "cron": entry.cron,
        "description": entry.description,
        "args": msgspec.json.encode(list(entry.args)).decode(),
        "date_as_argument": _bool(entry.date_as_argument),
        "message": payload.encode(message_of(entry)).decode(),
        "active_job": _bool(entry.active_job),
        "queue_name_prefix": entry.queue_name_prefix,
        "queue_name_delimiter": entry.queue_name_delimiter,
        "symbolize_args": _bool(entry.symbolize_args),
        "overlap": entry.overlap,
        "catch_up": entry.catch_up,
        "source": entry.source,
    }


def from_fields(name: str, fields: Mapping[str, str]) -> CronEntry:
    """Return the entry that Redis holds. Never raises: what cannot be used says why in `problem`."""
    message, args = _message(fields), _stored_args(fields.get("args", ""))
    problem: str | None = None
    if message is None:
        problem, message = "its message is no job in JSON; save it anew", {}
    cron = fields.get("cron", "")
    try:
        expression.parse(cron)
    except InvalidCron as error:
        problem = str(error)
    kwargs, queue = message.get("kwargs"), message.get("queue")
    return CronEntry(
        name=name,
        cron=cron,
        job=fields.get("klass") or str(message.get("class", "")),
        args=tuple(args),
        kwargs=kwargs if isinstance(kwargs, dict) else {},
        queue=queue if isinstance(queue, str) and queue else defaults.QUEUE,
        description=fields.get("description", ""),
        status="enabled" if fields.get("status") == "enabled" else "disabled",
        overlap=cast(Overlap, _known(fields, "overlap", get_args(Overlap))),
        catch_up=cast(CatchUp, _known(fields, "catch_up", get_args(CatchUp))),
        date_as_argument=fields.get("date_as_argument", "").lower() in _YES,
        active_job=fields.get("active_job", "").lower() in _YES,
        symbolize_args=fields.get("symbolize_args", "").lower() in _YES,
        queue_name_prefix=fields.get("queue_name_prefix", ""),
        queue_name_delimiter=fields.get("queue_name_delimiter", ""),
        source=fields.get("source", ""),
        last_time=payload.read_time(fields.get("last_enqueue_time")),
        problem=problem,
        stored=fields,
    )


def _known(fields: Mapping[str, str], key: str, choices: Sequence[str]) -> str:
    given = fields.get(key, "")
    return given if given in choices else choices[0]


def _message(fields: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        message = payload.decode(fields.get("message", ""))
    except MalformedPayload:
        return None
    return message if isinstance(message.get("class"), str) and message["class"] else None


def _stored_args(text: str) -> list[Any]:
    try:
        given = msgspec.json.decode(text or "[]")
    except (ValueError, RecursionError):
        given = text
    return given if isinstance(given, list) else [given]


def job_of(entry: CronEntry, tick: float, job_id: str) -> dict[str, Any]:
    """The job that an entry of Redis pushes for `tick`, without id and times.

    `job_id` is for ActiveJob, whose jobs have an id of their own. Raises InvalidCron.
    """
    message = _message(entry.stored)
    if entry.problem is not None or message is None:
        raise InvalidCron(f"cron entry {entry.name!r}: {entry.problem}")
    args = [*entry.args, float(tick)] if entry.date_as_argument else list(entry.args)
    if entry.active_job:
        message = _active_job(entry, args, job_id)
    else:
        message["args"] = args
    message.setdefault("queue", defaults.QUEUE)
    message[MARK] = entry.name
    return message


def _active_job(entry: CronEntry, args: list[Any], job_id: str) -> dict[str, Any]:
    queue = entry.queue or defaults.QUEUE
    if entry.queue_name_prefix:
        queue = f"{entry.queue_name_prefix}{entry.queue_name_delimiter or '_'}{queue}"
    inner = {"job_class": entry.job, "job_id": job_id, "queue_name": queue, "arguments": args}
    wrapper = {"class": "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "wrapped": entry.job, "queue": queue}
    return {**wrapper, "description": entry.description, "args": [inner]}


def is_ours(entry: CronEntry) -> bool:
    """Whether jobd may push the job of an entry.

    One that Ruby wrote may be for an ActiveJob class, of which only Ruby knows how it is pushed: its message then holds
    no options.
    """
    if entry.source or entry.active_job or registry.lookup(entry.job) is not None:
        return True
    return "retry" in (_message(entry.stored) or {})


def tick_name(tick: float) -> str:
    """A tick as members of `:enqueued` are named: `2026-11-22T00:02:00Z`."""
    return datetime.fromtimestamp(tick, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tick_time(name: bytes) -> float | None:
    """The tick that a member of `:enqueued` names, in epoch seconds; None for none."""
    try:
        return datetime.fromisoformat(name.decode()).timestamp()
    except ValueError:
        return None


def enqueue_time(now: float) -> str:
    """A time as `last_enqueue_time` holds it: `2026-11-22 00:02:18 +0000`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")


def _bool(value: bool) -> str:
    return "true" if value else "false"
