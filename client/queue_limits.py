"""Alert limits of queues, in one hash: how long the next job may wait, and how many may, before somebody is to look.

A limit changes no job. `Queue.limits` and `Queue.set_limits` are the way to one queue; to point out what is over its
limit is left to others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Final, Literal, TypeAlias, get_args

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.scripts import raw_bytes
from jobd.client.times import Wait, wait_seconds

NEVER: Final = "none"
"""Instead of a number: nobody is to look, however long or many."""
DEFAULT: Final = "default"
"""In a text, the limit that queues without one of their own have."""
Kind: TypeAlias = Literal["wait", "size"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Limit: TypeAlias = float | Literal["none"] | None
"""A number, `none`, or None for the default."""
_MOST_SIZE = 10**12
_MOST_WAIT = 10 * 365 * 24 * 3600.0
_FIELDS = {"wait": b"w|", "size": b"s|"}
_STORED = re.compile(rb"\d{1,13}(\.\d{1,9})?|none")
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|d|w)?")
_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "min": 60, "s": 1}
_HINTS = {
    "wait": f"give a time such as 90s, 5m or 1h up to 10 years, {NEVER} or {DEFAULT}",
    "size": f"give a whole number, {NEVER} or {DEFAULT}",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one queue: `wait`, seconds for which its next job may wait, and `size`, jobs that may wait.

    Each is a number, `none` for never, or None for the default: 60 s, and any number of jobs. `damaged` names those
    that are stored but cannot be read; the default holds instead.
    """

    wait: Limit = None
    size: Limit = None
    damaged: tuple[Kind, ...] = ()

    @property
    def most_wait(self) -> float:
        """The seconds that hold; infinite without a limit."""
        return _number(self.wait, defaults.ALERT_WAIT)

    @property
    def most_size(self) -> float:
        """The number of jobs that holds; infinite without a limit."""
        return _number(self.size, math.inf)

    def exceeded(self, size: int, latency: float) -> tuple[Kind, ...]:
        """Which of them a queue of this size is over, whose next job has waited for `latency` seconds."""
        waits: tuple[Kind, ...] = ("wait",) if latency > self.most_wait else ()
        return (*waits, "size") if size > self.most_size else waits


USUAL = Limits()
"""Those of a queue for which none are set."""


def _number(limit: Limit, default: float) -> float:
    return default if limit is None else math.inf if isinstance(limit, str) else limit


def read_limits(answer: Mapping[bytes, bytes] | None) -> dict[str, Limits]:
    """The limits in the hash, by queue; never raises, whatever stands there."""
    found: dict[str, dict[str, Limit]] = {}
    damaged: dict[str, list[Kind]] = {}
    for field, raw in (answer or {}).items():
        for kind in KINDS:
            if field.startswith(_FIELDS[kind]):
                name = field[len(_FIELDS[kind]) :].decode("utf-8", "surrogateescape")
                values = found.setdefault(name, {})
                if _STORED.fullmatch(raw):
                    values[kind] = NEVER if raw == b"none" else _plain(float(raw))
                else:
                    damaged.setdefault(name, []).append(kind)
    return {name: Limits(**values, damaged=tuple(damaged.get(name, ()))) for name, values in found.items()}


def all_limits(access: Access) -> dict[str, Limits]:
    """The limits that are set, by queue. Raises `RedisUnavailable` or `RedisRefused`."""
    [answer] = access.read_all(lambda pipeline: pipeline.hgetall(access.keys.queue_limits))
    return read_limits(answer)


def limits_of(access: Access, queue: str) -> Limits:
    """Those of one queue. Raises as `all_limits`."""
    ask, read = ask_limits(access.keys, queue)
    [values] = access.read_all(ask)
    return read(values)


def ask_limits(keys: Keys, queue: str) -> tuple[Callable[[Any], object], Callable[[list[bytes | None] | None], Limits]]:
    """What puts the question for those of one queue into a pipeline, and what reads the answer."""
    names = [_field(kind, queue) for kind in KINDS]
    return lambda pipeline: pipeline.hmget(keys.queue_limits, names), lambda values: _among(names, values, queue)


def set_limits(
    access: Access, queue: str, *, wait: Wait | Literal["none"] | EllipsisType | None, size: Limit | EllipsisType
) -> Limits:
    """Set what is given, `...` being left as it is, and return what holds then; see `Queue.set_limits`."""
    given: dict[Kind, object] = {"wait": wait, "size": size}
    changed: dict[Kind, Limit] = {kind: _checked(kind, given[kind]) for kind in KINDS if given[kind] is not ...}
    key, names = access.keys.queue_limits, [_field(kind, queue) for kind in KINDS]
    if any(value is not None for value in changed.values()):
        held = access.read(lambda redis: redis.hgetall(key))
        if queue not in (known := read_limits(held)) and len(known) >= defaults.LIMITED_QUEUES:
            raise InvalidArguments(
                f"{defaults.LIMITED_QUEUES:,} queues have alert limits, so {queue!r} gets none; give one of them "
                "the default again (jobd queues limit lists them)"
            )

    def write(redis: Any) -> list[Any]:
        with redis.pipeline(transaction=True) as pipeline:
            for kind, value in changed.items():
                if value is None:
                    pipeline.hdel(key, _field(kind, queue))
                else:
                    pipeline.hset(key, _field(kind, queue), _written(value))
            found: list[Any] = pipeline.hmget(key, names).execute()
            return found

    return _among(names, access.write(write)[-1], queue)


def limit_in(kind: Kind, text: str) -> Limit:
    """The limit that somebody has written: `90`, `5m`, `1h`; of a size `1000`; `none`; `default`, or nothing.

    Raises `InvalidArguments`.
    """
    given = text.strip()
    if given in ("", DEFAULT, NEVER):
        return NEVER if given == NEVER else None
    if kind == "size":
        digits = given.replace(",", "")
        return _checked(kind, int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else given)
    found = _LENGTH.fullmatch(given)
    return _checked(kind, float(found[1]) * _UNITS[found[2] or "s"] if found else given)


def limit_text(kind: Kind, limit: Limit) -> str:
    """The same the other way round: `5m` for 300 seconds."""
    if limit is None or isinstance(limit, str):
        return DEFAULT if limit is None else NEVER
    if kind == "size":
        return f"{limit:.0f}"
    unit = next((unit for unit in ("w", "d", "h", "m") if limit and limit % _UNITS[unit] == 0), "s")
    return f"{_plain(limit / _UNITS[unit])}{unit}"


def _checked(kind: Kind, value: object) -> Limit:
    if value is None or value == NEVER:
        return NEVER if value else None
    most = _MOST_WAIT if kind == "wait" else _MOST_SIZE
    try:
        number = wait_seconds(value)
    except InvalidArguments:
        number = -1.0
    if not 0 <= number <= most or (kind == "size" and (isinstance(value, float) or number != value)):
        raise InvalidArguments(f"{kind} is {value!r}; {_HINTS[kind]}")
    return _plain(number)


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def _written(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:.9f}".rstrip("0").rstrip(".")


def _field(kind: Kind, queue: str) -> bytes:
    return _FIELDS[kind] + raw_bytes(queue)


def _among(names: list[bytes], values: list[bytes | None] | None, queue: str) -> Limits:
    there = {name: raw for name, raw in zip(names, values or (None, None), strict=True) if raw is not None}
    return read_limits(there).get(queue, USUAL)
