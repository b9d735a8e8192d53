"""When the jobs of a set run, or died: bars that count by the hour and by the day, each with a search for its jobs."""

from __future__ import annotations

import math
import time

import pytest
from redis import Redis

from jobd.web import strips
from jobd.web.strips import Span, spans
from tests.client.api import payload
from tests.web.browser import Browser, Page

NOW = 1_795_305_670.0
HOUR, DAY = 3600.0, 86_400.0


def test_hours_and_days_follow_each_other_without_a_gap() -> None:
    for past in (False, True):
        found = spans(NOW, past=past)
        for some in (found.hours, found.days):
            assert [each.until for each in some[:-1]] == [each.since for each in some[1:]]
            assert sum(each.since <= NOW < each.until for each in some) == 1
        assert (len(found.hours), len(found.days), len(found.all)) == (24, 30, 56)
        assert (found.before.until, found.after.since) == (found.days[0].since, found.days[-1].until)
    assert spans(NOW, past=False).hours[0].since <= NOW
    assert spans(NOW, past=True).hours[-1].until > NOW
    assert spans(NOW, past=False) == spans(NOW + 60, past=False), "what is looked at again has the same bars"


def test_bounds_and_search_of_a_span_mean_the_same() -> None:
    span = Span(1_795_302_000.0, 1_795_305_600.0)
    assert span.bounds == ("1795302000.0", "(1795305600.0")
    assert span.search == "since:2026-11-21T23 until:2026-11-21T23:59:59.999999"
    assert Span(-math.inf, 0.0).bounds == ("-inf", "(0.0")
    assert Span(0.0, math.inf).search == "since:1970-01-01T00"


def test_a_strip_draws_what_there_is() -> None:
    counts = [0] * 56
    counts[2], counts[3], counts[54], counts[55] = 100, 1, 7, 8
    told = strips.strips(spans(NOW, past=False), counts)
    assert [bar["count"] for bar in told["hours"]["bars"]] == [100, 1]
    assert told["hours"]["bars"][0]["path"] == "M60 48v-48h28V48z"
    assert told["hours"]["bars"][1]["path"].startswith("M90 48v-2h"), "one job is seen beside a hundred"
    assert told["days"] == {"bars": [], "count": 0, "most": 0, "first": "2026-11-22", "last": "2026-12-21"}
    assert (told["before"]["count"], told["after"]["count"]) == (7, 8)


@pytest.mark.parametrize(
    ("path", "key", "sign"), [("/retries", "retry", 1), ("/scheduled", "schedule", 1), ("/dead", "dead", -1)]
)
def test_each_bar_leads_to_exactly_the_jobs_that_it_counts(
    browser: Browser, redis: Redis, path: str, key: str, sign: int
) -> None:
    now = time.time()
    on_the_hour = now // HOUR * HOUR + sign * 2 * HOUR
    places = [now + sign * 90 * 60, on_the_hour, on_the_hour - 1e-3, now + sign * 10 * DAY, now + sign * 100 * DAY, 7.0]
    redis.zadd(key, {payload(f"j{i}"): at for i, at in enumerate(places)})
    when = browser.data(path)["by_time"]
    bars = [*when["hours"]["bars"], *when["days"]["bars"], when["before"], when["after"]]
    assert sum(bar["count"] for bar in (*when["days"]["bars"], when["before"], when["after"])) == len(places)
    for bar in bars:
        found = browser.data(f"{path}{bar['link']}")
        assert len(found["jobs"]) == bar["count"], bar
        assert found["by_time"] == when, "the strip stays while one searches"


def test_the_bars_are_links_and_stand_in_a_table_for_who_asks(browser: Browser, redis: Redis) -> None:
    redis.zadd("retry", {payload(f"j{i}"): time.time() + 10 * DAY for i in range(3)})
    page = Page.of(browser.get("/retries?q=class:HardJob").text)
    [bar] = browser.data("/retries")["by_time"]["days"]["bars"]
    assert [each.get("tabindex") for each in page.all("a") if each["href"] == bar["link"]] == ["-1"]
    assert f"{bar['label']}: 3" in page.text
    assert "Next 30 days 3" in " ".join(page.text.split())
    [table] = [str(each["href"]) for each in page.all("a") if "by=time" in str(each["href"])]
    assert Page.query(table) == {"q": "class:HardJob", "by": "time"}
    found = [each for each in Page.of(browser.get(table).text).all("a") if each["href"] == bar["link"]]
    assert [each.get("tabindex") for each in found] == ["-1", None]


def test_an_empty_set_has_no_strip(browser: Browser) -> None:
    assert 'class="when"' not in browser.get("/dead").text
