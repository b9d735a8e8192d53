"""The page of one job, and lists and jobs that are damaged or too large to be shown whole."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from redis import Redis

import jobd
import jobd.web
from jobd.client.entry import JobEntry
from jobd.client.errors import ConfigError
from jobd.client.payload import encode_backtrace
from jobd.client.push import Client
from jobd.web import documents, preview, story
from jobd.web.masking import HIDDEN, Masker
from jobd.web.threads import Threads
from tests.client.api import fill_queue, fill_set, payload
from tests.web.browser import GET_PAGES, Browser, Page

NOW = 1_795_305_670.0


@jobd.job(name="story.patient", retry_in=lambda count, error, job: 3600)
def patient() -> None: ...


@jobd.job(name="story.plain", discard_on=[KeyError])
def plain() -> None: ...


def address(browser: Browser, path: str, place: int = 0) -> str:
    """The page of a job of a list."""
    links = [str(each["href"]) for each in Page.of(browser.get(path).text).all("a") if each.get("class") == "jid"]
    return links[place]


def test_a_job_that_failed_tells_what_became_of_it_and_what_comes_next(browser: Browser, redis: Redis) -> None:
    now = time.time()
    lines = ["app/jobs.py:7:in send", "/x/site-packages/smtp.py:9:in deliver", "app/jobs.py:3:in perform"]
    fields = {
        "class": "app.jobs.Send",
        "args": [10**30, {"password": "hunter2"}, "a"],
        "kwargs": {"locale": "vi"},
        "created_at": now - 7200,
        "enqueued_at": now - 3700,
        "failed_at": now - 3600,
        "retried_at": now - 60,
        "retry_count": 2,
        "error_class": "SMTP::Timeout",
        "error_message": "no answer",
        "error_backtrace": encode_backtrace(lines),
    }
    redis.zadd("retry", {payload("r1", **fields): now + 240})
    where = address(browser, "/retries")
    page, told = Page.of(browser.get(where).text), browser.data(where)
    assert re.search(r"↻ Will retry in (4 min|3 min \d+ s), attempt 4 of 26", " ".join(page.text.split()))
    events = ["Created", "Entered its queue", "Failed first", "Failed last", "Runs again"]
    assert [event["what"] for event in told["timeline"]] == events
    assert [round(event["wait"]) for event in told["timeline"][1:]] == [3500, 100, 3540, 300]
    assert told["backtrace"]["own"] == [lines[0], lines[2]]
    assert "With 1 lines of libraries" in page.text
    assert told["python"] == f"app.jobs.Send.perform_async({10**30}, {{'password': '{HIDDEN}'}}, 'a', locale='vi')"
    assert str(10**30) in browser.get(f"/api/v1{where}").text
    assert json.loads(told["raw_json"])["args"] == [10**30, {"password": HIDDEN}, "a"]
    links = [Page.query(str(each["href"])).get("q") for each in page.all("a")]
    [cause] = browser.data("/failures")["causes"]
    assert links.count(f'class:"app.jobs.Send" error:"SMTP::Timeout" cause:{cause["id"]}') == 2
    assert f"/failures#c{cause['id']}" in [each["href"] for each in page.all("a")]
    assert len(browser.data("/retries?q=class:app.jobs.Send+error:SMTP::Timeout")["jobs"]) == 1
    assert "hunter2" not in browser.get(where).text


def test_a_job_says_how_its_class_did_in_the_last_hour(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "dead", 1)
    where = address(browser, "/dead")
    assert browser.data(where)["class_now"] is None
    minute = time.gmtime(time.time() - 60)
    slot = f"j|{time.strftime('%y%m%d', minute)}|{minute.tm_hour}:{minute.tm_min:02d}"
    redis.hset(slot, mapping={"HardJob|p": 10, "HardJob|f": 2, "HardJob|ms": 800})
    histogram = f"h|HardJob-{minute.tm_mday}-{minute.tm_hour}:{minute.tm_min}"
    redis.execute_command("BITFIELD", histogram, "SET", "u16", "#3", "8")
    told = browser.data(where)["class_now"]
    assert (told["executed"], told["failed"], told["failure_rate"]) == (10, 2, 0.2)
    assert 40 <= told["p50"] <= told["p95"] <= 65
    assert "ran 10, failed 2 (20.0%)" in browser.get(where).text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, (0, 1, 26)),
        ({"retry": 3, "retry_count": 0}, (1, 2, 4)),
        ({"retry": False}, (0, 1, 1)),
        ({"retry": "3", "retry_count": "2"}, (0, 1, 26)),
        ({"retry_for": 3600, "retry_count": 7}, (8, 9, None)),
        ({"retry": True, "retry_count": -1}, (0, 1, 26)),
    ],
)
def test_attempts_are_told_from_what_the_payload_holds(fields: dict[str, Any], told: tuple[Any, ...]) -> None:
    found = story.attempts(JobEntry(payload("j", **fields)))
    assert (found.failures, found.following, found.most) == told


USUAL = {"retry": 10, "retry_count": 1, "failed_at": NOW - 60, "retried_at": NOW}


@pytest.mark.parametrize(
    ("fields", "wait", "more", "days"),
    [
        (USUAL, 16, 8, 0.18),  # attempts 4 to 11, after waits of 31 s up to 1.8 h
        (USUAL, 36, 8, 0.18),
        ({**USUAL, "retry": True}, 20, 23, 20.5),
        ({**USUAL, "retry": 2}, 20, None, None),  # the next one is the last
        (USUAL, 60, None, None),  # its class, or somebody, has it wait for another time
        (USUAL, 5, None, None),
        ({**USUAL, "retry_on_counts": {"E": 1}}, 20, None, None),
        ({**USUAL, "postponed_count": 1}, 20, None, None),
        ({**USUAL, "retry_for": 3600}, 20, None, None),
        ({**USUAL, "retry": 10**9}, 20, None, None),
        ({"retry": 10}, 20, None, None),
        ({**USUAL, "class": "story.patient"}, 20, None, None),
        ({**USUAL, "class": "story.plain"}, 20, 8, 0.18),
    ],
)
def test_what_remains_is_told_where_the_waits_are_the_usual_ones(
    fields: dict[str, Any], wait: float, more: int | None, days: float | None
) -> None:
    found = story.attempts(JobEntry(payload("j", **fields)), NOW + wait)
    assert found.more == more
    assert found.over == (None if days is None else pytest.approx(days * 86_400, rel=0.1))
    assert story.attempts(JobEntry(payload("j", **fields))).more is None


def test_the_page_of_a_retry_says_what_remains(browser: Browser, redis: Redis) -> None:
    now = time.time()
    redis.zadd("retry", {payload("r1", retry=10, retry_count=1, failed_at=now - 9, retried_at=now - 1): now + 20})
    text = Page.of(browser.get(address(browser, "/retries")).text).text
    assert "attempt 3 of 11, then 8 more over about" in " ".join(text.split())


@pytest.mark.parametrize(
    ("created", "entered", "started", "waits"),
    [
        (1000.2, 1000.7, 1000, [0.5, 0.0]),  # it started within the same second, and not before it was there
        (1000.2, 1000.7, 1003, [0.5, 2.3]),
        (1000.2, 1000.7, 1000.9, [0.5, 0.2]),
        (1000.1239, 1000.123, 1001, [0.0, 0.877]),  # milliseconds as Sidekiq 8 writes them
    ],
)
def test_what_happened_stands_in_the_order_in_which_it_can_have_happened(
    created: float, entered: float, started: float, waits: list[float]
) -> None:
    entry = JobEntry(payload("j", created_at=created, enqueued_at=entered))
    told = story.timeline(entry, "busy", started)
    assert [event.what for event in told] == ["Created", "Entered its queue", "Started"]
    assert [event.wait for event in told[1:]] == [pytest.approx(wait) for wait in waits]


def test_what_happened_after_the_start_by_another_clock_stays_there() -> None:
    entry = JobEntry(payload("j", created_at=900.0, enqueued_at=1001.0, failed_at=950.0))
    told = story.timeline(entry, "busy", 999)
    assert [event.what for event in told] == ["Created", "Failed first", "Started", "Entered its queue"]


def test_a_call_can_be_copied_into_python() -> None:
    assert story.as_python("a.b.Send", [1, "x"], {"to": None}) == "a.b.Send.perform_async(1, 'x', to=None)"
    assert story.as_python("A::B", [1], {}) == "jobd.Client().push({'class': 'A::B', 'args': [1]})"
    assert story.as_python("Send", [], {"a b": 1}) == "Send.perform_async(**{'a b': 1})"
    assert story.as_python("Send", [], {"class": 2}) == "Send.perform_async(**{'class': 2})"
    assert story.as_python("a.class", [], {}).startswith("jobd.Client().push(")
    assert story.as_python("Send", [1], {"to": 2}, 90.5) == "Send.perform_in(90.5, 1, to=2)"
    assert story.as_python("A::B", [], {}, 60) == "jobd.Client().push({'class': 'A::B', 'args': [], 'wait': 60})"


def test_large_arguments_are_shown_when_asked_for(browser: Browser, redis: Redis) -> None:
    redis.zadd("dead", {payload("big", args=["x" * 300_000, {"password": "hunter2"}]): NOW})
    where = address(browser, "/dead")
    page = browser.get(where)
    assert len(page.content) < 20_000
    assert browser.data(where)["job"]["arguments"] is None
    [link] = [str(each["href"]) for each in Page.of(page.text).all("a") if "whole=yes" in str(each["href"])]
    whole = browser.get(link)
    assert len(whole.content) > 100_000
    assert "hunter2" not in whole.text
    assert browser.data(link)["job"]["arguments"][1] == {"password": HIDDEN}


@pytest.mark.parametrize(
    "args",
    [
        [{"token": "hunter2", f"key {i}": "https://a.b/c"} for i in range(30_000)],
        list(range(200_000)),
        ["x: password " * 100_000],
    ],
)
def test_of_megabytes_as_much_is_shown_as_can_be_looked_through(args: list[Any]) -> None:
    looked_through = list[int]()

    class Counting(Masker):
        def text(self, text: str) -> str:
            looked_through.append(len(text))
            return super().text(text)

    shown = documents.job_detail(JobEntry(payload("big", args=args)), Counting(), "")
    assert (shown["cut"], shown["large"]) == (True, False)
    assert 0 < sum(looked_through) < 700_000
    text = documents.as_json(shown["arguments"])
    assert 90_000 < len(text) < 2_000_000
    assert "hunter2" not in text
    assert "…" in text
    small = documents.job_detail(JobEntry(payload("small", args=[1, "a" * 50_000])), Masker(), "")
    assert (small["cut"], small["arguments"]) == (False, [1, "a" * 50_000])


def test_the_page_of_a_job_that_is_cut_says_so(browser: Browser, redis: Redis) -> None:
    redis.zadd("dead", {payload("big", args=["x " * 60_000]): NOW, payload("small", args=["x" * 60_000]): NOW + 1})
    links = [f"/jobs/{job['jid']}?in=dead&key={job['key']}" for job in browser.data("/dead")["jobs"]]
    told = {link: "too large to be shown whole" in browser.get(link).text for link in links}
    assert sorted(told.values()) == [False, True]


DAMAGED: dict[str, bytes] = {
    "no JSON": b"{broken",
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
    "NaN": b'{"class": "A", "jid": "a", "args": [NaN]}',
    "deep": b'{"class": "A", "jid": "a", "args": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "deeper than a parser": b"[" * 200_000,
    "no jid": b'{"class": "A", "args": [1]}',
    "a jid that is a list": b'{"class": "A", "args": [1], "jid": [1, {"a": 2}]}',
    "retry counts as text": b'{"class": "A", "jid": "a", "args": [], "retry": "x", "retry_count": "2"}',
    "times beyond all times": b'{"class": "A", "jid": "a", "args": [], "created_at": 1e300, "enqueued_at": -1e300}',
    "huge integers": b'{"class": "A", "jid": "a", "args": [' + b"9" * 300 + b"]}",
    "no class": b'{"jid": "a", "args": [1]}',
    "fields of other types": b'{"class": {"a": 1}, "jid": 7, "args": {"a": 1}, "tags": "x", "queue": 5, "kwargs": [1]}',
    "tags of other types": b'{"class": "A", "jid": "a", "args": [], "tags": [[1], {"a": null}, null, 1.5]}',
    "a backtrace that is none": b'{"class": "A", "jid": "a", "args": [], "error_backtrace": "!!", "error_class": 5}',
    "lone surrogates": b'{"class": "A\\ud800", "jid": "\\udfff", "args": ["\\ud83d"]}',
}


def test_no_page_breaks_over_an_entry_and_it_can_be_opened_and_deleted(browser: Browser, redis: Redis) -> None:
    for key in ("retry", "schedule", "dead"):
        redis.zadd(key, {raw: NOW + place for place, raw in enumerate(DAMAGED.values())})
    redis.sadd("queues", "default")
    redis.lpush("queue:default", *DAMAGED.values())
    for path in ("/retries", "/scheduled", "/dead", "/queues/default"):
        for search in ("", "?q=-attempt>3+-zzz", "?q=state:damaged", "?q=A"):
            assert browser.get(path + search).status_code == 200, (path, search)
        jobs = browser.data(path)["jobs"]
        assert len(jobs) == len(DAMAGED)
        if path in ("/retries", "/queues/default"):
            links = [str(each["href"]) for each in Page.of(browser.get(path).text).all("a")]
            for link in [each for each in links if "/jobs/" in each]:
                assert browser.get(link).status_code == browser.get(f"/api/v1{link}").status_code == 200, link
        where = "in=queue&name=default" if path == "/queues/default" else f"in={path[1:]}"
        assert len(browser.get(f"/export?{where}").text.splitlines()) == len(DAMAGED)
        done = browser.act(path, action="delete", key=[job["key"] for job in jobs])
        assert done.json()["moved"] == len(DAMAGED)


def test_keys_of_a_wrong_type_are_shown_as_empty_in_searches_and_exports(browser: Browser, redis: Redis) -> None:
    redis.sadd("queues", "default")
    for key in ("retry", "schedule", "dead", "queue:default", "processes"):
        redis.set(key, "x")
    for path in ("/retries", "/scheduled", "/dead", "/queues/default"):
        for rest in ("", "?q=x", "?q=class:A+attempt>1"):
            assert browser.get(path + rest).status_code == 200, path + rest
    assert browser.get("/jobs/none").status_code == 404
    assert "error" in browser.get("/export?in=dead").text


def test_a_page_of_large_jobs_has_ten_rows_and_goes_on(browser: Browser, redis: Redis) -> None:
    big = "x" * 400_000
    redis.zadd("retry", {payload(f"r{i}", args=[big]): float(i) for i in range(25)})
    fill_queue(redis, 25, args=[big])
    for path, step in (("/retries", "after"), ("/queues/default", "offset")):
        seen, after = list[str](), ""
        while after is not None:
            told = browser.data(f"{path}?{step}={after}")
            assert seen or len(told["jobs"]) == 10
            seen += [job["jid"] for job in told["jobs"]]
            after = told["next"] or None
        assert len(seen) == len(set(seen)) == 25
    assert len(browser.get("/retries").content) < 60_000


def test_megabytes_of_arguments_make_a_small_page(browser: Browser, redis: Redis) -> None:
    redis.zadd("dead", {payload("big", args=[["x" * 50] * 90_000]): NOW})
    for path in ("/dead", address(browser, "/dead")):
        assert len(browser.get(path).content) < 20_000


def test_lines_of_the_application_lead_to_its_source(client: Client, redis: Redis) -> None:
    lines = ["/srv/shop/app/jobs.py:7:in `mail'", "/usr/lib/python3.13/smtplib.py:9:in `send'", "<b>:1:in `x'"]
    redis.zadd("dead", {payload("d1", error_class="E", error_backtrace=encode_backtrace(lines)): time.time()})
    browser = Browser(jobd.web.app(client, source_link="https://git.test/{path}#L{line}", source_root="/srv/shop"))
    where = address(browser, "/dead")
    told, page = browser.data(where)["backtrace"], Page.of(browser.get(where).text)
    there = "https://git.test/app/jobs.py#L7"
    assert dict(zip(told["own"], told["links"], strict=True)) == {lines[0]: there, lines[2]: None}
    assert [each["rel"] for each in page.all("a") if each.get("href") == there] == ["noreferrer"]
    assert lines[0] in page.text
    with pytest.raises(ConfigError, match=r"source_link: 'ftp://\{file\}' must be an address"):
        jobd.web.app(client, source_link="ftp://{file}")


def test_a_preview_holds_the_beginning_and_hides_what_the_whole_would_hide() -> None:
    value = {"password": ["hunter2"] * 9, "list": list(range(1_000)), "text": "x" * 20_000, "deep": {"a": {"b": 1}}}
    assert preview.prune({"a": [1, {"b": "c"}]}, 100) == {"a": [1, {"b": "c"}]}
    few = preview.prune(value, 100)
    assert len(few["list"]) < 100
    assert "hunter2" not in documents.as_json(Masker().value(few))
    token = "eyJ" + "a" * 400 + "." + "b" * 3_900 + "." + "c" * 900
    assert "bbb" not in documents.call_text(JobEntry(payload("j", args=[token])), Masker())
    deep: Any = 1
    for _ in range(1_000):
        deep = [deep]
    assert documents.as_json(preview.prune(deep, 10_000))


@pytest.mark.parametrize("path", [*GET_PAGES, "/retries?q=class:HardJob"])
def test_each_row_has_an_identity_of_its_own(path: str, client: Client, redis: Redis) -> None:
    fill_set(redis, "retry", 60, tags=["a"], error_class="E")
    fill_queue(redis, 60)
    page = Page.of(Browser(jobd.web.app(client, read_only=False)).get(path).text)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_a_job_is_looked_for_everywhere_only_by_one_search_of_a_user_at_a_time(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, "retry", 1)
    key = browser.data("/retries")["jobs"][0]["key"]
    [jid] = [job["jid"] for job in browser.data("/retries")["jobs"]]
    searching = Threads.search
    searched = list[str]()
    monkeypatch.setattr(Threads, "search", lambda self, who: (searched.append(who), searching(self, who))[1])
    assert "/live?page=%2Fjobs" in browser.get(f"/jobs/{jid}?in=retries&key={key}").text
    assert searched == []
    for query in ("", "?key=1", "?in=retries", "?in=queue&key=1", "?in=retries&key=1.0~0123456789abcdef"):
        searched.clear()
        answer = browser.get(f"/jobs/{jid}{query}")
        assert (answer.status_code, len(searched)) == (200, 1), query
        assert "/live?page=%2Fjobs" not in answer.text


def test_no_stream_searches(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 1)
    for page in ("/retries?q=HardJob", "/dead?cursor=5&q=x", "/retries?after=1.0~0"):
        assert browser.get(f"/live?{urlencode({'once': 1, 'page': page})}").status_code == 400
    for page in ("/jobs/j0", "/jobs/j0?in=retries&key=1.0~0123456789abcdef"):
        assert "load this page again" in browser.get(f"/live?{urlencode({'once': 1, 'page': page})}").json()["html"]


@pytest.mark.parametrize("place", ["retry", "schedule"])
def test_a_job_whose_time_is_over_is_overdue_and_does_not_run_in_the_past(
    place: str, browser: Browser, redis: Redis
) -> None:
    now = time.time()
    redis.zadd(place, {payload("late", created_at=now - 900): now - 600, payload("soon", created_at=now): now + 600})
    path = "/retries" if place == "retry" else "/scheduled"
    listed = Page.of(browser.get(path).text).text
    assert "overdue for 10 min" in listed
    late, soon = (
        Page.of(browser.get(f"/jobs/{job['jid']}?in={path[1:]}&key={job['key'].replace('+', '%2B')}").text).text
        for job in browser.data(path)["jobs"]
    )
    assert "Overdue for 10 min" in late
    assert "Was due" in late
    assert "Overdue" not in soon
    assert "Was due" not in soon
