"""What has changed with a deploy: told when chance would hardly make it so and it matters, and otherwise not."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

import pytest
from redis import Redis

from jobd.client.metric_keys import histogram_slot, slot
from jobd.web.moved import Move, compared, moves, standard_errors
from tests.web.browser import Browser, Page
from tests.web.test_deploys import mark


def histogram(*counts: tuple[int, int]) -> Sequence[int]:
    """So many in these buckets."""
    found = [0] * 26
    for bucket, count in counts:
        found[bucket] = count
    return found


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ((100, 1), (100, 30), (0.01, 0.3, True)),
        ((100, 30), (100, 1), (0.3, 0.01, False)),
        ((100, 1), (100, 5), None),  # may be chance
        ((49, 0), (1_000, 900), None),  # too few before
        ((1_000, 900), (49, 0), None),  # too few after
        ((1_000_000, 10_000), (1_000_000, 12_000), None),  # sure, and of no matter
        ((1_000_000, 100), (1_000_000, 300), (0.0001, 0.0003, True)),
        ((100, 0), (100, 0), None),
        ((100, 100), (100, 100), None),
    ],
)
def test_a_failure_rate_moves_when_it_is_sure_and_matters(
    before: tuple[int, int], after: tuple[int, int], told: tuple[float, float, bool] | None
) -> None:
    found = moves({"A": (*before, 0)}, {"A": (*after, 0)}, {})
    assert [(move.before, move.after, move.worse) for move in found] == ([told] if told else [])


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (histogram((3, 100)), histogram((9, 100)), True),
        (histogram((9, 100)), histogram((3, 100)), False),
        (histogram((3, 100)), histogram((3, 80), (9, 20)), True),
        (histogram((3, 100)), histogram((3, 97), (9, 3)), None),  # the p95 is where it was
        (histogram((3, 50), (4, 3)), histogram((3, 50), (9, 4)), None),  # may be chance
        (histogram((3, 49)), histogram((9, 100)), None),  # too few
        (histogram((25, 100)), histogram((25, 100)), None),
        (histogram(), histogram((9, 100)), None),
    ],
)
def test_a_p95_moves_when_more_take_longer(before: Sequence[int], after: Sequence[int], worse: bool | None) -> None:
    counts = {"A": (100, 0, 5)}
    found = moves(counts, counts, {"A": (before, after)})
    assert [(move.what, move.worse) for move in found] == ([] if worse is None else [("p95", worse)])


def test_what_became_worse_comes_first_and_of_that_the_surest() -> None:
    before = {"A": (100, 50, 0), "B": (100, 0, 0), "C": (100, 0, 0), "D": (100, 0, 0)}
    after = {"A": (100, 0, 0), "B": (100, 50, 0), "C": (100, 90, 0), "New": (100, 100, 0)}
    assert [move.name for move in moves(before, after, {})] == ["C", "B", "A"]
    assert compared(before, after) == ["A", "B", "C"]


def test_shares_are_compared_by_their_standard_errors() -> None:
    assert standard_errors((50, 100), (80, 100)) == pytest.approx(4.4475, abs=1e-3)
    assert standard_errors((0, 10), (0, 1_000)) == standard_errors((10, 10), (5, 5)) == 0.0
    assert Move("A", "rate", 0.1, 0.1, 0.0).worse is False


def put(redis: Redis, at: float, name: str, ran: int, failed: int = 0, bucket: int = 3) -> None:
    """What the workers have written of a class in a minute."""
    redis.hset(f"j|{slot(at, 60)}", mapping={f"{name}|p": ran, f"{name}|f": failed, f"{name}|ms": ran * 50})
    redis.set(f"h|{histogram_slot(name, at)}", struct.pack(">26H", *histogram((bucket, ran - failed))))


def test_the_page_of_metrics_says_what_changed_since_the_last_deploy(browser: Browser, redis: Redis) -> None:
    now = time.time()
    at = mark(redis, now - 1200, "v2 <i>")
    mark(redis, now - 2400, "v1")
    for minute in range(3):
        before, after = at - 60 * (minute + 1), at + 60 * minute
        put(redis, before, "Slow", 100, bucket=3)
        put(redis, after, "Slow", 100, bucket=9)
        put(redis, before, "Worse", 100, failed=1)
        put(redis, after, "Worse", 100, failed=60)
        put(redis, before, "Same", 100)
        put(redis, after, "Same", 100)
        put(redis, after, "New", 100, failed=90)
    told = browser.data("/metrics")["since_deploy"]
    assert (told["at"], told["label"], told["compared"], told["more"]) == (at, "v2 <i>", 3, 0)
    assert [(each["class"], each["what"], each["worse"]) for each in told["moved"]] == [
        ("Slow", "p95", True),
        ("Worse", "rate", True),
    ]
    assert (told["moved"][1]["before"], told["moved"][1]["after"]) == (0.01, 0.6)
    assert [each["class"] for each in browser.data("/metrics?q=Wor")["since_deploy"]["moved"]] == ["Worse"]
    totals = {row["class"]: row["executed"] for row in browser.data("/metrics")["classes"]}
    assert totals == {"Slow": 600, "Worse": 600, "Same": 600, "New": 300}
    page = " ".join(Page.of(browser.get("/metrics").text).text.split())
    assert [text in page for text in ("v2 <i>", "▲ fails more", "1.0%", "60.0%", "▲ slower, by its p95")] == [True] * 5


def test_without_a_deploy_in_the_period_nothing_is_compared(browser: Browser, redis: Redis) -> None:
    mark(redis, time.time() - 7200, "v1")
    assert browser.data("/metrics")["since_deploy"] is None
    assert "Since the last deploy" not in browser.get("/metrics").text


def test_it_says_when_nothing_can_be_said(browser: Browser, redis: Redis) -> None:
    at = mark(redis, time.time() - 1200, "v2")
    put(redis, at, "New", 100)
    put(redis, at, "Same", 100)
    put(redis, at - 60, "Same", 100)
    nothing = "No class has run often enough before and after it: 50 times on each side."
    assert nothing in browser.get("/metrics?q=New").text
    same = "No failure rate and no p95 has moved beyond chance. Classes compared: 1."
    assert same in browser.get("/metrics").text


def test_the_point_in_which_the_deploy_was_is_on_no_side(browser: Browser, redis: Redis) -> None:
    ten = (time.time() - 3 * 3600) // 600 * 600
    mark(redis, ten + 300, "v2")
    for start, failed in ((ten - 600, 0), (ten, 30), (ten + 600, 60)):
        redis.hset(f"j|{slot(start, 600)}", mapping={"A|p": 100, "A|f": failed, "A|ms": 5})
    [told] = browser.data("/metrics?period=8h")["since_deploy"]["moved"]
    assert (told["before"], told["after"]) == (0.0, 0.6)
    assert browser.data("/metrics?period=8h")["classes"][0]["executed"] == 300
