"""The pages show what is in Redis, and their buttons do what they say."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.routing import Mount

import jobd.web
from jobd.client.access import Access
from jobd.client.cron_set import CronSet
from jobd.client.push import Client
from jobd.client.queues import Queue
from jobd.client.sets import DeadSet, RetrySet
from jobd.web import render, text, totals
from jobd.web.vietnamese import VIETNAMESE
from tests.client.api import fill_queue, fill_set, jids, payload, queued
from tests.web.browser import GET_PAGES, PROCESS, Browser, Page, fill

ROOT = Path(jobd.web.__file__).parent


def keys(browser: Browser, path: str) -> list[str]:
    """The keys of the jobs of a list."""
    return [job["key"] for job in browser.data(path)["jobs"]]


def test_the_dashboard_says_how_it_goes_as_the_interface_for_programs_does(
    browser: Browser, redis: Redis, client: Client
) -> None:
    fill(redis, client)
    page = Page.of(browser.get("/").text)
    told = browser.data("/totals")
    assert (told["processed"], told["failed"], told["dead"], told["busy"], told["processes"]) == (100, 7, 2, 1, 1)
    assert "Needs attention: 1 of 1 processes up, 1 of 5 threads busy, 5 jobs wait." in page.text
    assert "No process takes from queue qplain: 2 jobs wait." in page.text
    assert browser.get("/stats").json()["sidekiq"]["retries"] == told["retries"] == 2
    assert browser.get("/stats/queues").json()["default"] == 2


def test_nothing_runs_and_nothing_waits(browser: Browser) -> None:
    assert "No worker is running, and no job waits." in browser.get("/").text
    fields = (0.0, 0, 0, 0, 0, 0)
    assert totals.health(totals.Totals(*fields, (), (), 10_000))[0] == "No worker is running, and no job waits."


def test_a_queue_is_paused_by_its_user_and_resumed(browser: Browser, redis: Redis, client: Client) -> None:
    fill_queue(redis, 3)
    assert browser.post("/queues/default", {"action": "pause"}).headers["location"] == "/queues?did=pause&moved=1"
    assert Queue("default", client).paused
    assert "paused" in browser.get("/queues").text
    browser.post("/queues/default", {"action": "resume"})
    assert not Queue("default", client).paused


def test_a_queue_is_cleared_after_a_question_and_a_full_one_by_its_name(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 1_200)
    asked = browser.post("/queues/default", {"action": "clear"})
    assert "1,200 jobs" in asked.text
    for wrong in ({}, {"typed": "other"}):
        browser.post("/queues/default", {"action": "clear", "confirmed": "yes", **wrong})
        assert redis.llen("queue:default") == 1_200
    browser.post("/queues/default", {"action": "clear", "confirmed": "yes", "typed": "default"})
    assert redis.llen("queue:default") == 0


def test_a_queue_is_read_by_pages_from_the_end_that_is_taken_first(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 120)
    seen, offset = [], 0
    while offset is not None:
        page = browser.data(f"/queues/default?offset={offset}")
        seen += [job["jid"] for job in page["jobs"]]
        offset = page["next"]
    assert seen == [f"j{i}" for i in range(120)]


def test_a_queued_job_is_deleted_though_others_were_taken_meanwhile(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 60)
    key = browser.data("/queues/default?offset=40")["jobs"][5]["key"]
    for _ in range(10):
        redis.rpop("queue:default")
    form = {"action": "delete", "key": key, "confirmed": "yes"}
    assert "did=delete&moved=1" in browser.post("/queues/default", form).headers["location"]
    assert "j45" not in [job["jid"] for job in queued(redis)]
    again = browser.post("/queues/default", form)
    assert again.headers["location"].endswith("moved=0&gone=1")
    assert redis.llen("queue:default") == 49


@pytest.mark.parametrize("score", [None, 5.0], ids=["different times", "one time"])
@pytest.mark.parametrize("path", ["/scheduled", "/dead"])
def test_a_set_is_read_by_pages_each_entry_once(path: str, score: float | None, browser: Browser, redis: Redis) -> None:
    fill_set(redis, {"/scheduled": "schedule", "/dead": "dead"}[path], 120, score=score)
    seen, after = [], ""
    while True:
        page = browser.data(f"{path}?after={after}")
        seen += [job["jid"] for job in page["jobs"]]
        after = page["next"]
        if not after:
            break
    assert len(seen) == 120
    assert set(seen) == {f"j{i}" for i in range(120)}
    if score is None:
        assert seen[0] == ("j119" if path == "/dead" else "j0")


def test_a_search_goes_on_where_it_stopped_until_all_is_found(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, "retry", 5_000)
    redis.zadd("retry", {payload(f"n{i}", args=["needle"]): 100.0 + i for i in range(7)})
    monkeypatch.setattr("jobd.web.search.SEARCH_SECONDS", 0.0)
    found, cursor, seen, steps = set(), "0", 0, 0
    while steps == 0 or cursor != "0":
        page = browser.data(f"/retries?q=needle&cursor={cursor}&seen={seen}")
        found |= {job["jid"] for job in page["jobs"]}
        cursor, seen, steps = page["cursor"], page["seen"], steps + 1
    assert steps > 3
    assert found == {f"n{i}" for i in range(7)}
    assert "Continue the search" in browser.get("/retries?q=needle").text


@pytest.mark.parametrize("score", [None, 2_500.0], ids=["different times", "one time"])
@pytest.mark.parametrize(("path", "key"), [("/scheduled", "schedule"), ("/dead", "dead")])
def test_a_search_by_time_looks_at_that_part_alone_each_entry_once(
    path: str, key: str, score: float | None, browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, key, 5_000)
    redis.zadd(key, {payload(f"n{i}"): 2_450.0 + i if score is None else score for i in range(130)})
    monkeypatch.setattr("jobd.web.search.SEARCH_SECONDS", 0.0)
    found, cursor, seen = [], "0", 0
    while not found or cursor != "0":
        page = browser.data(f"{path}?q=since:1970-01-01T00:40:50+until:1970-01-01T00:43&cursor={cursor}&seen={seen}")
        found += [job["jid"] for job in page["jobs"]]
        cursor, seen = page["cursor"], page["seen"]
    # Seconds 2450 to 2580, of which the list has one job each besides.
    assert sorted(found) == sorted([*(f"j{i}" for i in range(2_449, 2_580)), *(f"n{i}" for i in range(130))])
    assert (seen, page["size"]) == (261, 261)
    assert browser.get(f"{path}?q=since:1970-01-01T00:40:50&cursor=x~1").status_code == 400


def test_ticked_jobs_are_retried_and_one_that_was_changed_meanwhile_is_not(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 4, retry_count=1)
    ticked = keys(browser, "/retries")[:3]
    [(raw, score)] = redis.zrange("retry", 1, 1, withscores=True)
    redis.zrem("retry", raw)
    redis.zadd("retry", {raw.replace(b"[1]", b"[2]"): score})
    done = browser.post("/retries", [("action", "retry"), *(("key", key) for key in ticked)])
    assert done.headers["location"] == "/retries?did=retry&moved=2&gone=1"
    assert [job["jid"] for job in queued(redis)] == ["j0", "j2"]
    assert {job["retry_count"] for job in queued(redis)} == {0}
    assert "Put into their queues: 2. Gone by then: 1." in browser.get(done.headers["location"]).text


def test_deleting_ticked_jobs_asks_first(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "dead", 2)
    form = [("action", "delete"), ("key", keys(browser, "/dead")[0])]
    asked = browser.post("/dead", form)
    assert asked.status_code == 200
    assert "For an hour they can be put back" in asked.text
    assert redis.zcard("dead") == 2
    browser.post("/dead", [*form, ("confirmed", "yes")])
    assert redis.zcard("dead") == 1


def test_all_that_match_are_moved_and_none_that_came_after_the_question(browser: Browser, redis: Redis) -> None:
    now = time.time()
    for i in range(400):
        redis.zadd("retry", {payload(f"m{i}", args=["match"], failed_at=now - 100): now + i})
    redis.zadd("retry", {payload("other", failed_at=now - 100): now})
    asked = browser.act("/retries", action="retry", all="yes", q="match")
    assert (asked.status_code, asked.json()["count"]) == (409, 400)
    redis.zadd("retry", {payload("late", args=["match"], failed_at=now + 50): now})
    fields = dict(asked.json()["fields"])
    done = browser.act("/retries", **fields, confirmed="yes")
    assert done.json() == {"action": "retry", "moved": 400}
    assert set(jids(RetrySet(Client(browser_url(redis))))) == {"other", "late"}


def browser_url(redis: Redis) -> str:
    """The address of a client's server."""
    known: dict[str, Any] = redis.connection_pool.connection_kwargs
    return f"unix://{known['path']}" if "path" in known else f"redis://{known['host']}:{known['port']}/0"


def test_killing_says_what_the_limit_of_the_dead_set_drops(browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client)
    info = b'{"concurrency": 1, "dead_max_jobs": 3, "dead_timeout": 15552000}'
    redis.hset(PROCESS, "info", info)
    redis.delete("dead", "retry")
    fill_set(redis, "retry", 5)
    redis.zadd("dead", {payload("old"): time.time()})
    asked = browser.post("/retries", {"action": "kill", "all": "yes"})
    assert "The dead set keeps 3: 3 of the oldest will be dropped." in asked.text
    done = browser.post("/retries", {"action": "kill", "all": "yes", "confirmed": "yes"})
    assert "moved=5&dropped=3" in done.headers["location"]
    assert len(DeadSet(client)) == 3


def test_a_scheduled_job_is_put_into_its_queue(browser: Browser, redis: Redis) -> None:
    redis.zadd("schedule", {payload("s1", queue="later"): time.time() + 100})
    assert browser.act("/scheduled", action="enqueue", key=keys(browser, "/scheduled")).json()["moved"] == 1
    assert [job["jid"] for job in queued(redis, "later")] == ["s1"]


@pytest.mark.parametrize("jid", ["qplain", "rplain", "splain", "dplain", "bplain"])
def test_a_job_is_found_by_its_id_wherever_it_is(jid: str, browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client)
    found = browser.data(f"/jobs/{jid}")
    assert (found["job"]["jid"], found["job"]["class"]) == (jid, "Hardplain")
    places = {"q": "queue", "r": "retries", "s": "scheduled", "d": "dead", "b": "busy"}
    assert found["place"] == places[jid[0]]
    assert f"1{'0' * 30}" in browser.get(f"/jobs/{jid}").text
    assert browser.get("/jobs/gone").status_code == 404


def test_what_is_no_job_is_shown_and_can_be_deleted(browser: Browser, redis: Redis, client: Client) -> None:
    redis.zadd("dead", {b'\xff{broken "password": "hunter2"': 5.0, b'\xff{broken "password": "hunter3"': 5.0})
    for entry in browser.data("/dead")["jobs"]:
        assert entry["problem"]
        page = browser.get(f"/jobs/-?in=dead&key={entry['key']}").text
        assert "Damaged entry" in page
        assert "hunter" not in page
    key = keys(browser, "/dead")[0]
    assert browser.act("/dead", action="retry", key=[key]).json() == {"action": "retry", "moved": 0, "malformed": 1}
    first = redis.zrange("dead", 1, 1)
    browser.act("/dead", action="delete", key=[key])
    assert redis.zrange("dead", 0, -1) != first
    assert redis.zcard("dead") == 1


def test_an_entry_whose_time_is_endless_is_shown_and_can_be_deleted(browser: Browser, redis: Redis) -> None:
    redis.zadd("dead", {payload("late"): float("inf"), payload("early"): float("-inf")})
    assert "Infinity" not in browser.get("/api/v1/dead").text
    found = browser.data("/dead")["jobs"]
    assert [job["jid"] for job in found] == ["late", "early"]
    assert {browser.get(f"/jobs/x?in=dead&key={job['key']}").status_code for job in found} == {200}
    done = browser.act("/dead", action="delete", key=[job["key"] for job in found])
    assert done.json()["moved"] == 2


def test_keys_of_a_wrong_type_break_no_page(browser: Browser, redis: Redis) -> None:
    for key in ("retry", "schedule", "dead", "queues", "processes", "cron_jobs", "paused", "queue:default"):
        redis.set(key, "x")
    pages = [path for path in GET_PAGES if path != "/queues/default" and not path.startswith("/busy/")]
    assert {path: browser.get(path).status_code for path in pages} == dict.fromkeys(pages, 200)


def test_running_jobs_and_their_process_are_shown_and_it_is_quieted(
    browser: Browser, redis: Redis, client: Client
) -> None:
    fill(redis, client)
    page = Page.of(browser.get("/busy").text)
    assert "1 processes, 1 of 5 threads busy" in page.text
    assert browser.data("/busy")["running"][0]["jid"] == "bplain"
    for action, sent in (("quiet", b"TSTP"), ("stop", b"TERM"), ("dump", b"TTIN")):
        browser.post("/busy", {"action": action, "identity": PROCESS})
        assert redis.lpop(f"{PROCESS}-signals") == sent
    gone = browser.post("/busy", {"action": "quiet", "identity": "nobody"})
    assert gone.headers["location"].endswith("gone=1")


def test_a_cron_entry_is_disabled_enabled_and_run(browser: Browser, redis: Redis, client: Client) -> None:
    entries = CronSet(client)
    entries.create("tick", "*/5 * * * *", "HardJob", queue="cron")
    [entry] = browser.data("/cron")["entries"]
    assert entry["enabled"]
    assert len(entry["next"]) == 3
    assert entry["next"][1] - entry["next"][0] == 300
    browser.post("/cron", {"action": "disable", "name": "tick"})
    assert browser.data("/cron")["entries"][0]["next"] == []
    browser.post("/cron", {"action": "enable", "name": "tick"})
    assert browser.post("/cron", {"action": "run", "name": "tick"}).status_code == 303
    [job] = queued(redis, "cron")
    assert browser.data("/cron")["entries"][0]["runs"][0]["jid"] == job["jid"]
    assert browser.post("/cron", {"action": "run", "name": "none"}).status_code == 404


def test_the_figures_of_classes_are_shown_with_percentiles(browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client)
    minute = time.gmtime(time.time() - 60)
    slot = f"h|Hardplain-{minute.tm_mday}-{minute.tm_hour}:{minute.tm_min}"
    redis.execute_command("BITFIELD", slot, "SET", "u16", "#3", "8")
    [row] = browser.data("/metrics")["classes"]
    assert (row["class"], row["executed"], row["failed"], row["average"]) == ("Hardplain", 10, 2, 100.0)
    low, high = 20.0, 102.0
    assert low <= row["p50"] <= row["p95"] <= row["p99"] <= high
    assert browser.data("/metrics?q=nothing")["classes"] == []
    assert browser.get("/metrics?period=2y").status_code == 400


@pytest.mark.parametrize(
    "path",
    [*GET_PAGES, "/cron/plain", "/jobs/j5", "/jobs/j9", "/api/v1/overview", "/api/v1/busy", "/stats"],
)
def test_a_page_costs_two_round_trips_whatever_is_in_redis(
    path: str, redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(redis, client)
    fill_set(redis, "retry", 300)
    fill_queue(redis, 300)
    lists = {"/jobs/j5": ("retries", ""), "/jobs/j9": ("queue", "&name=default")}
    if path in lists:
        place, rest = lists[path]
        listed = {"retries": "/retries", "queue": "/queues/default"}[place]
        path += f"?in={place}{rest}&key={keys(Browser(jobd.web.app(client, read_only=True)), listed)[5]}"
    # What it reads in the background is no part of the page.
    monkeypatch.setattr("jobd.web.figures.Figures.read_on", lambda *given: None)
    trips = []
    read = Access.read
    monkeypatch.setattr(Access, "read", lambda self, ask: (trips.append(ask), read(self, ask))[1])
    redis.config_resetstat()
    assert Browser(jobd.web.app(client, read_only=True)).get(path).status_code == 200
    assert 1 <= len(trips) <= 2
    used = {name.removeprefix("cmdstat_") for name in redis.info("commandstats")}
    reads = {"mget", "zcard", "smembers", "llen", "lindex", "lrange", "zrange", "hmget", "hget", "hgetall", "sismember"}
    reads |= {"get", "hlen", "zcount"} | ({"slowlog|get", "config|get"} if path == "/redis" else set())
    besides = {"config|resetstat", "info", "ping", "select", "hello", "client|setinfo", "client|setname"}
    assert used - besides <= reads | {"xrevrange"}


def test_mounted_below_a_path_every_link_and_form_leads_to_a_page_of_it(redis: Redis, client: Client) -> None:
    fill(redis, client)
    site = Starlette(routes=[Mount("/a/b", jobd.web.app(client, read_only=False))])
    browser, seen, todo, alike = Browser(site), set[str](), ["/a/b/"], Counter[object]()
    while todo:
        path = todo.pop()
        seen.add(path)
        # Of addresses that differ in values alone a few are followed: each choice of columns and order has one.
        place = urlsplit(path)
        alike[kind := (place.path, *sorted(parse_qs(place.query)))] += 1
        if alike[kind] > 3:
            continue
        answer = browser.get(path)
        assert answer.status_code in (200, 303), (path, answer.text)
        page = Page.of(answer.text)
        links = [each["href"] for each in page.all("a")] + [each["href"] for each in page.all("link")]
        links += [each["src"] for each in page.all("script")] + [each["action"] for each in page.all("form")]
        for link in (str(each) if str(each)[0] == "#" else urljoin(path, str(each)) for each in links):
            if not link.startswith(("#", "data:")):
                assert link.startswith("/a/b/"), link
                if link not in seen and link not in todo:
                    todo.append(link)
    assert len(seen) > 25
    assert browser.post("/a/b/queues/default", {"action": "pause"}).headers["location"].startswith("/a/b/queues?")


def test_the_language_is_that_of_the_browser_or_the_one_chosen(browser: Browser) -> None:
    assert "Hàng đợi" in browser.get("/", **{"accept-language": "vi-VN,en;q=0.5"}).text
    assert "Queues" in browser.get("/", **{"accept-language": "fr, xx;q=abc"}).text
    chosen = browser.get("/language?to=vi").headers["set-cookie"].split(";")[0]
    assert 'lang="vi"' in browser.get("/", cookie=chosen).text
    assert text.choose(None, "en;q=0.1, vi;q=0.9") == "vi"


def test_every_sentence_of_the_pages_is_in_the_catalogue_with_the_same_values() -> None:
    said = {found[1] for path in (ROOT / "templates").glob("*.html") for found in SAID.finditer(path.read_text())}
    said |= {name for _, name, _, _ in render.PAGES} | set(render.MESSAGES.values()) | set(render.COUNTS.values())
    rules = "".join((ROOT / name).read_text() for name in ("totals.py", "trends.py", "server.py"))
    said |= set(re.findall(r'(?<!")"((?:No|Queue|Process|The dead|Needs|Healthy|Cron|Jobs|Redis|Of)[^"]+[.])"', rules))
    assert len(said) > 100
    assert sorted(said - set(VIETNAMESE)) == []
    values = re.compile(r"\{\w+\}")
    assert [k for k, v in VIETNAMESE.items() if sorted(values.findall(k)) != sorted(values.findall(v))] == []


SAID = re.compile(r"""_\(["']([^"']+)["']""")


def test_every_control_has_a_name(browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client)
    for path in GET_PAGES:
        page = Page.of(browser.get(path).text)
        labelled = {each.get("for") for each in page.all("label")}
        for each in page.all("input") + page.all("select"):
            assert each.get("type") == "hidden" or each.get("aria-label") or each.get("id") in labelled, (path, each)
        assert len(page.all("h1")) == len(page.all("main")) == 1
        assert page.all("html")[0]["lang"] == "en"


def test_many_queues_and_many_matches_make_no_large_page(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", *(f"q{i}" for i in range(250)))
    names, offset = set(), 0
    while offset is not None:
        page = browser.data(f"/queues?offset={offset}")
        assert len(page["queues"]) <= 100
        names |= {queue["name"] for queue in page["queues"]}
        offset = page["next"]
    assert len(names) == 250
    fill_set(redis, "retry", 5_000)
    assert 50 <= len(browser.data("/retries?q=HardJob")["jobs"]) < 200


def test_a_page_of_fifty_rows_is_small(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 60, error_class="ZeroDivisionError", error_message="division by zero")
    assert len(browser.get("/retries").content) < 60_000


def test_a_job_without_a_class_is_found_by_its_id(browser: Browser, redis: Redis) -> None:
    redis.zadd("retry", {b'{"jid": "damaged", "retry_count": "x"}': 1.0})
    assert browser.data("/jobs/damaged")["class_now"] is None


def test_the_page_of_a_change_of_many_is_kept_up_to_date_as_others(browser: Browser, redis: Redis) -> None:
    redis.hset("jobd:bulk:0123456789abcdef", mapping={"action": "delete", "place": "retries", "state": "done"})
    assert "Done." in browser.get("/live?page=/bulk/0123456789abcdef&once=1").json()["html"]
