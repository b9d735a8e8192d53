"""Jobs as pages and the JSON interface show them: plain values, cut to size, without secrets."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from jobd.client.entry import JobEntry
from jobd.client.processes import Process, Work, number
from jobd.web.masking import HIDDEN, Masker
from jobd.web.preview import prune, within

ROW_CHARACTERS = 200
ERROR_CHARACTERS = 300
RAW_CHARACTERS = 4_000
MOST_CAPSULES, MOST_QUEUES = 20, 100
"""Of one process."""
MOST_BYTES = 8_000_000
FEW_ROWS = 10
"""So many rows has a page whose jobs have more bytes than these."""
_ROW_NODES = 200
"""Values of a job's arguments that a row can show at most: more have no room in it."""
PART_CHARACTERS = 500_000
"""About so many of the arguments of a job are shown at all, and of its keywords, other fields and backtrace."""
LARGE = 256_000
"""Bytes of a job from which on its arguments are shown only when asked for."""
_TAGS, _ROW_TAGS, _TAG_CHARACTERS = 20, 8, 60
"""Tags of a job that are shown, in a row, and of how many characters there."""
_known: WeakKeyDictionary[Masker, dict[bytes, dict[str, Any]]] = WeakKeyDictionary()
"""How the last jobs are shown in a row, by their bytes: a page is mostly looked at again, with the same jobs."""
_MOST_KNOWN, _MOST_KEPT_BYTES = 1_000, 4_000
"""Jobs that are known, and bytes of one."""
_SHOWN_ELSEWHERE = frozenset(
    {
        *("class", "wrapped", "args", "kwargs", "jid", "queue", "tags", "created_at", "enqueued_at", "failed_at"),
        *("retried_at", "retry_count", "error_class", "error_message", "error_backtrace"),
        *("edited_from", "edited_into"),
    }
)
Entry = TypeVar("Entry", bound=JobEntry)
_in_a_line = json.JSONEncoder(ensure_ascii=False).encode

_KEY = re.compile(r"(-?[0-9.e+-]{1,40}|-?inf)~([0-9a-f]{16})")


def key_of(place: float | int, raw: bytes) -> str:
    """Names exactly these bytes at this score, or at this distance from the end of a queue."""
    return f"{place!r}~{hashlib.sha256(raw).hexdigest()[:16]}"


def read_key(key: str) -> tuple[float, str] | None:
    """Place and digest that a key names; None when it is none."""
    found = _KEY.fullmatch(key)
    try:
        return (float(found[1]), found[2]) if found else None
    except ValueError:
        return None


def cut(text: str, most: int) -> str:
    """`text`, with a mark where it was cut."""
    return text if len(text) <= most else text[:most] + "…"


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=indent) if indent else _in_a_line(value)


def call_text(entry: JobEntry, masker: Masker, most: int = ROW_CHARACTERS) -> str:
    """The arguments in one line, as in a call."""
    parts, length = list[str](), 0
    places: list[tuple[str | int, Any]] = [*enumerate(entry.args), *entry.kwargs.items()]
    for place, value in places:
        shown = as_json(masker.argument(entry.payload, (place,), prune(value, _ROW_NODES)))
        parts.append(shown if isinstance(place, int) else f"{masker.text(place)}={shown}")
        length += len(parts[-1])
        if length > most:
            break
    return cut(", ".join(parts), most)


def job_row(entry: JobEntry, masker: Masker, key: str, at: float | None = None) -> dict[str, Any]:
    """A job in a list. `at` is the score in a set; none where that is no time, of which JSON knows no name."""
    known = {} if masker.reveals else _known.setdefault(masker, {})
    about = known.get(entry.raw)
    if about is None:
        about = _about(entry, masker)
        if len(entry.raw) <= _MOST_KEPT_BYTES:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[entry.raw] = about
    return {"key": key, "at": at if at is not None and math.isfinite(at) else None, **about}


def _about(entry: JobEntry, masker: Masker) -> dict[str, Any]:
    return {
        "jid": masker.text(entry.jid),
        "class": masker.text(entry.name),
        "queue": masker.text(entry.queue),
        "args": call_text(entry, masker),
        "tags": [cut(tag, _TAG_CHARACTERS) for tag in masker.value(prune(entry.tags, _ROW_TAGS))],
        "retry_count": entry.retry_count,
        "created_at": entry.created_at,
        "enqueued_at": entry.enqueued_at,
        "failed_at": entry.failed_at,
        "error_class": cut(masker.text(entry.error_class), ERROR_CHARACTERS),
        "error_message": cut(masker.text(entry.error_message), ERROR_CHARACTERS),
        "problem": masker.text(entry.problem),
        "raw": raw_text(entry, masker, ROW_CHARACTERS) if entry.malformed else "",
        "bytes": len(entry.raw),
    }


def job_detail(
    entry: JobEntry, masker: Masker, key: str, at: float | None = None, *, whole: bool = True
) -> dict[str, Any]:
    """A job with all that it holds; unless `whole` is given, arguments over 256 kB are left out, which `large` says."""
    large = len(entry.raw) > LARGE and not whole
    others = {} if large else {k: v for k, v in entry.payload.items() if k not in _SHOWN_ELSEWHERE}
    parts = {
        "arguments": [] if large else list(entry.args),
        "kwargs": {} if large else dict(entry.kwargs),
        "fields": others,
        "error_backtrace": list(entry.error_backtrace),
    }
    begun = {name: within(value, PART_CHARACTERS) for name, value in parts.items()}
    args, kwargs = begun["arguments"][0], begun["kwargs"][0]
    found = {
        "arguments": masker.arguments(entry.payload, args),
        "kwargs": masker.keywords(entry.payload, kwargs),
        **{name: masker.value(begun[name][0]) for name in ("fields", "error_backtrace")},
    }
    return {
        **job_row(entry, masker, key, at),
        "tags": masker.value(prune(entry.tags, _TAGS)),
        "retried_at": entry.retried_at,
        **{name: masker.text(jid_in(entry, name)) for name in ("edited_from", "edited_into")},
        "large": large,
        "cut": any(is_cut for _, is_cut in begun.values()),
        **found,
        **({"arguments": None} if large else {}),
        "error_message": masker.text(entry.error_message),
        "raw": raw_text(entry, masker, RAW_CHARACTERS) if entry.malformed else "",
    }


def holds_hidden(document: dict[str, Any]) -> bool:
    """Whether something is hidden in what is shown of a job."""
    return HIDDEN in as_json(document)


def jid_in(entry: JobEntry, field: str) -> str:
    """The id of another job that a field names; empty without one."""
    found = entry.payload.get(field)
    return cut(found, ROW_CHARACTERS) if isinstance(found, str) else ""


def raw_text(entry: JobEntry, masker: Masker, most: int) -> str:
    """What stands in an entry that is no job: its fields if it has any, else its bytes."""
    if entry.payload:
        return cut(as_json(masker.payload(entry.payload, prune(dict(entry.payload), most))), most)
    return cut(masker.text(entry.raw[: most * 4].decode("utf-8", "backslashreplace")), most)


def as_many_as_fit(entries: list[Entry]) -> list[Entry]:
    """The rows of a page: ten at most where all of them together are too large to be shown quickly."""
    return entries if sum(len(entry.raw) for entry in entries) <= MOST_BYTES else entries[:FEW_ROWS]


def process_row(process: Process, masker: Masker, now: float) -> dict[str, Any]:
    """A worker process; `rss` in KiB, times in epoch seconds."""
    names = ("identity", "hostname", "pid", "version", "concurrency", "busy", "quiet", "rss", "rtt_us", "beat")
    found = {
        name: getattr(process, name)
        for name in (*names, "started_at", "embedded", "cpu", "skew", "shows_stacks", "most_threads")
    }
    texts = {"tag": masker.text(process.tag), "labels": [masker.text(label) for label in process.labels]}
    pools = [list(pool.items())[:MOST_QUEUES] for pool in process.weights[:MOST_CAPSULES]]
    weights = {name: weight for pool in pools for name, weight in pool}
    more = {**texts, "silent": now - process.beat, "capsules": _capsules(process), "weights": weights}
    return {**found, "queues": list(process.queues), **more}


def _capsules(process: Process) -> list[dict[str, Any]]:
    """Each pool of a process, with the queues that it takes from and their weights; 0 stands for a strict order."""
    found = []
    for name, told in list(process.capsules.items())[:MOST_CAPSULES]:
        weights = told.get("weights")
        pairs = list(weights.items())[:MOST_QUEUES] if isinstance(weights, dict) else []
        queues = [{"name": str(queue), "weight": int(number(weight))} for queue, weight in pairs]
        found.append({"name": name, "concurrency": int(number(told.get("concurrency"))), "queues": queues})
    return found


def work_row(work: Work, masker: Masker) -> dict[str, Any]:
    """A job that runs."""
    return {
        "process": work.process,
        "thread": work.thread,
        "run_at": work.run_at,
        "cancelled": work.cancelled,
        **job_row(work.entry, masker, ""),
        "queue": masker.text(work.queue or work.entry.queue),
    }
