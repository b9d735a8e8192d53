"""What an expression of the cron says, in words of any language.

English sentences are the keys: whoever says them in another language passes `say`. Pure; the expression is one that
`cron_expression.parse` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Say: TypeAlias = Callable[..., str]
"""A sentence, and values for the places in it, in the language of the reader."""

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"),
    "December",
)
NTH = {
    1: "the first {weekday} of the month",
    2: "the second {weekday} of the month",
    3: "the third {weekday} of the month",
    4: "the fourth {weekday} of the month",
    5: "the fifth {weekday} of the month",
    -1: "the last {weekday} of the month",
}
_UNITS = {
    "day": ("every day", "every {count} days"),
    "hour": ("every hour", "every {count} hours"),
    "minute": ("every minute", "every {count} minutes"),
    "second": ("every second", "every {count} seconds"),
}
_SIZES = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_EITHER, _BOTH = "{days}, and on {weekdays}", "{days}, if that is {weekdays}"
_DAY, _MONTH, _WEEKDAY = 3, 4, 5
_SPANS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
"""Of seconds, minutes, hours, days, months and weekdays."""
_NAMES = {
    _MONTH: {name[:3].upper(): place for place, name in enumerate(MONTHS, 1)},
    _WEEKDAY: {name[:3].upper(): place for place, name in enumerate(WEEKDAYS)},
}
_LAST_DAY, _LAST_WORKDAY = -1, -2
_MOST_TIMES = 6
"""So many times of a day are told one by one."""
_FEW = 2
"""So many values in a row are told one by one."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What stands between two commas of a field: each `step`-th from `first` to `last`."""

    first: int
    last: int
    step: int = 1
    nth: int = 0
    """Of a weekday: which one of the month, -1 the last; 0 for every one."""

    @property
    def values(self) -> range:
        return range(self.first, self.last + 1, self.step)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field. `any`: all that it may be; `every`: evenly each so-many-th of all, 0 where it does not say that."""

    parts: tuple[_Part, ...]
    any: bool
    every: int
    starred: bool

    @property
    def values(self) -> list[int]:
        return sorted({value for part in self.parts for value in part.values})

    @property
    def zero(self) -> bool:
        return self.values == [0]


def english(text: str, /, **values: Any) -> str:
    """What is said where nobody translates."""
    return text.format(**values) if values else text


def of_interval(seconds: int, say: Say = english) -> str:
    """Words of an interval: `Every 90 seconds`."""
    return _begun(next(_every(unit, seconds // size, say) for size, unit in _SIZES if seconds % size == 0))


def of_fields(fields: str, say: Say = english) -> str:
    """Words of five or six fields: `At 08:00 on Monday to Friday`."""
    given = fields.upper().split()
    read = [_field(number, text) for number, text in enumerate(given if len(given) == 6 else ["0", *given])]
    second, minute, hour, day, month, weekday = read
    time, is_of_a_day = _time(second, minute, hour, say)
    date = _date(day, month, weekday, say, is_of_a_day=is_of_a_day)
    return _begun(say("{time} {date}", time=time, date=date) if date else time)


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _field(number: int, text: str) -> _Field:
    parts = tuple(dict.fromkeys(part for term in text.split(",") for part in _parts(number, term)))
    low, high = _SPANS[number]
    covered = {value for part in parts if not part.nth for value in part.values}
    first, even = parts[0], len(parts) == 1 and parts[0].first == low and parts[0].last + parts[0].step == high + 1
    return _Field(
        parts,
        any=covered >= set(range(low, high + 1)),
        every=first.step if even and first.step > 1 else 0,
        starred=text.startswith("*"),
    )


def _parts(number: int, term: str) -> list[_Part]:
    values, _, step_text = term.partition("/")
    if number == _DAY and values in ("L", "LW"):
        only = _LAST_DAY if values == "L" else _LAST_WORKDAY
        return [_Part(only, only)]
    if number == _WEEKDAY and (values.endswith("L") or "#" in values):
        name, _, nth = values.removesuffix("L").partition("#")
        place = _number(number, name) % 7
        return [_Part(place, place, nth=int(nth or -1))]
    (low, high), step = _SPANS[number], int(step_text or 1)
    high += number == _WEEKDAY  # where Sunday is 0 and 7
    if values != "*":
        first, _, last = values.partition("-")
        low = _number(number, first)
        # `5/15`, and `5-5/15` too, goes on to the end of the field.
        goes_on = step_text and (not last or _number(number, last) == low)
        high = high if goes_on else _number(number, last or first)
    found = range(low, high + 1, step)
    if number == _WEEKDAY and 7 in found:
        return [_Part(value % 7, value % 7) for value in found]
    return [_Part(found[0], found[-1], step if len(found) > 1 else 1)]


def _number(number: int, text: str) -> int:
    found = _NAMES.get(number, {}).get(text)
    return int(text) if found is None else found


def _time(second: _Field, minute: _Field, hour: _Field, say: Say) -> tuple[str, bool]:
    """Words of the time, and whether they tell times of a day."""
    on_the_hour = second.zero and minute.zero
    of_hours = hour.any or (hour.every and len(hour.values) > 2)
    in_a_row = on_the_hour and not hour.any and len(hour.parts) == 1 and hour.parts[0].step == 1
    in_a_row = in_a_row and len(hour.values) > _FEW
    count = len(second.values) * len(minute.values) * len(hour.values)
    if not of_hours and not in_a_row and (count <= _MOST_TIMES or on_the_hour):
        times = [
            _clock(h, m, None if second.zero else s) for h in hour.values for m in minute.values for s in second.values
        ]
        return say("at {times}", times=_listed(times, say)), True
    if on_the_hour and not in_a_row:
        return _every("hour", hour.every or 1, say), False
    minutes = _minutes(second, minute, say)
    hours = _hours(minute, hour, say, in_a_row=in_a_row)
    return say("{clause} {more}", clause=minutes, more=hours) if minutes and hours else minutes or hours, False


def _minutes(second: _Field, minute: _Field, say: Say) -> str:
    """Words of seconds and minutes; empty where they are both 0."""
    seconds = minutes = ""
    if second.any or second.every:
        seconds = _every("second", second.every or 1, say)
    elif not second.zero:
        seconds = say("at second {numbers}", numbers=_numbers(second, say))
    if minute.every or (minute.any and not (second.any or second.every)):
        minutes = _every("minute", minute.every or 1, say)
    elif not minute.any and not (second.zero and minute.zero):
        minutes = say("at minute {numbers}", numbers=_numbers(minute, say))
    return say("{clause} {more}", clause=seconds, more=minutes) if seconds and minutes else seconds or minutes


def _hours(minute: _Field, hour: _Field, say: Say, *, in_a_row: bool) -> str:
    """Words of hours; empty where all minutes of all hours are meant."""
    if in_a_row:
        between = say("from {first} to {last}", first=_clock(hour.values[0], 0), last=_clock(hour.values[-1], 0))
        return say("{clause} {more}", clause=_every("hour", 1, say), more=between)
    flowing = minute.any or minute.every
    if hour.any:
        return "" if flowing else say("of every hour")
    if flowing and len(hour.parts) == 1 and hour.parts[0].step == 1:
        return say("from {first} to {last}", first=_clock(hour.values[0], 0), last=_clock(hour.values[-1], 59))
    if hour.every and not flowing:
        return _every("hour", hour.every, say)
    return say("in hour {numbers}", numbers=_numbers(hour, say))


def _every(unit: str, count: int, say: Say) -> str:
    one, many = _UNITS[unit]
    return say(one) if count == 1 else say(many, count=count)


def _clock(hour: int, minute: int, second: int | None = None) -> str:
    return f"{hour:02d}:{minute:02d}" + ("" if second is None else f":{second:02d}")


def _date(day: _Field, month: _Field, weekday: _Field, say: Say, *, is_of_a_day: bool) -> str:
    """Words of the days; empty for every day where that need not be said."""
    days = weekdays = ""
    is_either = not (day.starred or weekday.starred)
    # Where one of the two is enough, one that is always there makes it every day.
    if not (is_either and (day.any or weekday.any)):
        days = "" if day.any else say("on {days} of the month", days=_days(day, say))
        weekdays = "" if weekday.any else _weekdays(weekday, say)
    if not month.any and not weekdays and _is_one(day) and _is_one(month):
        return say("on {day} {month}", day=day.values[0], month=say(MONTHS[month.values[0] - 1]))
    if days and weekdays:
        found = say(_EITHER if is_either else _BOTH, days=days, weekdays=weekdays)
    elif weekdays:
        found = say("on {weekdays}", weekdays=weekdays)
    else:
        found = days or (say("every day") if is_of_a_day else "")
    if month.any:
        return found
    months = say("in {months}", months=_names(month, MONTHS, 1, say))
    if days and weekdays:
        return say("{clause}, {more}", clause=found, more=months)
    return say("{clause} {more}", clause=found, more=months) if found else months


def _is_one(field: _Field) -> bool:
    return len(field.values) == 1 and field.values[0] > 0


def _days(day: _Field, say: Say) -> str:
    found = [say("the last day")] if _LAST_DAY in day.values else []
    found += [say("the last weekday")] if _LAST_WORKDAY in day.values else []
    if numbers := _numbers(day, say):
        found.insert(0, say("day {numbers}", numbers=numbers))
    return _listed(found, say)


def _weekdays(weekday: _Field, say: Say) -> str:
    plain = _Field(tuple(part for part in weekday.parts if not part.nth), False, 0, False)
    found = [_names(plain, WEEKDAYS, 0, say)] if plain.parts else []
    found += [say(NTH[part.nth], weekday=say(WEEKDAYS[part.first])) for part in weekday.parts if part.nth]
    return _listed(found, say)


def _names(field: _Field, names: Sequence[str], first: int, say: Say) -> str:
    """Months or weekdays by name."""
    found = []
    for part in field.parts:
        said = [say(names[value - first]) for value in part.values]
        in_a_row = part.step == 1 and len(said) > _FEW
        found += [say("{first} to {last}", first=said[0], last=said[-1])] if in_a_row else said
    return _listed(list(dict.fromkeys(found)), say)


def _numbers(field: _Field, say: Say) -> str:
    found = []
    for part in field.parts:
        if part.first < 0:
            continue
        if len(part.values) <= _FEW:
            found += [str(value) for value in part.values]
        elif part.step == 1:
            found.append(say("{first} to {last}", first=part.first, last=part.last))
        else:
            found.append(say("{first} to {last} in steps of {step}", first=part.first, last=part.last, step=part.step))
    return _listed(list(dict.fromkeys(found)), say)


def _listed(items: Sequence[str], say: Say) -> str:
    if len(items) < 2:
        return "".join(items)
    return say("{items} and {last}", items=", ".join(items[:-1]), last=items[-1])
