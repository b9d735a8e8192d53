"""The language of searches: what it understands, what it refuses, and what it finds in the sets and the queues."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from jobd.client.access import Access
from jobd.client.entry import JobEntry
from jobd.web import filters
from jobd.web.documents import key_of
from jobd.web.filters import Filter, FilterError, Subject, Term
from jobd.web.masking import HIDDEN, Masker
from tests.client.api import fill_queue, fill_set, payload
from tests.web.browser import Browser, Page

NOW = 1_795_305_670.0
JOB: dict[str, Any] = {
    "queue": "mailers",
    "tags": ["vip", 7],
    "error_class": "SMTP::Timeout",
    "error_message": 'it said "no" after 30 s',
    "retry_count": 3,
    "args": [7, {"user": {"id": 42, "password": "hunter2"}}, "two words"],
    "kwargs": {"locale": "vi", "api_key": "hunter2"},
}


def passes(text: str, raw: bytes | None = None, **fields: Any) -> bool:
    """Whether a job passes a search, and that what looks at its bytes alone agrees."""
    raw = raw or payload("abc123", **{**JOB, **fields})
    found = filters.parse(text)
    told = found.passes(Subject(JobEntry(raw), Masker(), "retry", NOW - 60, NOW - 3600, NOW))
    assert found.may_pass(raw) or not told
    return told


@pytest.mark.parametrize(
    "text",
    [
        "class:HardJob",
        "class:Hard*",
        "class:*Job class:H*d*b",
        "queue:mailers tag:vip tag:7 jid:abc123",
        "error:SMTP::Timeout",
        'error:"SMTP::Timeout"',
        'message:"after 30 s"',
        'message:"\\"no\\""',
        "args:7 args:42 args:vi",
        'args:"two words" args.2:two*',
        "args.0:7 args.1.user.id:42 args.user.id:42 args.locale:vi",
        "attempt>3 attempt>=4 attempt<5 attempt:4 attempt=4",
        "age>30m age<2h age>=1h age<=1h",
        "since:2m until:30s since:2026-11-22 until:2030-01-01T10:00",
        "state:retry -state:dead -state:damaged",
        "-class:Other -queue:low -error:X -args:9 -attempt<4 -nothing",
        "two words",
        '"two words" HardJob Timeout',
        'said "no"',
        "",
        "   ",
        "SMTP::Timeout",
    ],
)
def test_a_job_passes(text: str) -> None:
    assert passes(text)


@pytest.mark.parametrize(
    "text",
    [
        *("class:Hard", 'class:"Hard*"', "queue:mail", "tag:vi", "jid:abc", "error:Timeout", "message:after*zzz"),
        *("args:4", "args.0:42", "args.9:7", "args.user:7", "attempt>4", "age>2h", "since:30s", "until:2m"),
        *("-class:HardJob", "-two", "state:dead", "state:damaged", "class:HardJob queue:low", "HARDJOB", "-attempt>3"),
    ],
)
def test_a_job_does_not_pass(text: str) -> None:
    assert not passes(text)


def test_what_is_hidden_is_not_found_and_its_absence_neither() -> None:
    secret = ("hunter2", "args:hunter2", "args.user.password:hunter2", "args.api_key:hunter2", "args:hunt*")
    assert not any(passes(text) for text in secret)
    assert all(passes(f"-{text}") for text in secret)
    assert passes("password api_key")
    assert passes(f"args.api_key:{HIDDEN}")
    assert not passes("error:token=*abc", error_class="token=abc")


def test_what_json_may_write_in_two_ways_is_found() -> None:
    text = 'đường "a\\b" \n tab/ü'
    for raw in (payload("j", args=[text]), json.dumps({"class": "A", "args": [text], "jid": "j"}).encode()):
        ascii_only = raw.isascii()
        assert passes("args:*tab*", raw)
        assert passes(r'"a\\b"', raw)
        assert ascii_only or passes("đường ü", raw)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "clas:X",
            'character 1: there is no field clas; did you mean class:? Or quote it to look for the text: "clas:…"',
        ),
        ("a b clas:X", "character 5: there is no field clas"),
        ("queue.x:1", "there is no field queue.x"),
        ("class:", "character 6: class: has no value; write class:VALUE"),
        ("attempt>", "character 8: attempt> has no value"),
        ('class:"x', "character 7: the quote is not closed"),
        ('class:"x"y', "character 10: a space is missing"),
        ("attempt>many", "character 9: attempt takes a whole number, as in attempt>3, not many"),
        ("age>soon", "character 5: age takes a time such as 90s, 5m, 1h or 2d"),
        ("since:soon", "character 7: since takes a time such as 2026-11-22T10:00 (UTC), or 2h"),
        ("state:sleeping", "character 7: there is no state sleeping; write one of retry, scheduled, dead"),
        ("class>3", "character 6: class takes no >; write class:VALUE"),
        ("x " * 21, "more than 20 terms"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place_and_a_remedy(text: str, told: str) -> None:
    with pytest.raises(FilterError) as error:
        filters.parse(text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "value", ["Hard Job", 'a"b\\c', "A*", "-x", "a:b", "ü", "", "{{ 1 }}", "x=1", "Foo::Bar", "*", "\n"]
)
def test_what_is_written_is_read_as_the_same(value: str) -> None:
    found = Filter(()).narrowed("class", value).narrowed("error", value)
    again = filters.parse(str(found))
    assert [(term.field, term.value) for term in again.terms] == [("class", value), ("error", value)]
    assert str(again) == str(found)
    assert all("*" not in term.value or term.exact for term in again.terms)
    assert found.narrowed("error", value) is found


VALUES = st.lists(st.sampled_from([*'a*:/"\\- \n=<>.ü', "class:", "tag", "//"]), max_size=6).map("".join)
TERMS = st.builds(
    Term,
    field=st.sampled_from(["", "class", "queue", "error", "message", "tag", "jid", "args"]),
    value=VALUES,
    negated=st.booleans(),
    exact=st.booleans(),
) | st.builds(Term, st.just("args"), VALUES, st.booleans(), st.booleans(), path=st.just(("a", "0")))


@given(st.lists(TERMS, max_size=4), VALUES)
def test_every_search_has_a_written_form_that_is_read_as_the_same(terms: list[Term], value: str) -> None:
    found = Filter(tuple(terms))
    assert filters.parse(str(found)) == found
    assert filters.parse(filters.narrowed("", "tag", value)) == Filter((Term("tag", value, exact=True),))
    filters.parse(filters.written({"class": value, "arg": f"a.0:{value}"}))


@pytest.mark.parametrize(
    "text", ["-tag:*", "class:*", r"class:App\Jobs\*", 'tag:a"*', 'class:"a*"', "tag::urgent", "--x", "-"]
)
def test_what_was_read_is_written_as_the_same(text: str) -> None:
    found = filters.parse(text)
    assert filters.parse(str(found)) == found


def test_what_is_confirmed_is_what_was_counted(browser: Browser, redis: Redis) -> None:
    redis.zadd("retry", {payload(f"a{i}", tags=["vip"] if i < 8 else []): 5.0 + i for i in range(10)})
    asked = browser.post("/retries", {"action": "delete", "all": "yes", "q": "-tag:*"})
    fields = [(str(each["name"]), str(each["value"])) for each in Page.of(asked.text).all("input") if "value" in each]
    fields = [each for each in fields if each[0] != "confirmed"]
    assert dict(fields)["of"] == "2"
    done = browser.post("/retries", [*fields, ("confirmed", "yes")])
    assert (done.status_code, redis.zcard("retry")) == (303, 8)


def test_a_search_is_narrowed_in_one_order_whatever_was_chosen_first() -> None:
    first, second = filters.parse("text tag:b class:A"), filters.parse("tag:b").narrowed("class", "A")
    assert str(second) == "class:A tag:b"
    assert str(first.narrowed("queue", "q")) == "class:A queue:q tag:b text"


def test_fields_of_a_form_become_terms() -> None:
    form = {"class": "A B", "queue": " q ", "error": "", "arg": "user.id:7", "since": "2026-11-22T10:00"}
    assert filters.written(form) == 'class:"A B" queue:q args.user.id:7 since:2026-11-22T10:00'
    assert filters.written({"arg": "a b"}) == 'args:"a b"'
    assert filters.parse(filters.written({"class": "Hard*"})).passes(
        Subject(JobEntry(payload("j")), Masker(), "retry", None, None, NOW)
    )


def test_the_pattern_for_redis_takes_each_character_as_itself() -> None:
    assert filters.parse(r'queue:q "a[b]?\\c" jid:x').pattern == rb"*a\[b\]\?*c*"
    assert filters.parse("-class:A attempt>3").pattern is None


@pytest.mark.parametrize("path", ["/retries", "/queues/default"])
@pytest.mark.parametrize(
    ("text", "found"),
    [("class:Rare", 3), ("class:R*e args:5", 3), ("-class:HardJob", 3), ("queue:other", 0), ("jid:r1", 1)],
)
def test_sets_and_queues_are_searched_alike(path: str, text: str, found: int, browser: Browser, redis: Redis) -> None:
    rare = [payload(f"r{i}", **{"class": "Rare", "args": [5]}) for i in range(3)]
    if path == "/retries":
        fill_set(redis, "retry", 60)
        redis.zadd("retry", {raw: 5.5 + i for i, raw in enumerate(rare)})
    else:
        fill_queue(redis, 30)
        redis.lpush("queue:default", *rare)
        fill_queue(redis, 30)
    told = browser.data(f"{path}?q={quote(text)}")
    assert len(told["jobs"]) == found
    assert (told["cursor"], told["seen"], told["size"]) == ("0", 63, 63)
    assert "Looked at 63 of 63" in browser.get(f"{path}?q={quote(text)}").text


def test_the_fields_beside_the_box_write_into_the_search(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 3)
    redis.zadd("retry", {payload("x", **{"class": "A B"}): 5.0})
    told = browser.data("/retries?q=&class=A+B&queue=&arg=1")
    assert ([job["jid"] for job in told["jobs"]], told["q"]) == (["x"], 'class:"A B" args:1')
    wrong = browser.get("/retries?q=clas:X")
    assert wrong.status_code == 400
    assert "did you mean class:?" in Page.of(wrong.text).text


def test_what_stands_in_a_row_narrows_the_list_to_it(browser: Browser, redis: Redis) -> None:
    fields = {"class": 'A "B"', "queue": "q", "tags": ["t&t"], "error_class": "E::F", "failed_at": NOW}
    redis.zadd("retry", {payload("x", **fields): 5.0, payload("y"): 6.0})
    page = Page.of(browser.get("/retries").text)
    links = ["/retries" + str(each["href"]) for each in page.all("a") if str(each["href"]).startswith("?q=")]
    wanted = {'class:"A \\"B\\""', "queue:q", "tag:t&t", "error:E::F"}
    assert wanted <= {Page.query(link)["q"] for link in links}
    for link in links:
        if Page.query(link)["q"] in wanted:
            jobs = browser.data(link)["jobs"]
            assert [job["jid"] for job in jobs] == ["x"], link


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_search_in_a_queue_goes_on_though_jobs_are_taken_and_pushed(
    order: str, browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_queue(redis, 2_200)
    monkeypatch.setattr("jobd.web.search.SEARCH_SECONDS", 0.0)
    path, found, cursor, steps = f"/queues/default?q=jid:j*9&order={order}", list[str](), "0", 0
    while steps == 0 or cursor != "0":
        told = browser.data(f"{path}&cursor={quote(cursor)}&seen=0")
        found += [job["jid"] for job in told["jobs"]]
        cursor, steps = told["cursor"], steps + 1
        for _ in range(20):
            redis.rpop("queue:default")
        redis.lpush("queue:default", *(payload(f"n{steps}-{i}") for i in range(20)))
    assert steps > 2
    # Of those that were neither taken nor pushed meanwhile.
    assert set(found) >= {f"j{i}" for i in range(20 * steps, 2_200) if i % 10 == 9}
    assert len(found) == len(set(found))


def test_a_queue_is_read_from_its_newest_job_on(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 120)
    seen, offset = [], 0
    while offset is not None:
        told = browser.data(f"/queues/default?order=newest&offset={offset}")
        seen += told["jobs"]
        offset = told["next"]
    assert [job["jid"] for job in seen] == [f"j{i}" for i in reversed(range(120))]
    key = seen[5]["key"]
    redis.lpush("queue:default", payload("later"))
    assert browser.get(f"/jobs/x?in=queue&name=default&key={key}").status_code == 200
    form = {"action": "delete", "key": key, "confirmed": "yes"}
    assert "did=delete&moved=1" in browser.post("/queues/default", form).headers["location"]
    assert browser.get("/queues/default?order=sideways").status_code == 400


def test_ticked_jobs_of_a_queue_that_are_far_apart_are_deleted_in_either_order(browser: Browser, redis: Redis) -> None:
    for i in range(4):
        redis.lpush("queue:default", payload(f"r{i}", **{"class": "Rare"}))
        fill_queue(redis, 1_500)
    for order, left in (("newest", 2), ("oldest", 0)):
        keys = [job["key"] for job in browser.data(f"/queues/default?order={order}&q=class:Rare")["jobs"]]
        told = browser.act(f"/queues/default?order={order}", action="delete", key=keys[:2]).json()
        assert (told["moved"], told.get("gone", 0)) == (2, 0)
        assert len(browser.data("/queues/default?q=class:Rare")["jobs"]) == left
    assert redis.llen("queue:default") == 6_000


def test_a_job_of_a_queue_is_found_near_the_place_where_it_was_listed(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_queue(redis, 1_300)
    listed = [browser.data(f"/queues/default?offset={offset}")["jobs"][0] for offset in (1_000, 1_250)]
    near, given_back = listed[0], listed[1]
    redis.rpop("queue:default", 900)
    assert browser.data(f"/jobs/-?in=queue&name=default&key={near['key']}")["job"]["jid"] == near["jid"]
    redis.rpush("queue:default", *(payload(f"b{i}") for i in range(950)))
    told = browser.act("/queues/default", action="delete", key=[given_back["key"], near["key"]]).json()
    assert told["moved"] == 2
    assert browser.get("/jobs/-?in=queue&name=default&key=-1~0123456789abcdef").status_code == 400
    monkeypatch.setattr("jobd.web.pages.queues._MOST_BYTES", 1_000)
    answer = browser.get("/jobs/-?in=queue&name=default&key=700~0123456789abcdef")
    assert (answer.status_code, "open the list again" in answer.text) == (400, True)


def test_of_large_jobs_few_are_read_to_look_at_one(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 40, args=["x" * 500_000])
    key = browser.data("/queues/default")["jobs"][5]["key"]
    for taken in (0, 1):
        if taken:
            redis.rpop("queue:default")
        before = redis.info()["total_net_output_bytes"]
        assert browser.get(f"/jobs/-?in=queue&name=default&key={key}").status_code == 200
        assert redis.info()["total_net_output_bytes"] - before < (10_000_000 if taken else 2_000_000)


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_search_in_a_queue_shows_no_more_than_can_be_ticked(order: str, browser: Browser, redis: Redis) -> None:
    for names in (("A", "B"), ("B", "A")):
        for name in names if order == "oldest" else reversed(names):
            fill_queue(redis, 900, **{"class": name})
    found, cursor, told = list[str](), "", {"seen": 0}
    while cursor != "0":
        told = browser.data(f"/queues/default?q=class:B&order={order}&cursor={quote(cursor)}&seen={told['seen']}")
        assert len(told["jobs"]) <= 200
        found += [job["key"] for job in told["jobs"]]
        cursor = told["cursor"]
    assert (len(found), len(set(found)), told["seen"]) == (1_800, 1_800, 3_600)
    assert browser.act(f"/queues/default?order={order}", action="delete", key=found[:200]).json()["moved"] == 200


def test_many_jobs_of_one_time_are_looked_through_once_and_not_for_a_page(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.zadd("retry", {payload(f"j{i:05d}"): 7.0 for i in range(4_000)})
    raws = redis.zrange("retry", 0, -1)
    last = raws[-1]
    key = key_of(7.0, last)
    assert browser.data(f"/jobs/j03999?in=retries&key={key}")["job"]["key"] == key
    reads, read = list[object](), Access.read
    monkeypatch.setattr(Access, "read", lambda self, ask: (reads.append(ask), read(self, ask))[1])
    assert browser.get(f"/jobs/-?in=retries&key={key}").status_code == 404
    assert len(reads) < 20
    reads.clear()
    assert browser.act("/retries", action="delete", key=[key_of(7.0, raws[-2])]).json()["moved"] == 1
    one = len(reads)
    told = browser.act("/retries", action="delete", key=[key_of(7.0, raw) for raw in raws[-30:-10]]).json()
    assert (told["moved"], len(reads) < one * 3) == (20, True)
    monkeypatch.setattr("jobd.web.pages.sets.FIND_SECONDS", -1.0)
    answer = browser.act("/retries", action="delete", key=[key])
    assert (answer.status_code, "by a search" in answer.text) == (400, True)


def test_the_classes_of_a_queue_are_told_from_its_newest(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 300)
    fill_queue(redis, 50, **{"class": "Other"})
    told = browser.data("/queues/default")
    assert told["sample"] == 200
    assert told["histogram"] == [{"class": "HardJob", "count": 150}, {"class": "Other", "count": 50}]
    assert told["latency"] > 0
    assert "The next job has waited" in browser.get("/queues/default").text
    assert "25.0%" in browser.get("/queues/default").text


def test_an_export_holds_what_matches_as_lines_without_secrets(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, "dead", 1_500, args=[{"password": "hunter2"}])
    redis.zadd("dead", {b"{broken": 3.5, payload("x", **{"class": "Rare"}): 4.5})
    answer = browser.get("/export?in=dead")
    assert answer.headers["content-disposition"] == 'attachment; filename="jobd-dead.jsonl"'
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 1_502
    assert "hunter2" not in answer.text
    assert lines[0]["arguments"] == [{"password": HIDDEN}]
    assert [json.loads(line)["jid"] for line in browser.get("/export?in=dead&q=class:Rare").text.splitlines()] == ["x"]
    fill_queue(redis, 5)
    assert len(browser.get("/api/v1/export?in=queue&name=default").text.splitlines()) == 5
    monkeypatch.setattr("jobd.web.pages.export.MOST_JOBS", 10)
    last = browser.get("/export?in=dead").text.splitlines()[-1]
    assert "there is more: a file holds at most 10 jobs" in json.loads(last)["cut"]
    assert browser.get("/export?in=nowhere").status_code == 400
