"""Cron expressions: what is read, what is refused and where, and that the ticks are those of a plain matcher."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from jobd.client.cron_expression import Schedule, parse
from jobd.client.errors import InvalidCron

NOON = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC).timestamp()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "timezone", "stored", "tick"),
    [
        ("* * * * *", None, "* * * * *", "2026-11-22T12:01Z"),
        ("*/20 * * * * *", None, "*/20 * * * * *", "2026-11-22T12:00:40Z"),
        ("0 8 * * *", "Asia/Ho_Chi_Minh", "0 8 * * * Asia/Ho_Chi_Minh", "2026-11-23T08:00+07:00"),
        ("*/5 * * * * America/Chicago", None, "*/5 * * * * America/Chicago", "2026-11-22T12:05Z"),
        ("0 8 * * * Asia/Ho_Chi_Minh", "Asia/Ho_Chi_Minh", "0 8 * * * Asia/Ho_Chi_Minh", "2026-11-23T01:00Z"),
        (" 0  8 * * *  UTC ", None, "0 8 * * *", "2026-11-23T08:00Z"),
        ("@hourly", None, "0 * * * *", "2026-11-22T13:00Z"),
        ("@daily", "Europe/Berlin", "0 0 * * * Europe/Berlin", "2026-11-23T00:00+01:00"),
        ("@midnight", None, "0 0 * * *", "2026-11-23T00:00Z"),
        ("@noon", None, "0 12 * * *", "2026-11-23T12:00Z"),
        ("@weekly", None, "0 0 * * 0", "2026-11-29T00:00Z"),
        ("@monthly", None, "0 0 1 * *", "2026-12-01T00:00Z"),
        ("@Yearly", None, "0 0 1 1 *", "2027-01-01T00:00Z"),
        ("@annually Asia/Tokyo", None, "0 0 1 1 * Asia/Tokyo", "2027-01-01T00:00+09:00"),
        ("@every 90s", None, "@every 90s", "2026-11-22T12:01:30Z"),
        ("@every 5m", None, "@every 5m", "2026-11-22T12:05Z"),
        ("@every 2h", None, "@every 2h", "2026-11-22T14:00Z"),
        ("every 3 hours", None, "0 */3 * * *", "2026-11-22T15:00Z"),
        ("every minute", None, "* * * * *", "2026-11-22T12:01Z"),
        ("every 30 seconds", None, "*/30 * * * * *", "2026-11-22T12:01Z"),
        ("every second", None, "* * * * * *", "2026-11-22T12:00:31Z"),
        ("every day", "Asia/Tokyo", "0 0 * * * Asia/Tokyo", "2026-11-23T00:00+09:00"),
        ("0 9 * * mon-fri", None, "0 9 * * mon-fri", "2026-11-23T09:00Z"),
        ("0 9 L * *", None, "0 9 L * *", "2026-11-30T09:00Z"),
        ("0 9 * * 5L", None, "0 9 * * 5L", "2026-11-27T09:00Z"),
        ("0 9 * * MON#1", None, "0 9 * * MON#1", "2026-12-07T09:00Z"),
    ],
)
def test_what_is_read(text: str, timezone: str | None, stored: str, tick: str) -> None:
    schedule = parse(text, timezone)
    assert (schedule.text, schedule.after(NOON)) == (stored, at(tick))
    assert parse(schedule.text) == schedule


@pytest.mark.parametrize(
    ("text", "timezone", "complaint"),
    [
        ("61 * * * *", None, "column 1: the minutes field is '61'; give 0 to 59"),
        ("0 25 * * *", None, "column 3: the hours field is '25'; give 0 to 23"),
        ("0  0 32 * *", None, "column 6: the day of the month field is '32'"),
        ("0 0 1 13 *", None, "column 7: the month field is '13'; give 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", None, "column 9: the day of the week field is '8'"),
        ("0 0 * * MON#6", None, "column 9: the day of the week field is 'MON#6'"),
        ("60 * * * * *", None, "column 1: the seconds field is '60'"),
        ("*/0 * * * *", None, "column 1: the minutes field is '*/0'"),
        ("5-1 * * * *", None, "column 1: the minutes field is '5-1'"),
        ("0 0 30 2 *", None, "column 5: the day of the month '30' never comes"),
        ("0 0 31 4,6 *", "Europe/Berlin", "column 5: the day of the month '31' never comes"),
        ("* * * *", None, "has 4 of five or six fields"),
        ("* * * * * * *", None, "has 7 of five or six fields"),
        ("", None, "'' is no expression; give minute hour day month weekday"),
        (None, None, "None is no expression"),
        (5, None, "5 is no expression"),
        ("* " * 200, None, "is no expression"),
        ("@dayly", None, "column 1: '@dayly' is none of @hourly"),
        ("@every 0s", None, "column 1: give @every with a number of s, m, h or d"),
        ("@every fortnight", None, "give @every with a number"),
        ("@every 5m Europe/Berlin", None, "@every counts seconds, whatever the time zone"),
        ("every 61 minutes", None, "words are understood as in 'every 3 hours' only"),
        ("every monday at 9", None, "words are understood as in 'every 3 hours' only"),
        ("0 8 * * * Asia/Saigoon", None, "column 11: 'Asia/Saigoon' is no time zone; give a name of the tz database"),
        ("0 8 * * *", "Mars/Olympus", "'Mars/Olympus' is no time zone"),
        ("0 8 * * *", "../../etc/passwd", "is no time zone"),
        ("0 8 * * *", "", "'' is no time zone"),
        ("0 8 * * * +07:00", None, "column 11: '+07:00' is an offset, which summer time changes; name a zone"),
        ("0 8 * * * Asia/Tokyo", "Europe/Berlin", "names the zone Asia/Tokyo, beside timezone 'Europe/Berlin'"),
    ],
)
def test_what_is_refused(text: object, timezone: str | None, complaint: str) -> None:
    with pytest.raises(InvalidCron) as caught:
        parse(text, timezone)
    assert complaint in str(caught.value)
    assert str(text)[:20] in str(caught.value)


def test_ticks_between_leave_out_the_start_and_have_the_end() -> None:
    schedule = parse("* * * * *")
    assert list(schedule.between(120.0, 240.0)) == [180.0, 240.0]
    assert list(schedule.between(119.5, 120.0)) == [120.0]
    assert schedule.latest(0.0, 600.0, 3) == ([480.0, 540.0, 600.0], 8)
    assert schedule.latest(600.0, 600.0, 3) == ([], 0)


def test_the_last_ticks_of_a_year_cost_no_more_than_those_of_an_hour() -> None:
    ticks, counted = parse("* * * * * *").latest(0.0, NOON, 1_000)
    assert ticks == [math.floor(NOON) - i for i in reversed(range(1_000))]
    assert counted < 10_000
    assert parse("0 0 29 2 *").latest(NOON - 10 * 366 * 86400, NOON, 1)[0] == [at("2024-02-29T00:00Z")]


NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("expression", "start", "end", "ticks"),
    [
        ("30 2 * * *", "2026-03-08T00:00-05:00", "2026-03-09T00:00-04:00", ["2026-03-08T03:00-04:00"]),
        ("0 30 2 * * *", "2026-03-08T00:00-05:00", "2026-03-09T00:00-04:00", ["2026-03-08T03:00-04:00"]),
        ("30 1 * * *", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00", ["2026-11-01T01:30-04:00"]),
        ("30 1 * * *", "2026-11-01T01:10-05:00", "2026-11-02T00:00-05:00", []),
        ("5 30 2 * * *", "2026-03-08T00:00-05:00", "2026-03-09T00:00-04:00", []),
        (
            "5 30 1 * * *",
            "2026-11-01T00:00-04:00",
            "2026-11-02T00:00-05:00",
            ["2026-11-01T01:30:05-04:00", "2026-11-01T01:30:05-05:00"],
        ),
        (
            "*/30 1 * * *",
            "2026-11-01T00:00-04:00",
            "2026-11-02T00:00-05:00",
            ["2026-11-01T01:00-04:00", "2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00", "2026-11-01T01:30-05:00"],
        ),
    ],
)
def test_clock_changes_follow_debians_cron(expression: str, start: str, end: str, ticks: list[str]) -> None:
    found = parse(expression, NEW_YORK).between(at(start), at(end))
    assert list(found) == [at(tick) for tick in ticks]


ZONES = (
    *("America/New_York", "America/Sao_Paulo", "America/Santiago", "America/St_Johns", "America/Havana"),
    *("Europe/Berlin", "Europe/Dublin", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Jerusalem"),
    *("Asia/Ho_Chi_Minh", "Asia/Kathmandu", "Asia/Tehran", "Australia/Lord_Howe", "Australia/Sydney"),
    *("Pacific/Chatham", "Pacific/Apia", "Antarctica/Troll", "UTC"),
)
EXPRESSIONS = (
    *("*/30 * * * *", "7,37 */2 * * *", "30 2 * * *", "0,15,45 0-3 * * *", "30 1 * * *", "0 0 * * *"),
    *("15 23,0 1-7 * 0", "0 3 */2 * 1-5", "*/20 2 * 3,10,11 *", "59 1 13 * 5"),
)
FIRST, DAYS = datetime(2026, 1, 15, tzinfo=UTC), 400
SPAN = timedelta(days=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@pytest.mark.parametrize("zone", ZONES)
def test_the_ticks_are_those_of_a_matcher_that_looks_at_each_minute(zone: str) -> None:
    """Around each clock change; with JOBD_CRON_WHOLE on all of 400 days."""
    for start, end in _spans(zone):
        for expression in EXPRESSIONS:
            found = list(parse(expression, zone).between(start - 1, end))
            wanted = list(matching(expression, zone, start, end))
            assert found == wanted, (expression, _differences(found, wanted))


def test_both_clock_changes_are_looked_at_in_most_zones() -> None:
    assert len(set(ZONES)) == 20
    assert sum(len(_changes(zone)) >= 2 for zone in ZONES) >= 12


def test_from_wherever_one_begins_the_next_tick_is_the_same() -> None:
    for zone in ("America/New_York", "Australia/Lord_Howe", "Africa/Cairo"):
        for start, end in _around_changes(zone, timedelta(hours=5)):
            for expression in EXPRESSIONS:
                schedule = parse(expression, zone)
                ticks = list(schedule.between(start, end))
                for moment in range(int(start), int(end), 601):
                    following = [tick for tick in ticks if tick > moment]
                    assert schedule.after(moment) == following[0] if following else schedule.after(moment) > end


def _spans(zone: str) -> list[tuple[float, float]]:
    if "JOBD_CRON_WHOLE" in os.environ:
        return [(FIRST.timestamp(), (FIRST + timedelta(days=DAYS)).timestamp())]
    return _around_changes(zone, SPAN)


def _around_changes(zone: str, span: timedelta) -> list[tuple[float, float]]:
    """Around each clock change; a stretch like any other where the clock never changes."""
    found = [(change - span.total_seconds(), change + span.total_seconds()) for change in _changes(zone)]
    return found or [(FIRST.timestamp(), (FIRST + span).timestamp())]


@cache
def _changes(zone: str) -> list[float]:
    hours = [FIRST.timestamp() + 3600 * i for i in range(24 * DAYS)]
    offsets = [datetime.fromtimestamp(hour, ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after]


def matching(expression: str, zone: str, start: float, end: float) -> Iterator[float]:
    """The ticks from `start` to `end` by looking at each minute."""
    fields = expression.split()
    wanted = [set(_values(field, *bounds)) for field, bounds in zip(fields, RANGES, strict=True)]
    both = fields[2].startswith("*") or fields[4].startswith("*")

    def matches(local: datetime) -> bool:
        if local.minute not in wanted[0] or local.hour not in wanted[1] or local.month not in wanted[3]:
            return False
        in_month, in_week = local.day in wanted[2], bool({local.isoweekday(), local.isoweekday() % 7} & wanted[4])
        return in_month and in_week if both else in_month or in_week

    if fields[0].startswith("*") or fields[1].startswith("*"):
        minutes = [moment for moment, local in _minutes(zone, start, end) if matches(local)]
    else:
        minutes = [_fixed(zone, local) for local in _wall_minutes(zone, start, end) if matches(local)]
    yield from sorted({moment for moment in minutes if start <= moment <= end})


def _values(field: str, low: int, high: int) -> Iterator[int]:
    for part in field.split(","):
        values, _, step = part.partition("/")
        first, _, last = values.partition("-")
        numbers = range(low, high + 1) if values == "*" else range(int(first), int(last or first) + 1)
        yield from numbers[:: int(step or 1)]


@cache
def _minutes(zone: str, start: float, end: float) -> list[tuple[float, datetime]]:
    first = math.ceil(start / 60) * 60
    return [(float(m), datetime.fromtimestamp(m, ZoneInfo(zone))) for m in range(first, int(end) + 1, 60)]


@cache
def _wall_minutes(zone: str, start: float, end: float) -> list[datetime]:
    """Each minute that a clock on the wall could show, also those that it leaves out."""
    first = datetime.fromtimestamp(start, ZoneInfo(zone)).replace(tzinfo=None) - timedelta(hours=3)
    count = int(end - start) // 60 + 6 * 60
    return [first.replace(second=0) + timedelta(minutes=i) for i in range(count)]


def _fixed(zone: str, wall: datetime) -> float:
    """When the clock first shows this, or what comes right after if it never does."""
    while True:
        local = wall.replace(tzinfo=ZoneInfo(zone))
        if datetime.fromtimestamp(local.timestamp(), ZoneInfo(zone)).replace(tzinfo=None) == wall:
            return local.timestamp()
        wall += timedelta(minutes=1)


def _differences(found: list[float], wanted: list[float]) -> list[str]:
    return [datetime.fromtimestamp(tick, UTC).isoformat() for tick in sorted(set(found) ^ set(wanted))][:10]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 8 * * * Asia/Tokyo", "At 08:00 every day"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("@every 90s", "Every 90 seconds"),
        ("0 9 * * mon#2", "At 09:00 on the second Monday of the month"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert parse(text).words == words


def test_a_schedule_is_a_plain_value() -> None:
    assert parse("0 8 * * *") == Schedule("0 8 * * *", "0 8 * * *", UTC)
    assert parse("0 8 * * *", "Asia/Tokyo").timezone == "Asia/Tokyo"
    assert parse("0 8 * * *").timezone == "UTC"
