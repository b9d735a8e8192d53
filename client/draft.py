"""The way of a push up to the network: a dictionary comes in, checked payloads come out.

Whatever is wrong with a push is found here. Sending is left to `push.py`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jobd.client import arguments, options, payload, settings
from jobd.client.errors import InvalidArguments, InvalidPayload
from jobd.client.payload import Timestamps
from jobd.client.registry import Handler
from jobd.client.times import Moment, Wait, epoch_seconds, wait_seconds

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Item:
    """A checked push: the payload's `fields`, and the options `under` them that they override."""

    fields: Mapping[str, Any]
    under: Mapping[str, Any]


def call_item(
    handler: Handler,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    over: Mapping[str, Any] = NO_OPTIONS,
    at: float | None = None,
) -> Item:
    """Return the push of one call of `handler`; `over` are options for this call, `at` epoch seconds.

    Raises `InvalidArguments` when the call does not fit the job, or cannot travel as JSON.
    """
    positional, keywords = arguments.bind(handler.name, handler.signature, args, kwargs)
    arguments.check(handler.name, positional, keywords)
    fields: dict[str, Any] = {**over, "args": positional, "class": handler.name}
    if keywords:
        fields["kwargs"] = keywords
    if at is not None:
        fields["at"] = at
    return Item(fields, handler.options)


def read_item(given: Mapping[str, Any]) -> Item:
    """Return the push that a dictionary given to `Client.push` describes, its fields in their order.

    `class` is a name or a job of this process, which then gives options and signature. Raises
    `InvalidPayload`, or `InvalidArguments` when arguments or times cannot be used.
    """
    if not isinstance(given, Mapping):
        raise InvalidPayload(f"push takes a dictionary such as {_EXAMPLE}, not {given!r}")
    name, handler = read_class(given)
    args, kwargs = _read_call(name, given)
    if handler is not None:
        args, kwargs = arguments.bind(name, handler.signature, args, kwargs)
    arguments.check(name, args, kwargs)
    fields = dict(given)
    at = take_time(fields, time.time())
    fields |= {"class": name, "args": list(args), "kwargs": dict(kwargs)}
    if not kwargs:
        del fields["kwargs"]
    fields |= _checked_options(name, fields)
    if at is not None:
        fields["at"] = at
    return Item(fields, handler.options if handler else NO_OPTIONS)


_EXAMPLE = '{"class": "app.send", "args": [1]}'


def read_class(given: Mapping[str, Any]) -> tuple[str, Handler | None]:
    """Return the name of the job that `given` is for, and its handler when it is one of this process."""
    job = given.get("class")
    handler = getattr(job, "__jobd__", None)
    if isinstance(handler, Handler):
        return handler.name, handler
    if isinstance(job, str) and job:
        return job, None
    raise InvalidPayload(f"class={job!r}: give the job's name, or a job, as in {_EXAMPLE}")


def _read_call(name: str, given: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    args, kwargs = given.get("args"), given.get("kwargs", {})
    if not isinstance(args, list | tuple):
        raise InvalidPayload(f"{name}: args={args!r}: give a list, [] for a job without arguments")
    if not isinstance(kwargs, dict) or not all(type(key) is str for key in kwargs):
        raise InvalidPayload(f"{name}: kwargs={kwargs!r}: give a dict with strings as keys")
    return args, kwargs


def _checked_options(name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(fields.get("jid", ""), str):
        raise InvalidPayload(f"{name}: jid={fields['jid']!r}: give a string, or none for a new one")
    rest = {key: value for key, value in fields.items() if key not in ("class", "args", "kwargs", "jid", "at")}
    return options.check(rest, place=name, error=InvalidPayload, internal=True)


def take_time(fields: dict[str, Any], now: float) -> float | None:
    """Take `at`, `wait` and `wait_until` out of `fields`; return the time meant, in epoch seconds."""
    given = {key: fields.pop(key) for key in ("at", "wait", "wait_until") if key in fields}
    given = {key: value for key, value in given.items() if value is not None}
    if len(given) > 1:
        raise InvalidArguments(f"{' and '.join(given)} are both given; give one of them")
    for key, value in given.items():
        return now + wait_seconds(value, key) if key == "wait" else epoch_seconds(value, key)
    return None


def call_items(
    handler: Handler, calls: Iterable[Sequence[Any]], times: Iterator[float | None], over: Mapping[str, Any]
) -> Iterator[Item]:
    """Yield the push of each of `calls`, a list or tuple of positional arguments, at its time."""
    for args in calls:
        yield call_item(handler, _as_call(handler.name, args), {}, over=over, at=_next_time(times))


def read_items(given: Mapping[str, Any], times: Iterator[float | None]) -> Iterator[Item]:
    """Yield the push of each of `args` in a dictionary given to `Client.push_bulk`."""
    name, _ = read_class(given)
    calls = given.get("args")
    if isinstance(calls, str | bytes | Mapping) or not isinstance(calls, Iterable):
        raise InvalidPayload(f"{name}: args={calls!r}: a bulk push takes a list of lists: [[1], [2]]")
    if "jid" in given:
        raise InvalidPayload(f"{name}: jid={given['jid']!r}: the jobs of a bulk push each get their own")
    for args in calls:
        yield read_item({**given, "args": _as_call(name, args), "at": _next_time(times)})


def _as_call(name: str, args: object) -> Sequence[Any]:
    if isinstance(args, list | tuple):
        return args
    raise InvalidArguments(f"{name}: {args!r} in a bulk push is not one call's arguments; give a tuple: (value,)")


def _next_time(times: Iterator[float | None]) -> float | None:
    try:
        return next(times)
    except StopIteration:
        raise InvalidArguments("at= lists fewer times than there are jobs; give one for each") from None


def bulk_times(at: Moment | Iterable[Moment] | None, spread: Wait | None) -> Iterator[float | None]:
    """Return the time of each job of a bulk push, without end unless `at` lists them.

    `spread` adds to each a random part of so many seconds, to `at` or to now.
    """
    width = None if spread is None else wait_seconds(spread, "spread")
    if width is not None and width < 0:
        raise InvalidArguments(f"spread is {spread!r}; give seconds from 0 up, or a timedelta")
    if isinstance(at, Iterable):
        given = iter([epoch_seconds(moment, "at") for moment in at])
        return (moment + random.uniform(0, width or 0.0) for moment in given)
    start = None if at is None else epoch_seconds(at, "at")
    return _times_from(start, width)


def _times_from(start: float | None, width: float | None) -> Iterator[float | None]:
    while True:
        if width is None:
            yield start
        else:
            yield (time.time() if start is None else start) + random.uniform(0, width)


def complete(item: Item, now: float, timestamps: Timestamps) -> dict[str, Any] | None:
    """Return the payload of `item` after the client middleware; None when that stopped it.

    A time to run at, if any, is in its `at`. Raises `InvalidPayload` when middleware made it unusable.
    """
    configured = settings.current()
    under = {**configured.default_options, **item.under}
    draft = payload.normalise(item.fields, under=under, now=now, timestamps=timestamps)
    if not configured.client_middleware:
        return draft
    changed = configured.client_stack(draft)
    return None if changed is None else _rechecked(changed)


def _rechecked(changed: object) -> dict[str, Any]:
    """Middleware may have put in anything."""
    if not isinstance(changed, dict) or not {"class", "args", "jid", "queue"} <= changed.keys():
        raise InvalidPayload(
            f"client middleware returned {changed!r}; return the payload, as proceed(payload) gives it, or None"
        )
    at = changed.pop("at", None)
    fields = dict(read_item(changed).fields)
    if at is not None:
        fields["at"] = epoch_seconds(at, "at")
    return fields
