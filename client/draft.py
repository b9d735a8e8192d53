"""The way of a push up to the network: a call or a dictionary comes in, checked payloads come out.

Whatever is wrong with a push is found here. Sending is left to `push.py`.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from jobd.client import arguments, clock, context, options, payload, settings
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


_NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})
_ANY_NUMBER = range(sys.maxsize)
_HOLE = b"\0"
"""What is still to be filled in. JSON never holds this byte: within a string it is escaped."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Form:
    """An encoded payload with holes for arguments, jid and times, of jobs that enter `queue` now."""

    queue: str
    before_args: bytes
    before_jid: bytes
    between_times: tuple[bytes, ...]

    @classmethod
    def of(cls, fields: Mapping[str, Any], under: Mapping[str, Any]) -> Form:
        """Encode `fields` over the options `under` them; what its `args` holds does not matter."""
        draft = payload.normalise(fields, under=under, now=0.0)
        payload.stamp(draft, 0.0)
        draft["args"] = msgspec.Raw(_HOLE)
        draft["jid"] = msgspec.Raw(b'"' + _HOLE + b'"')
        if "created_at" not in fields:
            draft["created_at"] = msgspec.Raw(_HOLE)
        draft["enqueued_at"] = msgspec.Raw(_HOLE)
        before_args, before_jid, *between_times = payload.encode(draft).split(_HOLE)
        return cls(draft["queue"], before_args, before_jid, tuple(between_times))

    def fill(self, calls: Sequence[Sequence[Any]], jids: Sequence[str], now: float | int) -> list[bytes]:
        """Return the payload of each of `calls`, positional arguments; `now` as payloads hold it."""
        before_args, before_jid, join = self.before_args, self.before_jid, b"".join
        tail = _encode(now).join(self.between_times)
        filled = zip(map(_encode, calls), map(str.encode, jids), strict=True)
        return [join((before_args, args, before_jid, jid, tail)) for args, jid in filled]


class Template:
    """The pushes of one job: what they share is merged, checked and encoded once, each call is checked by itself."""

    __slots__ = ("_fields", "_form", "_name", "_plain", "_signature", "_under")

    def __init__(
        self, name: str, signature: inspect.Signature | None, fields: Mapping[str, Any], under: Mapping[str, Any]
    ) -> None:
        """`fields` are those of each payload, `args` only holding its place; `under` are options under them.

        Without a `signature`, as that of a job of another process, any number of arguments fits.
        """
        self._name = name
        self._signature = signature
        self._fields = fields
        self._under = under
        self._plain = _ANY_NUMBER if signature is None else arguments.plain_calls(signature)
        self._form: tuple[Mapping[str, Any], Form] | None = None

    @classmethod
    def of(cls, handler: Handler, over: Mapping[str, Any] = NO_OPTIONS) -> Template:
        """The pushes of a job of this process; `over` are options over its own."""
        return cls(handler.name, handler.signature, {**over, "args": [], "class": handler.name}, handler.options)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call as they travel: positional where the signature allows it.

        Raises `InvalidArguments` when the call does not fit the job, or cannot travel as JSON.
        """
        if self._signature is not None and (kwargs or len(args) not in self._plain):
            args, kwargs = arguments.bind(self._name, self._signature, args, kwargs)
        if kwargs:
            arguments.check(self._name, args, kwargs)
        else:
            arguments.check_positional(self._name, args)
        return args, kwargs

    def bind_each(self, calls: Iterable[object]) -> Iterator[Sequence[Any]]:
        """`bind` for each call of a bulk push, a list or tuple of positional arguments."""
        # The way of each job of a bulk push: one step of this generator.
        name, plain, check = self._name, self._plain, arguments.check_positional
        for given in calls:
            call: Sequence[Any] = given if type(given) is tuple else list(_as_call(name, given))
            if len(call) in plain:
                check(name, call)
                yield call
            else:
                yield self.bind(call, _NO_KEYWORDS)[0]

    def item(self, args: Sequence[Any], kwargs: Mapping[str, Any] = _NO_KEYWORDS, at: float | None = None) -> Item:
        """Return the push of bound arguments; `at` is epoch seconds."""
        fields = {**self._fields, "args": list(args)}
        if kwargs:
            fields["kwargs"] = dict(kwargs)
        if at is not None:
            fields["at"] = at
        return Item(fields, self._under)

    def form(self, default_options: Mapping[str, Any]) -> Form:
        """Return the form of calls without keyword arguments."""
        known = self._form
        if known is None or known[0] is not default_options:
            known = default_options, Form.of(self._fields, {**default_options, **self._under})
            self._form = known
        return known[1]


def new_jids(number: int) -> list[str]:
    """Return as many new job ids as `payload.new_jid` would make one by one, for one call of the system."""
    return os.urandom(12 * number).hex(" ", 12).split()


def read_item(given: Mapping[str, Any]) -> Item:
    """Return the push that a dictionary given to `Client.push` describes, its fields in their order.

    `class` is a name or a job of this process, which then gives options and signature. Raises
    `InvalidPayload`, or `InvalidArguments` when arguments or times cannot be used.
    """
    if type(given) is not dict and not isinstance(given, Mapping):
        raise InvalidPayload(f"push takes a dictionary such as {_EXAMPLE}, not {given!r}")
    name, handler = read_class(given)
    args, kwargs = _read_call(name, given)
    if handler is not None:
        args, kwargs = arguments.bind(name, handler.signature, args, kwargs)
    arguments.check(name, args, kwargs)
    fields = dict(given)
    at = take_time(fields, clock.now())
    fields |= {"class": name, "args": list(args), "kwargs": dict(kwargs)}
    if not kwargs:
        del fields["kwargs"]
    fields |= _checked_options(name, fields)
    if at is not None:
        fields["at"] = at
    return Item(fields, handler.options if handler else NO_OPTIONS)


_TIMES = ("at", "wait", "wait_until")
_EXAMPLE = '{"class": "app.send", "args": [1]}'


def read_class(given: Mapping[str, Any]) -> tuple[str, Handler | None]:
    """Return the name of the job that `given` is for, and its handler when it is one of this process."""
    job = given.get("class")
    handler = getattr(job, "__jobd__", None)
    if isinstance(handler, Handler):
        return handler.name, handler
    if isinstance(job, str) and job:
        _check_text("class", job)
        return job, None
    raise InvalidPayload(f"class={job!r}: give the job's name, or a job, as in {_EXAMPLE}")


def _read_call(name: str, given: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    args, kwargs = given.get("args"), given.get("kwargs", {})
    if not isinstance(args, (list, tuple)):
        raise InvalidPayload(f"{name}: args={args!r}: give a list, [] for a job without arguments")
    if not isinstance(kwargs, dict) or (kwargs and not all(type(key) is str for key in kwargs)):
        raise InvalidPayload(f"{name}: kwargs={kwargs!r}: give a dict with strings as keys")
    return args, kwargs


_NO_OPTION = frozenset({"class", "args", "kwargs", "jid", "at"})


def _checked_options(name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(fields.get("jid", ""), str):
        raise InvalidPayload(f"{name}: jid={fields['jid']!r}: give a string, or none for a new one")
    _check_text(f"{name}: jid", fields.get("jid", ""))
    rest = {key: value for key, value in fields.items() if key not in _NO_OPTION}
    return options.check(rest, place=name, error=InvalidPayload, internal=True) if rest else rest


def _check_text(place: str, text: str) -> None:
    if fault := arguments.find_fault(text):
        raise InvalidPayload(f"{place}={text!r} is {fault.problem}; {fault.remedy}")


def take_time(fields: dict[str, Any], now: float) -> float | None:
    """Take `at`, `wait` and `wait_until` out of `fields`; return the time meant, in epoch seconds."""
    given = {key: fields.pop(key) for key in _TIMES if key in fields}
    if not given:
        return None
    given = {key: value for key, value in given.items() if value is not None}
    if len(given) > 1:
        raise InvalidArguments(f"{' and '.join(given)} are both given; give one of them")
    for key, value in given.items():
        return now + wait_seconds(value, key) if key == "wait" else epoch_seconds(value, key)
    return None


def call_items(template: Template, calls: Iterable[Sequence[Any]], times: Iterator[float | None]) -> Iterator[Item]:
    """Yield the push of each of `calls`, a list or tuple of positional arguments, at its time."""
    for args in template.bind_each(calls):
        yield template.item(args, at=_next_time(times))


def read_bulk(given: Mapping[str, Any]) -> tuple[str, Iterable[Any]]:
    """Return the name of the job in a dictionary given to `Client.push_bulk`, and its calls, not yet looked at."""
    name, _ = read_class(given)
    calls = given.get("args")
    if isinstance(calls, str | bytes | Mapping) or not isinstance(calls, Iterable):
        raise InvalidPayload(f"{name}: args={calls!r}: a bulk push takes a list of lists: [[1], [2]]")
    if "jid" in given:
        raise InvalidPayload(f"{name}: jid={given['jid']!r}: the jobs of a bulk push each get their own")
    return name, calls


def read_template(given: Mapping[str, Any]) -> Template | None:
    """Return what the pushes of a bulk dictionary share; None when they differ in more than positional arguments."""
    if any(given.get(key) is not None for key in _TIMES) or given.get("kwargs", {}) != {}:
        return None
    name, handler = read_class(given)
    fields = {key: value for key, value in given.items() if key not in (*_TIMES, "kwargs")}
    fields |= {"class": name, "args": []}
    fields |= _checked_options(name, fields)
    if handler is None:
        return Template(name, None, fields, NO_OPTIONS)
    return Template(name, handler.signature, fields, handler.options)


def read_items(given: Mapping[str, Any], times: Iterator[float | None]) -> Iterator[Item]:
    """Yield the push of each of `args` in a dictionary given to `Client.push_bulk`."""
    name, calls = read_bulk(given)
    for args in calls:
        yield read_item({**given, "args": _as_call(name, args), "at": _next_time(times)})


def _as_call(name: str, args: object) -> Sequence[Any]:
    if isinstance(args, (list, tuple)):
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
            yield (clock.now() if start is None else start) + random.uniform(0, width)


def complete(item: Item, now: float, timestamps: Timestamps) -> dict[str, Any] | None:
    """Return the payload of `item` after the client middleware; None when that stopped it.

    A time to run at, if any, is in its `at`. Raises `InvalidPayload` when middleware made it unusable.
    """
    configured = settings.current()
    under = {**configured.default_options, **item.under} if configured.default_options else item.under
    draft = payload.normalise(item.fields, under=under, now=now, timestamps=timestamps)
    if configured.carried:
        context.put_into(draft, configured.carried)
    if configured.client_middleware:
        changed = configured.client_stack(draft)
        if changed is None:
            return None
        draft = _rechecked(changed)
    if "expires_in" in draft and "at" in draft:
        draft["expires_in"] += max(draft["at"] - (payload.read_time(draft["created_at"]) or now), 0.0)
    return draft


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
