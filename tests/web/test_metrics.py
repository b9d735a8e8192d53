"""Figures of the classes: the table of all, the page of one, what is read of them and how often."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote

import pytest
from redis import Redis

import jobd.web
from jobd.client import class_waits, metric_keys
from jobd.client.access import Access
from jobd.client.class_waits import ClassWaits
from jobd.client.keys import Keys
from jobd.client.metric_keys import HOUR, MINUTE, TEN_MINUTES
from jobd.client.metrics import Period
from jobd.client.push import Client
from jobd.client.waits import BUCKETS, LONGEST
from jobd.web import class_waits as shown_waits
from jobd.web import figures
from jobd.web.figures import SPANS, Figures, Kept, Point
from jobd.web.pages import metrics
from jobd.web.questions import answer, together
from jobd.worker.wait_counts import WaitCounts
from tests.waiting import wait_until
from tests.web.browser import Browser, Page

KEYS = Keys()


def count(
    redis: Redis, name: str, at: float, ran: int, failed: int = 0, ms: int = 0, took: Mapping[int, int] | None = None
) -> None:
    """Write the figures of a class as a worker does; `took` is how many fell into which bucket of the histogram."""
    slots = (
        KEYS.metrics(metric_keys.slot(at, MINUTE)),
        KEYS.metrics(metric_keys.slot(at, TEN_MINUTES)),
        KEYS.metrics_hour(metric_keys.hour_slot(at)),
    )
    for key in slots:
        for field, by in zip(metric_keys.fields(name), (ran, failed, ms), strict=True):
            redis.hincrby(key, field, by)
    for bucket, by in (took or {}).items():
        histogram = KEYS.histogram(metric_keys.histogram_slot(name, at))
        redis.execute_command("BITFIELD", histogram, "INCRBY", "u16", f"#{bucket}", by)


def columns(browser: Browser, query: str) -> list[str]:
    """The names of the classes in the order of the table."""
    return [row["class"] for row in browser.data(f"/metrics?{query}")["classes"]]


@pytest.mark.parametrize("period", list(SPANS))
def test_every_period_counts_what_ran_in_it_and_nothing_before(period: str, browser: Browser, redis: Redis) -> None:
    now = time.time()
    seconds = int(period[:-1]) * {"h": 3_600, "d": 86_400}[period[-1]]
    count(redis, "Now", now, 2, 1, 30)
    count(redis, "Then", now - seconds + 2 * SPANS[period].length, 3, 0, 30)
    count(redis, "Before", now - seconds - SPANS[period].length, 5)
    found = {row["class"]: row["executed"] for row in browser.data(f"/metrics?period={period}")["classes"]}
    assert found == {"Now": 2, "Then": 3}
    [row] = browser.data(f"/metrics?period={period}&q=Now")["classes"]
    assert (row["failed"], row["failure_rate"], row["average"]) == (1, 0.5, 30.0)


def test_the_table_is_sorted_by_any_column_in_both_directions(browser: Browser, redis: Redis) -> None:
    now = time.time()
    count(redis, "B", now, 10, 5, 100, {3: 5})
    count(redis, "a", now, 30, 1, 50, {1: 29})
    count(redis, "C", now, 20, 20)
    assert columns(browser, "") == ["B", "a", "C"]
    assert columns(browser, "sort=-ran") == ["a", "C", "B"]
    assert columns(browser, "sort=ran") == ["B", "C", "a"]
    assert columns(browser, "sort=class") == ["B", "C", "a"]
    assert columns(browser, "sort=-rate") == ["C", "B", "a"]
    assert columns(browser, "sort=p95") == ["a", "B", "C"]
    assert columns(browser, "sort=-p95") == ["B", "a", "C"], "what has no value comes last"
    assert browser.get("/metrics?sort=evil").status_code == 400
    page = Page.of(browser.get("/metrics?sort=-ran").text)
    assert [each.get("aria-sort") for each in page.all("th") if "aria-sort" in each] == ["descending"]
    shares = [row["share"] for row in browser.data("/metrics")["classes"]]
    assert shares == [pytest.approx(100 / 150), pytest.approx(50 / 150), 0]


def test_many_classes_are_read_by_pages(browser: Browser, redis: Redis) -> None:
    key = KEYS.metrics(metric_keys.slot(time.time(), MINUTE))
    redis.hset(key, mapping={f"Class{i:03d}|p": i + 1 for i in range(120)})
    seen, offset = [], 0
    while offset is not None:
        page = browser.data(f"/metrics?offset={offset}&sort=ran")
        seen += [row["class"] for row in page["classes"]]
        offset = page["next"]
    assert seen == [f"Class{i:03d}" for i in range(120)]
    assert len(browser.get("/metrics").content) < 60_000


def test_a_period_is_compared_with_the_one_before(browser: Browser, redis: Redis) -> None:
    now = time.time()
    count(redis, "Job", now, 30, 3, 300)
    count(redis, "Job", now - 5_400, 20, 1, 100)
    count(redis, "New", now, 1)
    rows = {row["class"]: row for row in browser.data("/metrics?compare=1")["classes"]}
    assert (rows["Job"]["before"]["executed"], rows["New"]["before"]) == (20, None)
    assert "+50 %" in browser.get("/metrics?compare=1").text
    assert "before" not in browser.data("/metrics")["classes"][0]
    assert not browser.data("/metrics?period=90d&compare=1")["comparable"]


def test_the_table_is_exported_and_no_name_in_it_is_a_formula(browser: Browser, redis: Redis) -> None:
    now = time.time()
    names = ["=cmd()", "+1", "-1", "@x", "\tx", 'plain,"quoted"', "Plain"]
    for name in names:
        count(redis, name, now, 1, 0, 10, {1: 1})
    answered = browser.get("/metrics.csv?sort=class")
    assert answered.headers["content-type"].startswith("text/csv")
    assert answered.headers["content-disposition"] == 'attachment; filename="metrics-1h.csv"'
    rows = list(csv.DictReader(io.StringIO(answered.text)))
    assert sorted(row["class"] for row in rows) == sorted(name if name[0].isalpha() else f"'{name}" for name in names)
    assert {(row["executed"], row["average"], row["failure_rate"]) for row in rows} == {("1", "10.0", "0.0")}
    assert browser.get("/metrics.csv?period=2y").status_code == 400


@pytest.mark.parametrize("name", ["app.Job", "a b/ü?#%&", '"quoted"', "raw\udcff", "/", "<b>"])
def test_a_class_has_a_page_whatever_its_name_is(name: str, browser: Browser, redis: Redis) -> None:
    key = KEYS.metrics(metric_keys.slot(time.time(), MINUTE))
    raw = name.encode("utf-8", "surrogateescape")
    redis.hset(key, mapping={raw + b"|p": 7, raw + b"|f": 2})
    [href] = [
        str(each["href"]) for each in Page.of(browser.get("/metrics").text).all("a") if "/metrics/" in str(each["href"])
    ]
    page = browser.get(href)
    assert (page.status_code, "No job of this class ran" in page.text) == (200, False)
    told = browser.data(href)
    assert (told["now_figures"]["executed"], told["now_figures"]["failed"]) == (7, 2)


def test_a_class_is_shown_over_time_with_its_histogram_and_the_period_before(browser: Browser, redis: Redis) -> None:
    now = time.time()
    count(redis, "Job", now - 600, 10, 2, 800, {3: 8})
    count(redis, "Job", now - 1_200, 5, 0, 5_000, {9: 5})
    count(redis, "Job", now - 5_400, 3, 0, 90, {1: 3})
    told = browser.data("/metrics/Job")
    assert (told["now_figures"]["executed"], told["now_figures"]["failed"]) == (15, 2)
    assert (told["before"]["executed"], told["before"]["p50"] < 30) == (3, True)
    assert [(each["low"], each["count"]) for each in told["histogram"] if each["count"]] == [(45, 8), (500, 5)]
    assert (len(told["histogram"]), told["histogram"][-1]["high"]) == (26, None)
    moments = [each for each in told["series"] if each["executed"]]
    assert [(each["executed"], each["average"]) for each in moments] == [(5, 1_000.0), (10, 100.0)]
    assert 45 <= moments[1]["p50"] <= 65
    assert len(told["series"]) == 60
    day = browser.data("/metrics/Job?period=24h")
    assert (day["percentiles"], day["histogram"], day["now_figures"]["executed"]) == (False, None, 18)
    page = browser.get("/metrics/Job").text
    assert "/retries?q=class%3AJob" in page
    assert page.count("<figure") == 2
    assert "No job of this class ran in this period." in browser.get("/metrics/Other").text
    assert browser.get("/metrics/Job?period=1y").status_code == 400


def wait(redis: Redis, name: str, at: float, seconds: Iterable[float]) -> None:
    """Write how long jobs of a class had waited as a worker does."""
    counts = WaitCounts()
    counts.add(name, sorted(seconds))
    with redis.pipeline() as pipeline:
        counts.put(pipeline, KEYS, class_waits.GRIDS, at)
        pipeline.execute()


@pytest.mark.parametrize("period", list(SPANS))
def test_a_class_tells_how_long_its_jobs_had_waited(
    period: Period, browser: Browser, redis: Redis, client: Client
) -> None:
    now, span = time.time(), SPANS[period]
    first = span.now(now)[0].start
    wait(redis, "Job", now, [2.0] * 90 + [100.0] * 8)
    wait(redis, "Job", first, [9e5] * 2)
    wait(redis, "Job", first - span.length, [0.5] * 500)
    wait(redis, "Other", now, [0.5] * 500)
    told = browser.data(f"/metrics/Job?period={period}")["waits"]
    ranges = [
        (each["low"] < seconds * 1000 <= (each["high"] or math.inf), each["count"])
        for each, seconds in zip([each for each in told["histogram"] if each["count"]], (2.0, 100.0, 9e5), strict=True)
    ]
    assert (told["count"], ranges) == (100, [(True, 90), (True, 8), (True, 2)])
    assert abs(told["p50"] / 2_000 - 1) <= 0.25
    assert abs(told["p95"] / 100_000 - 1) <= 0.25
    assert told["p99"] == told["longest"] == pytest.approx(LONGEST * 1000)
    of_client = ClassWaits(client).of("Job", period)
    shown = [told[share] / 1000 for share in ("p50", "p95", "p99")]
    assert [of_client.p50, of_client.p95, of_client.p99] == pytest.approx(shown, rel=1e-3)
    page = browser.get(f"/metrics/Job?period={period}").text
    assert "more than 7 d" in page
    assert page.count("<rect") >= len(told["histogram"])
    assert len(page.encode()) < 60_000


def test_a_class_of_which_no_waits_are_known_says_so(browser: Browser, redis: Redis) -> None:
    count(redis, "Ruby", time.time(), 5)
    told = browser.data("/metrics/Ruby")["waits"]
    assert (told["count"], told["p95"], told["histogram"]) == (0, None, [])
    assert "Processes of jobd count it, those of Sidekiq do not." in browser.get("/metrics/Ruby").text


def test_damaged_waits_do_not_keep_a_page_from_being_shown(browser: Browser, redis: Redis) -> None:
    now = time.time()
    wait(redis, "Job", now, [1.0])
    [key] = redis.keys("jobd:class-waits:*:Job")
    redis.append(key, b"\xff")
    assert browser.data("/metrics/Job")["waits"]["count"] == 1
    redis.delete(key)
    redis.lpush(key, "a list")
    assert browser.data("/metrics/Job")["waits"]["count"] == 0


def test_the_table_tells_the_p95_of_waits_and_is_sorted_by_it(browser: Browser, redis: Redis) -> None:
    now = time.time()
    for name, seconds in (("Quick", 0.1), ("Slow", 500.0), ("Never", 9e5), ("Ruby", None)):
        count(redis, name, now, 5)
        if seconds is not None:
            wait(redis, name, now, [seconds] * 3)
    for period in ("1h", "4h", "8h"):
        assert columns(browser, f"period={period}&sort=-waited") == ["Never", "Slow", "Quick", "Ruby"]
        assert columns(browser, f"period={period}&sort=waited") == ["Quick", "Slow", "Never", "Ruby"]
        data = browser.data(f"/metrics?period={period}")
        rows = {row["class"]: row["wait_p95"] for row in data["classes"]}
        assert (rows["Ruby"], rows["Never"], "waited" in data["columns"]) == (None, data["longest"], True)
        for name, seconds in (("Quick", 0.1), ("Slow", 500.0)):
            assert abs(rows[name] / 1000 / seconds - 1) <= 0.25
    page = browser.get("/metrics").text
    assert "Wait p95" in page
    assert "more than 7 d 9 h" in page
    table = csv.DictReader(io.StringIO(browser.get("/metrics.csv").text))
    assert {row["class"]: row["wait_p95"] != "" for row in table}["Ruby"] is False
    assert "Wait p95" not in browser.get("/metrics?period=24h").text


def test_waits_of_the_table_are_read_once_in_a_while_and_share_a_round_trip(
    redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, now = Access(client), time.time()
    wait(redis, "Job", now, [1.0])
    question = together(
        shown_waits.ask_p95s(access, ["Job", "Other"], "1h", now - 3_600),
        shown_waits.ask_p95s(access, ["Job"], "4h", now - 3_600),
    )
    [[first, second]] = answer(access, question)
    assert first == {"Job": second["Job"], "Other": None}
    assert second["Job"] > 0
    wait(redis, "Job", now, [500.0] * 99)
    redis.config_resetstat()
    [[again]] = answer(access, together(shown_waits.ask_p95s(access, ["Job"], "1h", now - 3_600)))
    assert (again["Job"], "cmdstat_mget" in redis.info("commandstats")) == (first["Job"], False)
    monkeypatch.setattr(shown_waits, "LASTS", 0.0)
    monkeypatch.setattr(shown_waits, "MOST_KEPT", 1)
    [anew] = answer(access, shown_waits.ask_p95s(access, ["Job", "Other"], "1h", now - 3_600))
    assert anew["Job"] > 100_000


def test_few_ranges_are_drawn_among_others() -> None:
    for bucket in (0, 20, BUCKETS - 1):
        drawn = shown_waits.told([bucket == each for each in range(BUCKETS)])["histogram"]
        assert (len(drawn), sum(each["count"] for each in drawn)) == (shown_waits.FEWEST_RANGES, 1)


def test_the_figures_of_sidekiq_7_are_read_too(browser: Browser, redis: Redis) -> None:
    at = time.time() - 120
    redis.hset(KEYS.metrics(metric_keys.old_slot(at)), mapping={"Old|p": 4, "Old|f": 1, "Old|ms": 90})
    slot = KEYS.old_histogram(metric_keys.old_histogram_slots("Old", at)[0])
    redis.execute_command("BITFIELD", slot, "SET", "u16", "#1", 3)
    for period in ("1h", "8h"):
        [row] = browser.data(f"/metrics?period={period}")["classes"]
        assert (row["executed"], 20 <= row["p95"] <= 30) == (4, True)


def read(
    access: Access, kept: Figures, points: Iterable[Point], now: float, *, hurried: bool = False
) -> list[int | None]:
    """How often the class `Job` ran in each point."""
    [rows] = answer(access, kept.ask(KEYS, now, list(points), hurried=hurried))
    return [None if each is None else each.get("Job", (0,))[0] for each in rows]


def test_what_has_ended_is_read_once_and_what_has_not_each_time(redis: Redis, client: Client) -> None:
    access, kept, now = Access(client), Figures(), 1_700_000_000.0
    points = SPANS["7d"].now(now)
    for back in (0, 1, 30, 100):
        count(redis, "Job", now - back * 3_600, 1)
    first = read(access, kept, points, now)
    assert sum(first) == 4  # type: ignore[arg-type]
    for back in (0, 30, 100):
        count(redis, "Job", now - back * 3_600, 10)
    redis.config_resetstat()
    again = read(access, kept, points, now)
    assert sum(again) == 14  # type: ignore[arg-type]
    assert redis.info("commandstats")["cmdstat_hgetall"]["calls"] <= 2


class Forgotten(dict[bytes, tuple[str, int] | None]):
    """Names of which another thread forgets each just after somebody has looked whether it is there."""

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        self.clear()
        return found


def test_names_may_be_forgotten_while_they_are_looked_up(redis: Redis, client: Client) -> None:
    access, kept, now = Access(client), Figures(), 1_700_000_000.0
    points = SPANS["7d"].now(now)
    count(redis, "Job", now, 1)
    kept._names = Forgotten({b"Job|p": ("Job", 0)})
    assert sum(read(access, kept, points, now)) == 1  # type: ignore[arg-type]


def test_what_was_kept_for_long_is_read_anew_in_the_background(redis: Redis, client: Client) -> None:
    clock = [0.0]
    access, kept, now = Access(client), Figures(lambda: clock[0]), time.time()
    points = SPANS["24h"].now(now)
    count(redis, "Job", now - 50_000, 1)
    assert sum(read(access, kept, points, now)) == 1  # type: ignore[arg-type]
    count(redis, "Job", now - 50_000, 1)
    kept.read_on(access, points)
    assert sum(read(access, kept, points, now)) == 1  # type: ignore[arg-type]
    clock[0] = figures.KEEP + 1
    kept.read_on(access, points)
    wait_until(lambda: sum(read(access, kept, points, now)) == 2, "what came late is counted")  # type: ignore[arg-type]


def test_people_get_the_latest_of_very_much_at_once_and_the_rest_after_it(
    redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_FIELDS", 200)
    monkeypatch.setattr(figures, "STEP_FIELDS", 200)
    monkeypatch.setattr(figures, "AT_ONCE", 30)
    monkeypatch.setattr(figures, "STEP_PAUSE", 0.0)
    now = time.time()
    with redis.pipeline() as pipeline:
        for back in range(30 * 24):
            pipeline.hset(KEYS.metrics_hour(metric_keys.hour_slot(now - back * 3_600)), "Job|p", 1)
        pipeline.execute()
    access, kept, points = Access(client), Figures(), SPANS["30d"].now(now)
    told = read(access, kept, points, now, hurried=True)
    assert (told[0], told[-1]) == (None, time.gmtime(now).tm_hour + 1)
    browser = Browser(jobd.web.app(client, read_only=True))
    assert "points of the period are read" in browser.get("/metrics?period=30d").text
    whole = browser.data("/metrics?period=30d")
    assert whole["complete"], "programs get all at once"
    wait_until(
        lambda: "points of the period are read" not in browser.get("/metrics?period=30d").text, "the rest is read"
    )
    assert whole["classes"][0]["executed"] == 29 * 24 + time.gmtime(now).tm_hour + 1


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 10)
    kept = Kept(lambda: 0.0)
    for name in range(5):
        kept.put(name, "x", 4)
    assert [kept.get(name) for name in range(5)] == [None, None, None, "x", "x"]
    kept.put(4, "y", 9)
    kept.drop([4, 7])
    kept.put(5, "z", 10)
    assert [kept.get(name) for name in range(3, 6)] == [None, None, "z"]


def test_a_period_with_more_rows_than_are_kept_is_read_once_and_the_page_says_so(
    redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = {"MOST_ROWS": 20, "MOST_FIELDS": 20, "STEP_FIELDS": 20, "AT_ONCE": 3, "LATEST": 1, "STEP_PAUSE": 0.0}
    for name, value in bounds.items():
        monkeypatch.setattr(figures, name, value)
    clock, access, now = [0.0], Access(client), time.time()
    kept, points = Figures(lambda: clock[0]), SPANS["7d"].now(now)
    assert not kept.is_too_much(points)
    kept.read_on(access, points)
    wait_until(lambda: not kept._reading.locked(), "the reading ends")
    assert kept.is_too_much(points)
    assert not kept.is_too_much(SPANS["1h"].now(now))
    monkeypatch.setattr(kept, "_read_all", lambda *_: pytest.fail("it is read again"))
    kept.read_on(access, points)
    clock[0] = figures.KEEP + 1
    assert not kept.is_too_much(points)
    browser = Browser(jobd.web.app(client, read_only=True))
    said = "There are more classes than are kept for so long"
    wait_until(lambda: said in browser.get("/metrics?period=7d").text, "the page says so")
    assert said in browser.get("/metrics/Job?period=7d").text
    assert browser.data("/metrics?period=7d")["complete"]


def test_while_a_period_is_read_nothing_of_it_makes_room_for_more_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 10)
    clock = [0.0]
    kept = Kept(lambda: clock[0])
    kept.put("before", "x", 5)
    clock[0] = 1.0
    kept.begin()
    for name in range(4):
        kept.put(name, "x", 4)
    assert ([kept.get(name) for name in ("before", *range(4))], kept.overflowed) == ([None, "x", "x", None, None], True)
    kept.end()
    kept.put(5, "x", 4)
    assert [kept.get(name) for name in (0, 1, 5)] == [None, "x", "x"]


def test_periods_are_drawn_in_points_that_end_with_the_clock() -> None:
    now = 1_700_000_123.0
    for period, span in SPANS.items():
        points = span.now(now)
        assert len(points) == span.points <= 500
        assert points[-1].start <= now < points[-1].end
        assert all(point.start % span.length == 0 for point in points)
        assert [a.end for a in points[:-1]] == [b.start for b in points[1:]]
        earlier = span.earlier(now)
        assert earlier == [] if period == "90d" else earlier[-1].end == points[0].start
    assert Point(0.0, HOUR, 24).buckets(3_600 * 2)[-1].start == 7_200


def test_cells_of_a_spreadsheet_are_no_formulas() -> None:
    assert [metrics._cell(value) for value in ("=1", "a=1", -5, 0.5)] == ["'=1", "a=1", -5, 0.5]


def test_the_name_of_a_class_is_asked_for(browser: Browser) -> None:
    assert browser.get(f"/metrics/-?name={quote('x' * 1_001)}").status_code == 400
