"""When a cron entry is due: its expression and time zone, read once, asked for points in time.

Pure: times are epoch seconds and are passed in. What an entry runs, and what becomes of a tick, is left to others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from jobd.client import cron_words
from jobd.client.errors import InvalidCron

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@noon": "0 12 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MAX_LENGTH = 250
"""Characters of an expression; more is no expression that somebody wrote."""

_HINTS = (
    ("seconds", "0 to 59, such as 0, */15 or 5,35"),
    ("minutes", "0 to 59, such as 0, */15 or 5,35"),
    ("hours", "0 to 23, such as 8, */2 or 9-17"),
    ("day of the month", "1 to 31, such as 1, */2, L (the last) or LW (the last weekday)"),
    ("month", "1 to 12 or JAN to DEC, such as 1, */3 or JAN,JUL"),
    ("day of the week", "0 to 7 (0 and 7 are Sunday) or SUN to SAT, such as 1-5, MON,WED, 5L or MON#2"),
)
_DAY_OF_MONTH = 3
_SHAPE = "minute hour day month weekday, with seconds in front or without, @daily and the like, or @every 30s"
_WEEKDAY = re.compile(r"(SUN|MON|TUE|WED|THU|FRI|SAT)([-,#/L].*)?|L.*", re.IGNORECASE)
_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_EVERY = re.compile(r"(\d{1,9})([smhd])")
_PHRASE = re.compile(r"every(?: (\d{1,9}))? (second|minute|hour|day)s?", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PHRASES = {
    "second": (60, "*/{} * * * * *"),
    "minute": (60, "*/{} * * * *"),
    "hour": (24, "0 */{} * * *"),
    "day": (31, "0 0 */{} * *"),
}
"""How many of a unit there are, and what it stands for: what fugit, the parser of sidekiq-cron, makes of such words."""
_WIDER = 8
_STRETCH = 12 * 3600
"""Nowhere is a clock changed twice within so many seconds."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The ticks of one expression: whole epoch seconds, the same for everybody who reads the same text.

    A job at fixed times runs once a day: when the clock is put back it runs at the first of the two times, and
    a time that is left out when the clock is put forward runs right after the gap. One by interval (`*` or `*/n` as
    minute or hour, or any seconds but 0) keeps its interval. That is the rule of Debian's cron.
    """

    text: str
    """The expression in the form in which it is stored; the time zone, if any, is its last word."""
    fields: str
    """What is simulated."""
    zone: tzinfo
    period: int = 0
    """Seconds between two ticks of `@every`, counted from 1970; 0 for every other expression."""

    @property
    def timezone(self) -> str:
        """The name of the time zone, `UTC` where none is given."""
        return str(self.zone)

    @property
    def words(self) -> str:
        """The same in English, without the time zone: `At 08:00 every day`."""
        return self.said(cron_words.english)

    def said(self, say: cron_words.Say) -> str:
        """The same in the language of `say`, which is given English sentences and the values for their places."""
        return cron_words.of_interval(self.period, say) if self.period else cron_words.of_fields(self.fields, say)

    def after(self, moment: float) -> float:
        """The first tick after `moment`; infinite when none comes within 50 years."""
        return next(self._from(moment), math.inf)

    def between(self, start: float, end: float) -> Iterator[float]:
        """The ticks after `start` up to `end`, in order."""
        for tick in self._from(start):
            if tick > end:
                return
            yield tick

    def latest(self, start: float, end: float, count: int) -> tuple[list[float], int]:
        """The last `count` ticks after `start` up to `end`, in order, and how many there are, as far as was looked.

        It looks no further back than it must, so that a long downtime costs no more than a short one.
        """
        width = 60.0
        while True:
            first = max(start, end - width)
            ticks = list(self.between(first, end))
            if len(ticks) >= count or first >= end or first == start:
                return ticks[-count:], len(ticks)
            width *= _WIDER

    def _from(self, moment: float) -> Iterator[float]:
        if self.period:
            tick = math.floor(moment / self.period) * self.period
            while True:
                tick += self.period
                yield float(tick)
        elif self.zone is UTC or _is_interval(self.fields):
            yield from self._by_interval(math.floor(moment))
        else:
            yield from self._by_the_day(math.floor(moment))

    def _by_the_day(self, last: int) -> Iterator[float]:
        for found in _simulation(self.fields, datetime.fromtimestamp(last, self.zone)):
            tick = round(found.timestamp())
            # Begun within the hour that comes twice, the simulation tells of its first time once more.
            if tick > last:
                last = tick
                yield float(tick)

    def _by_interval(self, last: int) -> Iterator[float]:
        """Each stretch between two changes of the clock by itself, as if the clock were never changed."""
        offset = self._offset(last)
        while True:
            for found in _simulation(self.fields, datetime.fromtimestamp(last + offset, UTC)):
                tick = round(found.timestamp()) - offset
                changed = self._change(last, tick, offset)
                if changed is not None:
                    last = changed - 1
                    offset = self._offset(changed)
                    break
                last = tick
                yield float(tick)
            else:
                return

    def _offset(self, moment: int) -> int:
        if self.zone is UTC:
            return 0
        offset = datetime.fromtimestamp(moment, self.zone).utcoffset()
        return 0 if offset is None else round(offset.total_seconds())

    def _change(self, start: int, end: int, offset: int) -> int | None:
        """The first second after `start` up to `end` at which the clock is not `offset` seconds ahead any more."""
        if self.zone is UTC:
            return None
        before = start
        while before < end:
            after = min(before + _STRETCH, end)
            if self._offset(after) != offset:
                while after - before > 1:
                    middle = (before + after) // 2
                    before, after = (middle, after) if self._offset(middle) == offset else (before, middle)
                return after
            before = after
        return None


def _is_interval(fields: str) -> bool:
    words = fields.split()
    return len(words) == 6 or words[0].startswith("*") or words[1].startswith("*")


def _simulation(fields: str, start: datetime) -> Any:
    # Here and not at the top: an application that only pushes does not need it.
    from cronsim import CronSim

    return CronSim(fields, start)


def parse(text: object, timezone: object = None) -> Schedule:
    """Read an expression; `timezone` is where its last word may stand too. UTC where neither is given.

    Takes five fields, six with seconds first, `@hourly`, `@daily`, `@midnight`, `@noon`, `@weekly`, `@monthly`,
    `@yearly`, `@annually`, `@every 30s` (s, m, h, d), and "every 3 hours". Raises `InvalidCron`, which names field and
    column.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_LENGTH:
        raise InvalidCron(f"cron {text!r} is no expression; give {_SHAPE}")
    return _parse(text, timezone if timezone is None else str(timezone))


@lru_cache(maxsize=1_000)
def _parse(text: str, timezone: str | None) -> Schedule:
    body, named = _split_zone(text)
    if timezone is not None and named is not None and timezone != named[0]:
        raise InvalidCron(f"cron {text!r} names the zone {named[0]}, beside timezone {timezone!r}; give one of them")
    if named is not None:
        zone = _zone(named[0], f"cron {text!r}, column {named[1]}")
    else:
        zone = UTC if timezone is None else _zone(timezone, f"cron {text!r}")
    period = _period(text, body)
    if period and zone is not UTC:
        raise InvalidCron(f"cron {text!r}: @every counts seconds, whatever the time zone; leave that out")
    fields = " ".join(body.split()) if period else _fields(text, body)
    suffix = "" if zone is UTC else f" {zone}"
    # At second 0 a fixed time is one whether or not the seconds are written.
    simulated = fields.removeprefix("0 ") if len(fields.split()) == 6 else fields
    return Schedule(fields + suffix, simulated, zone, period)


def _split_zone(text: str) -> tuple[str, tuple[str, int] | None]:
    """The expression without its time zone, and that with its column."""
    words = list(re.finditer(r"\S+", text))
    last = words[-1]
    first = words[0][0].lower()
    if len(words) == 1 or (first == "@every" and len(words) == 2) or (first == "every" and "/" not in last[0]):
        return text, None
    if _OFFSET.fullmatch(last[0]):
        _refuse(text, last.start(), f"{last[0]!r} is an offset, which summer time changes; name a zone: Europe/Berlin")
    if last[0][0].isalpha() and not _WEEKDAY.fullmatch(last[0]):
        return text[: last.start()], (last[0], last.start() + 1)
    return text, None


def _zone(name: object, place: str) -> tzinfo:
    try:
        if isinstance(name, str) and name:
            return UTC if name in ("UTC", "Etc/UTC") else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise InvalidCron(f"{place}: {name!r} is no time zone; give a name of the tz database, such as Asia/Ho_Chi_Minh")


def _period(text: str, body: str) -> int:
    words = body.lower().split()
    if words[0] != "@every":
        return 0
    found = _EVERY.fullmatch(words[1]) if len(words) == 2 else None
    period = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= period <= 366 * 86400:
        _refuse(text, len(text) - len(text.lstrip()), "give @every with a number of s, m, h or d, such as @every 90s")
    return period


def _fields(text: str, body: str) -> str:
    """The five or six fields that an expression stands for, checked."""
    plain = " ".join(body.split())
    if plain.startswith("@"):
        if plain.lower() not in ALIASES:
            _refuse(text, text.index("@"), f"{plain!r} is none of {', '.join(ALIASES)} and @every")
        return ALIASES[plain.lower()]
    if plain.lower().startswith("every"):
        return _phrase(text, plain)
    _check_fields(text, body)
    return plain


def _phrase(text: str, plain: str) -> str:
    found = _PHRASE.fullmatch(plain)
    if found:
        number, (limit, form) = int(found[1] or 1), _PHRASES[found[2].lower()]
        if 1 <= number < limit:
            return form.format(number).replace("*/1 ", "* ")
    return _refuse(text, 0, "words are understood as in 'every 3 hours' only; write fields, such as 0 */3 * * *")


def _check_fields(text: str, body: str) -> None:
    from cronsim import CronSimError
    from cronsim.cronsim import Field

    words = list(re.finditer(r"\S+", body))
    if len(words) not in (5, 6):
        raise InvalidCron(f"cron {text!r} has {len(words)} of five or six fields; give {_SHAPE}")
    first = 6 - len(words)
    for number, word in enumerate(words, first):
        try:
            Field(number).parse(word[0].upper())
        except (CronSimError, ValueError, AssertionError):
            name, hint = _HINTS[number]
            _refuse(text, word.start(), f"the {name} field is {word[0]!r}; give {hint}")
    day = words[_DAY_OF_MONTH - first]
    try:
        next(_simulation(body, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        _refuse(text, day.start(), f"the day of the month {day[0]!r} never comes in that month; mend one of the two")


def _refuse(text: str, start: int, complaint: str) -> NoReturn:
    raise InvalidCron(f"cron {text!r}, column {start + 1}: {complaint}")
