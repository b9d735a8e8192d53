"""Arguments as Rails encodes them for ActiveJob, and what they are in Python."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import jobd
from jobd.client import payload
from jobd.client.active_job import GlobalID, Range, unwrapped
from jobd.client.errors import UndecodableArgument


def entry(*arguments: Any) -> payload.Entry:
    return payload.Entry("A", "jid", list(arguments))


def decoded(*arguments: Any) -> list[Any]:
    return unwrapped(entry(*arguments)).args


def serialized(name: str, **fields: Any) -> dict[str, Any]:
    return {"_aj_serialized": f"ActiveJob::Serializers::{name}Serializer", **fields}


HANOI = timezone(timedelta(hours=7))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (1, 1),
        ("a", "a"),
        ([1, [2.5, True]], [1, [2.5, True]]),
        ({"a": 1, "_aj_symbol_keys": ["a"]}, {"a": 1}),
        ({"a": {"b": 1, "_aj_symbol_keys": []}, "_aj_symbol_keys": []}, {"a": {"b": 1}}),
        ({"a": 1, "_aj_hash_with_indifferent_access": True}, {"a": 1}),
        ({"_aj_globalid": "gid://app/User/7"}, GlobalID("gid://app/User/7", "app", "User", "7")),
        (
            {"_aj_globalid": "gid://app/Shop::Order/a%20b/2?tenant=x"},
            GlobalID("gid://app/Shop::Order/a%20b/2?tenant=x", "app", "Shop::Order", "a b/2"),
        ),
        (serialized("Symbol", value="red"), "red"),
        (serialized("Module", value="Shop::Order"), "Shop::Order"),
        (serialized("Date", value="2026-11-22"), date(2026, 11, 22)),
        (
            serialized("Time", value="2026-11-22T07:05:54.660000000+07:00"),
            datetime(2026, 11, 22, 7, 5, 54, 660_000, HANOI),
        ),
        (serialized("DateTime", value="2026-11-22T00:05:54Z"), datetime(2026, 11, 22, 0, 5, 54, 0, UTC)),
        (serialized("TimeWithZone", value="2026-11-22T00:05:54Z"), datetime(2026, 11, 22, 0, 5, 54, 0, UTC)),
        (serialized("BigDecimal", value="0.1230e2"), Decimal("12.30")),
        (
            serialized("Duration", value=5400, parts=[[serialized("Symbol", value="hours"), 1.5]]),
            timedelta(minutes=90),
        ),
        (serialized("Duration", value=serialized("BigDecimal", value="0.15e1"), parts=[]), timedelta(seconds=1.5)),
        (serialized("Range", begin=1, end=None, exclude_end=False), Range(1, None, False)),
        (
            serialized(
                "Range",
                begin=serialized("Date", value="2026-01-01"),
                end=serialized("Date", value="2026-02-01"),
                exclude_end=True,
            ),
            Range(date(2026, 1, 1), date(2026, 2, 1), True),
        ),
        (
            {"when": [serialized("Symbol", value="now")], "_aj_symbol_keys": ["when"]},
            {"when": ["now"]},
        ),
    ],
)
def test_an_argument_is_decoded(given: Any, expected: Any) -> None:
    [value] = decoded(given)
    assert value == expected
    assert type(value) is type(expected)


def test_a_time_with_a_zone_keeps_its_zone_over_a_clock_change() -> None:
    [moment] = decoded(
        serialized("TimeWithZone", value="2026-03-29T01:30:00.000000000+01:00", time_zone="Europe/Berlin")
    )
    assert moment.tzinfo == ZoneInfo("Europe/Berlin")
    assert (moment + timedelta(days=1)).utcoffset() == timedelta(hours=2)


def test_marked_keywords_at_the_end_are_those_of_the_call() -> None:
    found = unwrapped(entry(7, {"locale": serialized("Symbol", value="vi"), "_aj_ruby2_keywords": ["locale"]}))
    assert (found.args, found.kwargs) == ([7], {"locale": "vi"})


def test_marked_keywords_elsewhere_stay_an_argument() -> None:
    found = unwrapped(entry({"a": 1, "_aj_ruby2_keywords": ["a"]}, 7))
    assert (found.args, found.kwargs) == ([{"a": 1}, 7], {})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"_aj_serialized": "MoneySerializer", "value": 5}, "'MoneySerializer', which jobd does not know"),
        ({"_aj_serialized": None}, "None, which jobd does not know"),
        ({"_aj_globalid": "http://app/User/7"}, "no global id"),
        ({"_aj_globalid": "gid://app/User"}, "no global id"),
        ({"_aj_globalid": 7}, "no global id"),
        ({"_aj_globalid": "gid://[app/User/7"}, "no global id"),
        ({"_aj_newer": 1}, "the key '_aj_newer'"),
        (serialized("Date", value="22.11.2026"), "cannot be decoded"),
        (serialized("Date"), "cannot be decoded"),
        (serialized("Time", value="2026-11-22T00:05:54"), "without a zone"),
        (serialized("TimeWithZone", value="2026-11-22T00:05:54Z", time_zone="Mars/Olympus"), "cannot be decoded"),
        (serialized("TimeWithZone", value="2026-11-22T00:05:54Z", time_zone="America"), "cannot be decoded"),
        (serialized("Duration", value="soon"), "cannot be decoded"),
        (serialized("Duration", value=1e300), "cannot be decoded"),
        (serialized("BigDecimal", value="much"), "cannot be decoded"),
        (serialized("Symbol", value=5), "where a name is expected"),
        (serialized("Range", begin=1), "cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_is_named_by_its_place(given: Any, complaint: str) -> None:
    with pytest.raises(UndecodableArgument, match=complaint) as caught:
        decoded(1, {"items": [given], "_aj_symbol_keys": []})
    assert "arguments[1]['items'][0]" in str(caught.value)


def test_the_values_are_public_names() -> None:
    assert (jobd.GlobalID, jobd.Range) == (GlobalID, Range)
