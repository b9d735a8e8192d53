"""What may travel as an argument, and what the refusal of the rest says."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from inspect import Signature, signature
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.client import arguments, payload
from jobd.client.errors import InvalidArguments, UnserializableArgument


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int


@dataclasses.dataclass
class User:
    id: int


class Model:
    """Stands for an object of an ORM."""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_what_is_accepted_comes_out_as_it_went_in(value: Any) -> None:
    assert arguments.find_fault(value) is None
    assert payload.decode(payload.encode({"args": [value]})) == {"args": [value]}


def test_a_tuple_is_accepted_and_arrives_as_a_list() -> None:
    arguments.check("app.send", [(1, (2,))], {})
    assert payload.decode(payload.encode({"args": [(1, (2,))]})) == {"args": [[1, [2]]]}


@pytest.mark.parametrize(
    ("value", "kind", "remedy"),
    [
        (datetime.now(UTC), "a datetime", "value.isoformat() or value.timestamp()"),
        (date(2027, 1, 1), "a date", "value.isoformat()"),
        (timedelta(1), "a timedelta", "value.total_seconds()"),
        (Decimal("1.1"), "a Decimal", "str(value)"),
        (UUID(int=1), "a UUID", "str(value)"),
        (Path("/x"), "a PosixPath", "str(value)"),
        (User(1), "a User", "pass its id, or dataclasses.asdict(value)"),
        ({1}, "a set", "sorted(value) or list(value)"),
        (b"x", "a bytes", "base64.b64encode(value).decode()"),
        (Colour.RED, "a Colour", "value.value"),
        (Point(1), "a Point", "list(value)"),
        (OrderedDict(), "a OrderedDict", "dict(value)"),
        (Model(), "a Model", "pass its id, and look it up inside the job"),
        (math.nan, "nan", "pass None"),
        (-math.inf, "-inf", "pass None"),
        ("\ud800", "a lone surrogate", "replace"),
        (1 << 100_000, "an integer of 100001 bits", "hex(value)"),
        ({1: 2}, "a dict with the key 1", "str(key)"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
def test_a_refusal_names_the_job_the_place_the_kind_and_the_remedy(value: Any, kind: str, remedy: str) -> None:
    with pytest.raises(UnserializableArgument) as caught:
        arguments.check("app.send", [0, {"items": [1, 2, 3, value]}], {})
    message = str(caught.value)
    assert message.startswith("app.send: args[1].items[3] is ")
    assert kind in message
    assert remedy in message


def test_a_key_that_is_no_identifier_is_quoted_in_the_path() -> None:
    with pytest.raises(UnserializableArgument, match=r"args\[0\]\['two words'\]\.x is a set"):
        arguments.check("app.send", [{"two words": {"x": set()}}], {})


def test_a_keyword_argument_is_named_in_the_path() -> None:
    with pytest.raises(UnserializableArgument, match=r"app.send: when\[0\] is a date,"):
        arguments.check("app.send", [], {"when": [date(2027, 1, 1)]})


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_nesting_is_limited_to_what_ruby_reads() -> None:
    arguments.check("app.send", [nested(90)], {})
    with pytest.raises(UnserializableArgument, match="nested over 90 deep"):
        arguments.check("app.send", [nested(91)], {})


def test_a_list_within_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnserializableArgument, match="nested over 90 deep"):
        arguments.check("app.send", [endless], {})


def test_keyword_arguments_become_positional_where_the_signature_allows() -> None:
    def send(user: int, subject: str = "hi", *rest: int, locale: str = "en", **extra: int) -> None: ...

    def bound(*args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
        return arguments.bind("app.send", signature(send), args, kwargs)

    assert bound(user=1, subject="x") == ([1, "x"], {})
    assert bound(1, "x", 2, 3) == ([1, "x", 2, 3], {})
    assert bound(1, locale="vi", more=4) == ([1], {"locale": "vi", "more": 4})


def test_defaults_are_not_added() -> None:
    def send(a: int, b: int = 2, c: int = 3) -> None: ...

    assert arguments.bind("app.send", signature(send), (1,), {}) == ([1], {})
    assert arguments.bind("app.send", signature(send), (1,), {"c": 5}) == ([1], {"c": 5})


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ((), {}, "missing a required argument: 'user'"),
        ((1, 2), {}, "too many positional arguments"),
        ((1,), {"colour": 3}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_with_the_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], complaint: str
) -> None:
    def send(user: int) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        arguments.bind("app.send", signature(send), args, kwargs)
    assert "app.send(user): " in str(caught.value)
    assert complaint in str(caught.value)
    assert isinstance(caught.value, TypeError)


plain_signatures = [
    signature(function)
    for function in (
        lambda: None,
        lambda a: None,
        lambda a, b=2: None,
        lambda a, /, b, c=3: None,
        lambda *rest: None,
        lambda a, b=2, *rest, c=3: None,
        lambda a, *, b=2, **extra: None,
        lambda a, *, b: None,
        lambda **extra: None,
    )
]


@pytest.mark.parametrize("of", plain_signatures, ids=str)
@pytest.mark.parametrize("number", range(5))
def test_plain_calls_are_those_that_bind_as_they_are(of: Signature, number: int) -> None:
    args = tuple(range(number))
    if number in arguments.plain_calls(of):
        assert arguments.bind("app.send", of, args, {}) == (list(args), {})
    else:
        with pytest.raises(InvalidArguments):
            arguments.bind("app.send", of, args, {})


@pytest.mark.parametrize("value", [2**63, -(2**63), 1 << 8_000])
def test_long_integers_are_accepted_up_to_their_limit(value: int) -> None:
    arguments.check("app.send", [value], {})
    with pytest.raises(UnserializableArgument, match=r"args\[1\] is an integer of"):
        arguments.check("app.send", [value, value << 9_000], {})
