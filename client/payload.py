"""A job as it stands in Redis: one JSON object, in Sidekiq's fields.

Building, encoding and reading of payloads; pure but for the random job id. What the fields mean to
a push is in `push.py`, what they mean to a run in `call.py`.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from jobd.client import defaults
from jobd.client.errors import MalformedPayload

Timestamps = Literal["s", "ms"]
"""How times are written into payloads: float seconds, or Sidekiq 8's integer milliseconds."""

ACTIVE_JOB_WRAPPERS = frozenset({"Sidekiq::ActiveJob::Wrapper", "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"})

MAX_NESTING = 100
"""Levels that Ruby's parser reads; it would lose a deeper job when it promotes it."""
FIRST_MS = 10**11
"""A time from here on is milliseconds: as seconds it would be the year 5138."""
_MAX_BACKTRACE = 1_000_000
"""Bytes to which a stored backtrace may unpack; more is not a backtrace but an attack."""

_SomeText = Annotated[str, msgspec.Meta(min_length=1)]


class Entry(msgspec.Struct, frozen=True, eq=False):
    """The fields of a payload that a run needs, as they usually are."""

    name: _SomeText = msgspec.field(name="class")
    jid: _SomeText
    args: list[Any]
    kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    retry_count: int | None = None
    tags: list[Any] | None = None
    enqueued_at: float | None = None
    """As it stands there: milliseconds from `FIRST_MS` on."""


class _PlainEntry(Entry, kw_only=True, frozen=True, eq=False):
    """What `plain_entry` reads: nothing else fits these types than what needs no second look."""

    retry: bool | int
    """Without it the options of the job's definition hold."""
    wrapped: None = None
    log_level: None = None
    expires_in: None = None
    cron_entry: None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_entry_decoder = msgspec.json.Decoder(_PlainEntry)


def new_jid() -> str:
    """Return a new job id: 24 lower-case hex digits."""
    return os.urandom(12).hex()


def encode(payload: Mapping[str, Any]) -> bytes:
    """Return `payload` as compact JSON in raw UTF-8; a float keeps its point (`2.0`).

    Sidekiq finds a member of a set by its exact bytes, so that spaces or escapes would make it miss.
    The values are trusted: `arguments.check` and `options.check` have seen what an application gave.
    """
    return _encoder.encode(payload)


def decode(raw: bytes | str) -> dict[str, Any]:
    """Return the payload in `raw`; unknown keys are kept.

    Raises `MalformedPayload` when `raw` is no JSON, no object, or nested too deeply.
    """
    try:
        payload = _decoder.decode(raw)
    except RecursionError:
        raise MalformedPayload("the payload is nested too deeply") from None
    except ValueError as error:  # msgspec.DecodeError and UnicodeDecodeError are both
        raise MalformedPayload(f"the payload is not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise MalformedPayload(f"the payload is a JSON {type(payload).__name__}, not an object")
    if len(raw) > 2 * MAX_NESTING and _openings(raw) > MAX_NESTING and _depth(payload) > MAX_NESTING:
        raise MalformedPayload(f"the payload is nested too deeply: over {MAX_NESTING} levels")
    return payload


def plain_entry(raw: bytes) -> Entry | None:
    """Return what a run needs of the payload in `raw`, without the price of `decode`.

    None when it is not of the kind that jobd and Sidekiq write for a plain job: one to be judged by `decode`. What is
    here is sound JSON and no deeper than it may be, except for numbers beyond a double in fields that are not read.
    """
    if len(raw) > 2 * MAX_NESTING and _openings(raw) > MAX_NESTING:
        return None
    try:
        if not raw.isascii():
            str(raw, "utf-8")  # fields that are not read are not checked for it below
        return _entry_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None


def _openings(raw: bytes | str) -> int:
    """A bound for the depth that costs next to nothing, since most payloads are flat."""
    if isinstance(raw, str):
        return raw.count("[") + raw.count("{")
    return raw.count(b"[") + raw.count(b"{")


def _depth(payload: object) -> int:
    """Levels of arrays and objects; without recursion, whose limit differs between versions of Python."""
    deepest, level = 0, [payload]
    while level := [value for value in level if isinstance(value, dict | list)]:
        deepest += 1
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return deepest


def normalise(
    item: Mapping[str, Any], *, under: Mapping[str, Any], now: float, timestamps: Timestamps = "s"
) -> dict[str, Any]:
    """Return a complete payload of `item`, its fields in Sidekiq's order.

    `item` holds at least `class` and `args`; `under` holds the options that it may override; `now` is
    epoch seconds. `jid` and `created_at` are kept when given, so that a job pushed again keeps its
    identity. `enqueued_at` is left to `stamp`; `at` is kept for middleware and taken out by the push.
    """
    payload = {"retry": True, "queue": defaults.QUEUE, **under, **item}
    payload.pop("enqueued_at", None)
    if not payload.get("jid"):
        payload["jid"] = new_jid()
    payload.setdefault("created_at", write_time(now, timestamps))
    return payload


def stamp(payload: dict[str, Any], now: float, timestamps: Timestamps = "s") -> None:
    """Note in `payload` that it enters a queue at `now` (epoch seconds)."""
    payload.pop("enqueued_at", None)
    payload["enqueued_at"] = write_time(now, timestamps)


def write_time(now: float, timestamps: Timestamps = "s") -> float | int:
    """Return epoch seconds `now` as a payload holds it.

    Never integer seconds: Sidekiq 8 would read them as milliseconds.
    """
    return float(now) if timestamps == "s" else int(now * 1000)


def read_time(value: object) -> float | None:
    """Return a payload's time as epoch seconds, or None when it is none.

    Reads float seconds, integer milliseconds, integer seconds, the same as text, and ISO 8601.
    """
    if type(value) is float and 0.0 <= value < FIRST_MS:
        return value  # as nearly all are
    if isinstance(value, str):
        value = _parse_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    if not math.isfinite(seconds):
        return None
    return seconds / 1000 if seconds >= FIRST_MS else seconds


def _parse_time(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip().replace(" +", "+").replace(" UTC", "Z"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def clean_text(text: str, limit: int = defaults.MAX_ERROR_MESSAGE) -> str:
    """Return at most `limit` characters of `text` that can be written as UTF-8."""
    return text[:limit].encode("utf-8", "replace").decode()


def encode_backtrace(lines: Iterable[str]) -> str:
    """Return a backtrace as `error_backtrace` holds it: base64 on one line, zlib, a JSON array."""
    packed = zlib.compress(_encoder.encode([clean_text(line) for line in lines]))
    return base64.b64encode(packed).decode()


def decode_backtrace(text: object) -> list[str]:
    """Return the lines in `error_backtrace`, line breaks in its base64 allowed; [] when unreadable."""
    if not isinstance(text, str):
        return []
    try:
        unpacker = zlib.decompressobj()
        packed = base64.b64decode("".join(text.split()), validate=True)
        lines = _decoder.decode(unpacker.decompress(packed, _MAX_BACKTRACE))
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


def display_name(payload: Mapping[str, Any]) -> str:
    """Return the name under which people know the job: `display_class`, `wrapped` or `class`."""
    names = (payload.get(field) for field in ("display_class", "wrapped", "class"))
    return next((name for name in names if isinstance(name, str) and name), "")


def is_active_job(payload: Mapping[str, Any]) -> bool:
    """Whether Rails has pushed it through ActiveJob: its arguments are encoded as `active_job.py` says."""
    name = payload.get("class")
    return isinstance(name, str) and name in ACTIVE_JOB_WRAPPERS


def dispatch_names(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names under which the job may be registered, the one to try first in front.

    ActiveJob pushes a wrapper as `class` and the job's own class as `wrapped`, and again within its argument.
    """
    names = [payload.get("wrapped"), payload.get("class")]
    if is_active_job(payload):
        args = payload.get("args")
        inner = args[0] if isinstance(args, list) and args and isinstance(args[0], dict) else {}
        names.insert(1, inner.get("job_class"))
    return tuple(name for name in names if isinstance(name, str) and name)


def entry_of(payload: Mapping[str, Any]) -> Entry:
    """Return what a run needs of any payload.

    Raises `MalformedPayload` when `args` or `kwargs` cannot be those of a call.
    """
    args, kwargs = call_arguments(payload)
    count, tags = payload.get("retry_count"), payload.get("tags")
    return Entry(
        next(iter(dispatch_names(payload)), ""),
        str(payload.get("jid") or ""),
        args,
        kwargs,
        retry_count=count if isinstance(count, int) and not isinstance(count, bool) else None,
        tags=tags if isinstance(tags, list) else None,
        enqueued_at=read_time(payload.get("enqueued_at")),
    )


def call_arguments(payload: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments of the job's call.

    ActiveJob's wrapper has one argument, which holds the job's own as `arguments`, still encoded. Raises
    `MalformedPayload` when `args` is no array, or `kwargs` no object.
    """
    args = payload.get("args", [])
    kwargs = payload.get("kwargs", {})
    if not isinstance(args, list):
        raise MalformedPayload(f"`args` is a {type(args).__name__}, not an array")
    if not isinstance(kwargs, dict):
        raise MalformedPayload(f"`kwargs` is a {type(kwargs).__name__}, not an object")
    if len(args) == 1 and isinstance(args[0], dict) and is_active_job(payload):
        inner = args[0].get("arguments")
        args = inner if isinstance(inner, list) else args
    return args, kwargs
