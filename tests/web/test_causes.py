"""Messages of one cause become one, and jobs that failed of one cause are grouped."""

from __future__ import annotations

import time

import pytest

from jobd.client.sets import DeadSet
from jobd.web.causes import BUCKETS, Cause, Failure, Told, beginning, curve, group, normalise, since
from tests.client.api import payload


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("timeout after 30 s", "timeout after 2.5 s", "timeout after <n> s"),
        ("no user 7", "no user 123,456", "no user <n>"),
        ("at 10:20:30", "at 9:00", "at <n>"),
        ("key 'a b' is missing", "key '' is missing", "key <text> is missing"),
        ('value "x" of `y`', 'value "it\'s" of `z z`', "value <text> of <text>"),
        ("no mail to ann@example.com", "no mail to b.c+d@x.co.uk", "no mail to <mail>"),
        ("open /var/lib/a.txt: denied", "open ~/x/y: denied", "open <path>: denied"),
        ("GET https://a.example/x?y=1 failed", "GET http://b/ failed", "GET <path> failed"),
        ("at 0xDEADBEEF", "at 0x0", "at <hex>"),
        ("sha 9f86d081884c7d65", "sha deadbeef01", "sha <hex>"),
        (
            "order 123e4567-e89b-12d3-a456-426614174000",
            "order 00000000-0000-0000-0000-000000000000",
            "order <uuid>",
        ),
        ("line one\n  line two", "line one line two", "line one line two"),
    ],
)
def test_what_differs_from_job_to_job_is_left_out_of_a_message(one: str, other: str, told: str) -> None:
    assert normalise(one) == normalise(other) == told


@pytest.mark.parametrize(
    "text", ["can't find the user's home", "and/or", "utf8 is bad", "no facade", "•••••• is hidden", "a < b", ""]
)
def test_what_is_the_same_for_all_jobs_stays(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    "part", ["'", '"', "/a", "a@", "a.", "0", "f", "0123456789abcdef", "://", "-", "“", "\n", "ab1-"]
)
def test_a_message_made_to_be_slow_is_not(part: str) -> None:
    began = time.process_time()
    assert len(normalise(beginning(part * 100_000))) <= 300
    assert time.process_time() - began < 0.5


def test_a_long_message_ends_between_words() -> None:
    assert beginning("word " * 200) == "word " * 100 + "…"
    assert beginning("a " + "x" * 600) == "a …"
    assert beginning("x" * 600) == "…"
    assert beginning("x" * 500) == "x" * 500


def failed(name: str, message: str, at: float | None, place: str = "dead") -> Failure:
    entry = DeadSet().entries([(1.0, payload("j", **{"class": name}))])[0]
    return Failure(place, entry, Told(name, "Error", message, "default", at, at))  # type: ignore[arg-type]


def test_the_cause_of_most_jobs_comes_first_and_the_last_failure_of_each() -> None:
    causes = group([failed("A", "x", 1.0), failed("B", "x", 5.0), failed("B", "x", 9.0), failed("C", "x", 2.0)])
    assert [(each.told.name, len(each.failures)) for each in causes] == [("B", 2), ("C", 1), ("A", 1)]
    assert [each.told.last for each in causes[0].failures] == [9.0, 5.0]
    assert (causes[0].first, causes[0].last, causes[0].count("dead"), causes[0].count("retries")) == (5.0, 9.0, 2, 0)
    assert causes[0].id == group([failed("B", "x", 70.0)])[0].id != group([failed("B", "y", 70.0)])[0].id


def test_a_cause_of_jobs_without_times_has_none() -> None:
    [cause] = group([failed("A", "x", None)])
    assert (cause.first, cause.last) == (None, None)
    assert sum(curve(cause, since([cause], 1e9), 1e9)) == 0


def test_the_search_for_a_cause_names_class_and_error_as_they_are() -> None:
    [odd] = group([failed('A"B', "x", 1.0)])
    assert odd.search == f"cause:{odd.id}"
    entry = DeadSet().entries([(1.0, payload("j", **{"class": "A B", "error_class": "E"}))])[0]
    cause = Cause.of([Failure("dead", entry, Told("A B", "E", "", "", None, None))])
    assert cause.search == f'class:"A B" error:"E" cause:{cause.id}'
    [long] = group([failed("x" * 195, "x", 1.0)])
    assert long.search == f"cause:{long.id}"


def test_the_curve_has_every_failure_of_its_time_once() -> None:
    [cause] = group([failed("A", "x", 1e9 - age) for age in (0, 1, 1800, 3599, 3600)])
    begin = since([cause], 1e9)
    assert begin == 1e9 - 3600
    counts = curve(cause, begin, 1e9)
    assert (len(counts), sum(counts), counts[0], counts[-1]) == (BUCKETS, 5, 2, 2)
    assert since([failed_long_ago()], 1e9) == 1e9 - 30 * 24 * 3600
    assert sum(curve(failed_long_ago(), since([failed_long_ago()], 1e9), 1e9)) == 0


def failed_long_ago() -> Cause:
    return group([failed("A", "x", 1.0)])[0]
