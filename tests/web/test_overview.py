"""The first page: the last hours as they were recorded, what needs attention, what stands in for missing figures."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from jobd.client.cron_push import CronRun
from jobd.client.cron_set import CronSet
from jobd.client.history import RINGS, Sample, Step, pack
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.web.auth import User
from jobd.web.context import Context, Shared, View
from jobd.web.masking import Masker
from jobd.web.recent import Slow, edges, failing
from jobd.web.render import digest, part
from jobd.web.server import Server
from jobd.web.totals import summed
from jobd.web.trends import trends
from tests.client.api import fill_queue
from tests.web.browser import Browser, Page
from tests.web.test_busy import process

NOW = 1_800_000_000.0


def record(redis: Redis, step: Step, count: int, **rates: float) -> None:
    """Samples up to now, in which each figure has grown by so much a second."""
    ring, now = RINGS[step], time.time()
    keys = {"10s": "jobd:history:10s", "5m": "jobd:history:5m"}
    with redis.pipeline() as pipeline:
        for nth in range(count):
            at = now - ring.step * nth
            figures = {name: 1e6 + rate * (at - now) for name, rate in rates.items()}
            pipeline.setrange(keys[step], ring.offset(at), pack(Sample(at, **figures)))
        pipeline.execute()


def series(data: Any, chart: str, nth: int = 0) -> list[Any]:
    found: list[Any] = data["charts"][chart]["series"][nth]["values"]
    return found


@pytest.mark.parametrize(("name", "step", "points"), [("5m", "10s", 30), ("1h", "10s", 60), ("6h", "5m", 72)])
@pytest.mark.parametrize("rate", [3.0])
def test_a_range_is_drawn_of_what_was_recorded(
    name: str, step: Step, points: int, rate: float, browser: Browser, redis: Redis
) -> None:
    record(redis, step, RINGS[step].slots, processed=rate, failed=rate / 10, enqueued=-1.0)
    data = browser.data(f"/overview?range={name}")
    assert data["source"] == "samples"
    assert len(data["charts"]["done"]["x"]) == points
    whole = [value for value in series(data, "done")[1:-1] if value is not None]
    assert len(whole) == points - 2
    assert {round(value / data["width"]) for value in whole} == {3}
    waiting = [value for value in series(data, "enqueued") if value is not None]
    assert waiting == sorted(waiting, reverse=True)


@pytest.mark.parametrize(("name", "points"), [("24h", 96), ("3d", 72)])
def test_three_days_have_few_points(name: str, points: int, browser: Browser, redis: Redis) -> None:
    record(redis, "5m", RINGS["5m"].slots, processed=1.0)
    data = browser.data(f"/overview?range={name}")
    assert len(series(data, "done")) == points
    assert len(browser.get(f"/?range={name}").content) < 60_000


def test_an_hour_without_a_process_of_jobd_is_drawn_of_the_figures_of_classes(browser: Browser, redis: Redis) -> None:
    for back in range(5):
        minute = time.gmtime(time.time() - 60 * back)
        slot = f"j|{time.strftime('%y%m%d', minute)}|{minute.tm_hour}:{minute.tm_min:02d}"
        redis.hset(slot, mapping={"A|p": 7, "A|f": 2, "B|p": 1, "A|ms": 5})
    data = browser.data("/overview")
    assert data["source"] == "counters"
    assert [value for value in series(data, "done") if value] == [8] * 5
    assert sum(series(data, "done", 1)) == 10
    assert list(data["charts"]) == ["done"]
    assert "How much waited is recorded only while a process of jobd runs." in browser.get("/").text


def test_hours_that_ended_are_read_once(browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.web.figures.Figures.read_on", lambda *given: None)
    now = time.time()
    for back in range(3 * 24 * 6):
        ten = time.gmtime(now - 600 * back)
        redis.hset(f"j|{time.strftime('%y%m%d', ten)}|{ten.tm_hour}:{ten.tm_min // 10}", mapping={"A|p": 7, "A|f": 1})

    def read() -> int:
        return int(redis.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"])

    browser.get("/?days=7")  # the deploys of 90 days
    before = read()
    browser.get("/?range=3d")
    assert 50 <= read() - before < 80
    assert len(series(browser.data("/overview?range=3d"), "done")) == 72
    before, data = read(), browser.data("/overview?range=3d")
    assert set(series(data, "done")[1:-1]) == {42}
    assert read() - before < 30
    assert browser.get("/?range=3d").status_code == 200
    assert read() - before < 60


def test_what_waited_is_drawn_as_far_as_it_was_recorded(browser: Browser, redis: Redis) -> None:
    minute = time.gmtime(time.time())
    redis.hset(f"j|{time.strftime('%y%m%d', minute)}|{minute.tm_hour}:{minute.tm_min:02d}", "A|p", 7)
    record(redis, "10s", 12, processed=1.0, enqueued=-1.0)
    data = browser.data("/overview")
    assert (data["source"], sorted(data["charts"])) == ("counters", ["done", "enqueued", "latency"])
    assert 2 <= len([value for value in series(data, "enqueued") if value is not None]) <= 3
    values = data["courses"][3]["values"]
    assert len(values) <= 3
    assert None not in values


def test_without_any_figures_the_page_stands(browser: Browser) -> None:
    assert browser.data("/overview?range=3d")["rates"] is None
    assert browser.get("/?range=5m").status_code == 200
    assert browser.get("/?range=2y").status_code == browser.get("/?days=5").status_code == 400


def test_days_are_drawn_of_their_totals(browser: Browser, redis: Redis) -> None:
    redis.mset({f"stat:processed:{time.strftime('%Y-%m-%d', time.gmtime())}": 12})
    data = browser.data("/overview?days=7")
    assert (data["source"], data["days"], series(data, "done")) == ("days", 7, [0] * 6 + [12])
    assert data["history"][-1]["processed"] == 12


def test_the_totals_show_how_they_have_changed(browser: Browser, redis: Redis) -> None:
    record(redis, "10s", 100, processed=5.0, failed=0.5, dead=1.0)
    redis.mset({"stat:processed": 1_000_010, "stat:failed": 1_000_000})
    data = browser.data("/overview")
    by_name = {each["figure"]: each for each in data["courses"]}
    assert by_name["processed"]["change"] == 10 + 5 * 990
    assert 4.5 < data["rates"]["processed"] <= 5.0
    page = Page.of(browser.get("/").text)
    assert "failures/s." in page.text
    assert len([each for each in page.all("svg") if each.get("class") == "spark"]) == 7


def test_the_fullest_queues_and_the_classes_that_fail_most_are_named(browser: Browser, redis: Redis) -> None:
    process(redis, "a:1:x")
    fill_queue(redis, 4)
    redis.sadd("queues", "other")
    redis.lpush("queue:other", "{}", "{}")
    ten = time.gmtime()
    slot = f"j|{time.strftime('%y%m%d', ten)}|{ten.tm_hour}:{ten.tm_min // 10}"
    redis.hset(slot, mapping={f"C{n}|f": n for n in range(7)} | {'Evil"C|f': 7, 'Evil"C|p': 9})
    data = browser.data("/overview")
    queues = [(each["name"], each["size"], each["share"], each["served"]) for each in data["queues"]]
    assert queues == [("default", 4, 1.0, True), ("other", 2, 0.5, False)]
    assert [each["class"] for each in data["failing"]] == ['Evil"C', "C6", "C5", "C4", "C3"]
    links = [str(each["href"]) for each in Page.of(browser.get("/").text).all("a")]
    assert "/retries?q=class%3AC6" in links
    assert "/metrics/C6" in links
    evil = [link for link in links if "Evil" in link]
    assert [browser.get(link).status_code for link in evil] == [200, 200]
    assert "nobody takes from it" in browser.get("/").text


def test_what_needs_attention_leads_to_the_one_thing_that_is_meant(
    browser: Browser, redis: Redis, client: Client
) -> None:
    process(redis, "a:1:x")
    fill_queue(redis, 4)
    redis.sadd("paused", "default")
    CronSet(client).create("late", "* * * * *", "HardJob")
    redis.hset("cron_job:late", "last_enqueue_time", "2020-01-01 00:00:00 UTC")
    page = Page.of(browser.get("/").text)
    links = [str(each["href"]) for each in page.all("a")]
    assert links.count("/queues/default") >= 2  # the first of all, and in the list
    assert "First of all: Queue default is paused with 4 jobs." in " ".join(page.text.split())
    assert Context.about_url(_context(client), {"page": "/cron", "values": {"name": "a/b"}}) == "/cron/-?name=a%2Fb"
    assert Context.about_url(_context(client), {"page": "/cron", "values": {"count": 2}}) == "/cron"
    assert Context.about_url(_context(client), {"page": "/busy", "values": {"process": "a:1:x"}}) == "/busy/a:1:x"


def _context(client: Client) -> Context:
    return Context(Shared(client, Masker()), User("ann"), frozenset(), "", {}, {})


def test_without_a_process_the_page_says_how_much_waits_and_how_to_start_one(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 4)
    page = Page.of(browser.get("/").text)
    assert "No worker is running: 4 jobs wait." in page.text
    assert "jobd -C config.yml" in page.text
    [card] = [each for each in page.all("p") if "health" in str(each.get("class"))]
    assert "down" in str(card["class"])


def test_a_cron_entry_that_nobody_has_run_is_late(redis: Redis, client: Client, browser: Browser) -> None:
    entries = CronSet(client)
    for name in ("late", "off", "fresh"):
        entries.create(name, "* * * * *", "HardJob", status="disabled" if name == "off" else "enabled")
    for name in ("late", "off"):
        redis.hset(f"cron_job:{name}", mapping={"since": time.time() - 600, "caught_up": "", "last_enqueue_time": ""})
    found = [each for each in browser.data("/overview")["attention"] if each["page"] == "/cron"]
    assert [each["values"] for each in found] == [{"name": "late"}]


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (["dead"], True),
        (["failed", "ok"], True),
        (["ok", "dead"], False),
        ([None, "retry", "dead"], True),
        ([None] * 5 + ["dead"], False),
        ([None], False),
    ],
)
def test_a_cron_entry_whose_last_job_failed_for_good_needs_attention(
    ends: list[Any], told: bool, redis: Redis, client: Client, browser: Browser
) -> None:
    entries, now = CronSet(client), time.time()
    for name in ("a", "off"):
        entries.create(name, "@yearly", "HardJob", status="disabled" if name == "off" else "enabled")
        for end in reversed(ends):
            redis.lpush(Keys().cron_runs(name), CronRun(now, now, "j", outcome=end).as_json())
    text = "Cron entry {name}: its last run that has ended failed for good."
    found = [(each["text"], each["values"]) for each in browser.data("/overview")["attention"]]
    assert found == [(text, {"name": "a"})] * told


@pytest.mark.parametrize("at", ["1e308", "99999999999999999999", "-62135596801"])
@pytest.mark.parametrize("field", ["since", "caught_up", "last_enqueue_time", "run"])
def test_a_damaged_time_of_a_cron_entry_is_passed_over(
    field: str, at: str, redis: Redis, client: Client, browser: Browser
) -> None:
    CronSet(client).create("late", "* * * * *", "HardJob")
    known = {"since": time.time() - 600, "caught_up": "", "last_enqueue_time": ""}
    redis.hset("cron_job:late", mapping=known if field == "run" else {**known, "caught_up": known["since"], field: at})
    if field == "run":
        redis.lpush(Keys().cron_runs("late"), f'{{"tick":{at},"at":{at},"jid":"a"}}')
    assert browser.get("/").status_code == 200
    assert [each["values"] for each in browser.data("/overview")["attention"]] == [{"name": "late"}]


@pytest.mark.parametrize("value", [1e308, -1e308, -1.0, 1e16])
def test_damaged_samples_are_passed_over(value: float, redis: Redis, browser: Browser) -> None:
    now, ring = time.time(), RINGS["10s"]
    for back, damaged in ((30, True), (20, False), (10, False)):
        sample = Sample(now - back, *([value] * 11 if damaged else [5.0] * 11))
        redis.setrange("jobd:history:10s", ring.offset(sample.at), pack(sample))
    assert browser.get("/").status_code == 200
    assert len(ring.read(redis.get("jobd:history:10s"), now)) == 2


def test_the_memory_of_redis_is_pointed_out_once_and_as_a_share(
    redis: Redis, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(redis, "10s", 5, memory=0.0, memory_limit=0.0)
    monkeypatch.setattr(Server, "of", lambda info: Server(used=95, limit=100))
    for page in ("/", "/redis"):
        text = Page.of(browser.get(page).text).text
        assert text.count("of its memory: when it is full") == text.count("Redis uses 95.0% of its memory: ") == 1
    assert browser.get("/").text.count("Redis uses ") == 1


def test_seconds_that_pass_do_not_change_the_first_page(redis: Redis, browser: Browser) -> None:
    record(redis, "10s", 2, processed=1.0)
    data = browser.data("/overview")
    moments = [data["courses"][0]["since"] + 62 + seconds for seconds in (0, 8)]
    with_moments = [{**data, "charts": {"done": data["charts"]["done"]}, "now": at} for at in moments]
    ctx = Context(Shared(None, Masker()), User("ann"), frozenset(), "", {}, {})
    first, second = (part(View("overview.html", each, "Dashboard"), ctx) for each in with_moments)
    assert digest(first) == digest(second)
    assert "in 1 min" in first


def test_the_menu_tells_what_the_first_page_found(
    redis: Redis, client: Client, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_marked() -> bool:
        [dot] = [each for _, each in Page.of(browser.get("/retries").text).elements if "data-dot" in each]
        return "hidden" not in dot

    CronSet(client).create("late", "* * * * *", "HardJob")
    redis.hset("cron_job:late", mapping={"since": time.time() - 600, "caught_up": "", "last_enqueue_time": ""})
    assert not is_marked()
    monkeypatch.setattr("jobd.web.context.TRENDS_LAST", 1e6)
    browser.get("/")
    assert is_marked()
    monkeypatch.setattr("jobd.web.context.TRENDS_LAST", 0.0)
    assert not is_marked()


def steady(failed: int, recent: int) -> list[Sample]:
    """An hour in which 10 jobs a second ended, of which so many failed each 10 s, and so many in the last 5 minutes."""
    found, failures = [], 0
    for nth in range(361):
        failures += recent if nth > 330 else failed
        found.append(Sample(NOW - 3600 + 10 * nth, processed=100.0 * nth, failed=failures))
    return found


@pytest.mark.parametrize(
    ("failed", "recent", "told"),
    [(1, 20, True), (0, 20, True), (10, 20, False), (1, 2, False), (0, 0, False), (20, 20, False)],
)
def test_failures_that_rise_need_attention(failed: int, recent: int, told: bool) -> None:
    found = trends(steady(failed, recent), Slow(), NOW)
    assert [each.page for each in found] == ["/retries"] * told
    assert trends(steady(failed, recent), Slow(), NOW + 120) == []


def test_a_dead_set_that_grows_needs_attention() -> None:
    samples = [Sample(NOW - 600, dead=5.0), Sample(NOW, dead=205.0)]
    assert [each.values for each in trends(samples, Slow(), NOW)] == [{"count": 200, "seconds": 600.0}]
    assert trends([], Slow(late=(("a", NOW),) * 7), NOW)[-1].values == {"count": 2}


def test_things_of_one_kind_are_summed_up() -> None:
    text = "Queue {queue} holds {count} jobs, its limit is {limit}."
    found = summed([("/queues", text, str(n)) for n in range(9)], lambda name: {"queue": name})
    assert [each.values.get("count") for each in found] == [None] * 5 + [4]


def test_points_end_now_and_begin_at_whole_widths() -> None:
    between = edges(300.0, 60.0, NOW + 7)
    assert between == [NOW - 240 + 60 * nth for nth in range(5)] + [NOW + 7]


def test_only_classes_that_fail_are_named() -> None:
    assert failing([{b"A|p": b"5"}, None, {b"B|f": b"x"}]) == ()
